/**
 * Operations of the account's page, signed in by the cookie; or, on an enrolled device, by its token.
 *
 * Where the server asks for a fresh sign-in, the person is asked once and the operation is sent again.
 */

import { errorsOf, payloadOf, RefusedError, send, UnreachableError } from './request.js';

export { RefusedError, UnreachableError };

const CLIENT = 'Fieldward account';

/** Returns the access token to send in place of the cookie, or is null. */
let bearer = null;

const listeners = { signedOut: () => {}, reauthenticate: async () => false };

/**
 * Say what is done when an operation finds nobody signed in any more, and when one needs a fresh sign-in.
 *
 * @param {{signedOut: () => void, reauthenticate: () => Promise<boolean>}} given `reauthenticate` answers whether the
 *   person proved again who they are.
 */
export function listen(given) {
  Object.assign(listeners, given);
}

/**
 * Send a token with each operation from now on; with null, the cookie again.
 *
 * @param {(() => Promise<string>) | null} source returns one that is good.
 */
export function signInBy(source) {
  bearer = source;
}

/** Send a query and return its data, null where something may not be read. Throws RefusedError or UnreachableError. */
export async function ask(document) {
  const answer = await post(document);
  const errors = errorsOf(answer);
  if (answer.data && errors.every((error) => error.code === 'FORBIDDEN')) return answer.data;
  throw noticed(new RefusedError(errors));
}

/**
 * Send a mutation and return what its one field answers. Throws RefusedError or UnreachableError.
 *
 * @param {object} [input] what stands for `$input`, if the document has one.
 */
export async function change(document, input) {
  try {
    return await sendChange(document, input);
  } catch (error) {
    if (!(error instanceof RefusedError) || !error.has('REAUTHENTICATE')) throw error;
    if (!(await listeners.reauthenticate())) throw error;
    return await sendChange(document, input);
  }
}

/** Send a mutation that nobody needs to be signed in for, and return what its one field answers. */
export async function changeAnonymously(document, input) {
  return answered(await send({ query: document, variables: { input } }, { client: CLIENT }));
}

async function sendChange(document, input) {
  return answered(await post(document, input === undefined ? {} : { input }));
}

function answered(answer) {
  try {
    return payloadOf(answer);
  } catch (error) {
    throw noticed(error);
  }
}

/** Return the error, once the page knows where it says that nobody is signed in any more. */
function noticed(error) {
  if (error.has('UNAUTHENTICATED')) listeners.signedOut();
  return error;
}

async function post(query, variables = {}) {
  const token = await bearer?.();
  return send({ query, variables }, { client: CLIENT, headers: token ? { authorization: `Bearer ${token}` } : {} });
}
