/**
 * How the pages speak to `/graphql`: one request, its answer, and what the server says against it.
 *
 * The session's cookie goes with a request by itself; no script reads it. The header `Fieldward-CSRF` says besides that
 * a page of this server asks, which no other site's page can; see the server's `fieldward/web/cookie.py`.
 */

const ENDPOINT = '/graphql';
const HEADERS = {
  'content-type': 'application/json',
  accept: 'application/graphql-response+json, application/json;q=0.9',
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

/**
 * Send an operation and return the parsed answer, errors included. Throws UnreachableError.
 *
 * @param {{query: string, variables?: object, operationName?: string}} operation
 * @param {{client: string, headers?: HeadersInit}} given the page's name, and what else is said. A token that is said
 *   there counts alone: the cookie is not sent beside it.
 */
export async function send(operation, { client, headers = {} }) {
  const sent = new Headers(headers);
  for (const [name, value] of Object.entries({ ...HEADERS, 'graphql-client-name': client })) sent.set(name, value);
  let response;
  try {
    response = await fetch(ENDPOINT, {
      method: 'POST',
      headers: sent,
      body: JSON.stringify(operation),
      cache: 'no-store',
      credentials: sent.has('authorization') ? 'omit' : 'same-origin',
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

/** Return the errors of an answer, each with its code, its message and the field at fault. */
export function errorsOf(answer) {
  return (answer.errors ?? []).map(({ message, extensions }) => ({
    message: message || 'The server refused this without saying why.',
    code: extensions?.code ?? 'INTERNAL',
    field: extensions?.field ?? null,
  }));
}

/** Return what the one field of a mutation answers. Throws RefusedError, with the payload's errors as well. */
export function payloadOf(answer) {
  const [payload] = Object.values(answer.data ?? {});
  const errors = [...errorsOf(answer), ...(payload?.errors ?? [])];
  if (errors.length > 0) throw new RefusedError(errors);
  return payload;
}
