/**
 * Operations over `/graphql`, signed in by the cookie, which no script can read; or, on an enrolled device, by its token.
 *
 * The header `Fieldward-CSRF` goes with each of them: another site's page can't set it. Where the server asks for a
 * fresh sign-in, the person is asked once and the operation is sent again.
 */

const ENDPOINT = '/graphql';
const HEADERS = {
  'content-type': 'application/json',
  accept: 'application/graphql-response+json, application/json;q=0.9',
  'graphql-client-name': 'Fieldward account',
  'fieldward-csrf': '1',
};

/** What the server said against an operation. `errors` have a `code`, a `message` for people, and the `field` at fault. */
export class RefusedError extends Error {
  constructor(errors) {
    super(errors.map((error) => error.message).join(' '));
    this.name = 'RefusedError';
    this.errors = errors;
  }

  has(code) {
    return this.errors.some((error) => error.code === code);
  }
}

/** The server gave no answer that could be read. */
export class UnreachableError extends Error {
  constructor(reason) {
    super(reason);
    this.name = 'UnreachableError';
  }
}

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
  const { data, errors = [] } = await post(document);
  const told = errors.map(flattened);
  if (!data || told.some((error) => error.code !== 'FORBIDDEN')) throw refused(told);
  return data;
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

async function sendChange(document, input) {
  return answerOf(await post(document, input === undefined ? {} : { input }));
}

function answerOf(answer) {
  const [payload] = Object.values(answer.data ?? {});
  const errors = [...(answer.errors ?? []).map(flattened), ...(payload?.errors ?? [])];
  if (errors.length > 0) throw refused(errors);
  return payload;
}

function refused(errors) {
  const error = new RefusedError(errors);
  if (error.has('UNAUTHENTICATED')) listeners.signedOut();
  return error;
}

function flattened({ message, extensions }) {
  return { message, code: extensions?.code ?? 'INTERNAL', field: extensions?.field ?? null };
}

/** Send a mutation that nobody needs to be signed in for, and return what its one field answers. */
export async function changeAnonymously(document, input) {
  return answerOf(await send(document, { input }, {}));
}

async function post(query, variables = {}) {
  const token = await bearer?.();
  return send(query, variables, token ? { authorization: `Bearer ${token}` } : {});
}

async function send(query, variables, more) {
  let response;
  try {
    response = await fetch(ENDPOINT, {
      method: 'POST',
      headers: { ...HEADERS, ...more },
      body: JSON.stringify({ query, variables }),
      cache: 'no-store',
      credentials: more.authorization ? 'omit' : 'same-origin',
      redirect: 'error',
    });
  } catch {
    throw new UnreachableError('The server could not be reached. Check the connection and try again.');
  }
  const answer = await response.json().catch(() => null);
  if (answer === null || typeof answer !== 'object') {
    throw new UnreachableError(`The server gave no readable answer (HTTP ${response.status}). Try again.`);
  }
  return answer;
}
