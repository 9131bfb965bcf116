/**
 * A device's key: P-256, made here and never to be read, not even by this page. The browser keeps it in IndexedDB, and
 * signs with it what proves that a request comes from this device (a JWT by ES256, RFC 7515).
 */

const DATABASE = 'fieldward';
const STORE = 'device';
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' };
const TYPE = 'fieldward-device-proof+jwt';

/** Make a key pair. Its private half can't be exported. */
export function makeKey() {
  return crypto.subtle.generateKey(ALGORITHM, false, ['sign', 'verify']);
}

/** Return the public half as the text of a JWK (RFC 7517). */
export async function publicJwk(key) {
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', key.publicKey);
  return JSON.stringify({ kty, crv, x, y });
}

/** Return a signed proof that says these claims, made now. */
export async function proofOf(key, claims) {
  const header = { typ: TYPE, alg: 'ES256' };
  const said = { ...claims, iat: Math.floor(Date.now() / 1000), jti: crypto.randomUUID() };
  const signed = `${encoded(header)}.${encoded(said)}`;
  const signature = await crypto.subtle.sign(
    { name: 'ECDSA', hash: 'SHA-256' },
    key.privateKey,
    new TextEncoder().encode(signed),
  );
  return `${signed}.${base64url(new Uint8Array(signature))}`;
}

/** Return the base64url of the SHA-256 of a text. */
export async function digestOf(text) {
  return base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))));
}

/** Keep `{ deviceId, key }` in this browser; what was kept before is replaced. */
export async function keepDevice(device) {
  await transact('readwrite', (store) => store.put(device, 'this'));
}

/** Return the device that this browser is, or undefined. */
export function keptDevice() {
  return transact('readonly', (store) => store.get('this'));
}

async function transact(mode, act) {
  const database = await promised(Object.assign(indexedDB.open(DATABASE, 1), { onupgradeneeded: makeStore }));
  try {
    return await promised(act(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

function makeStore(event) {
  event.target.result.createObjectStore(STORE);
}

function promised(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function encoded(value) {
  return base64url(new TextEncoder().encode(JSON.stringify(value)));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
