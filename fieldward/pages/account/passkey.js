/** Passkeys, between the server's JSON (WebAuthn Level 3) and the browser. */

/** Whether this browser knows passkeys, and their JSON. */
export const hasPasskeys = typeof globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON === 'function';

/** Make a passkey by the server's options, and return what the server registers. */
export async function makePasskey(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(parsed(options));
  const made = await navigator.credentials.create({ publicKey });
  return JSON.stringify(made.toJSON());
}

/** Prove to have a passkey by the server's options, and return the proof. */
export async function usePasskey(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(parsed(options));
  const used = await navigator.credentials.get({ publicKey });
  return JSON.stringify(used.toJSON());
}

function parsed(options) {
  return typeof options === 'string' ? JSON.parse(options) : options;
}
