/**
 * A device's key: P-256, made here and never to be read, not even by this page. The browser keeps it in IndexedDB, and
 * signs with it what proves that a request comes from this device. `auth/device_proof.py` says what a proof is.
 */

const DATABASE = 'fieldward';
const STORE = 'device';
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' };
const HEADER = { typ: 'fieldward-device-proof+jwt', alg: 'ES256' };

/** Make a key pair. Its private half can't be exported. */
export function makeKey() {
  return crypto.subtle.generateKey(ALGORITHM, false, ['sign', 'verify']);
}

/** Return the public half as the text of a JWK (RFC 7517). */
export async function publicJwk(key) {
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', key.publicKey);
  return JSON.stringify({ kty, crv, x, y });
}

/**
 * Return a proof, made just now, for one thing.
 *
 * @param {CryptoKeyPair} key
 * @param {string} audience whom it is for.
 * @param {string[]} lines what it is for: `enrolment` and the code; `sign-in`, the organization or '', and the address.
 */
export async function proofOf(key, audience, lines) {
  const claims = {
    aud: audience,
    iat: Math.floor(Date.now() / 1000),
    jti: crypto.randomUUID(),
    for: base64url(await crypto.subtle.digest('SHA-256', bytesOf(lines.join('\n')))),
  };
  const signed = [HEADER, claims].map((part) => base64url(bytesOf(JSON.stringify(part)))).join('.');
  const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key.privateKey, bytesOf(signed));
  return `${signed}.${base64url(signature)}`;
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

function bytesOf(text) {
  return new TextEncoder().encode(text);
}

function base64url(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}
