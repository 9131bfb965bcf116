/**
 * Subscriptions, over one WebSocket to this server. The browser sends the session's cookie with it, and the server looks
 * at the page's origin, which no page can say wrongly. The protocol is graphql-transport-ws.
 */
import { createClient } from 'graphql-ws';

import { UnreachableError } from './session.js';

/** What closes a socket for good, in words; the codes are the server's. */
const CLOSED = {
  4400: 'The server did not understand the message.',
  4401: 'Your session has ended. Sign in again.',
  4403: 'This connection is not allowed any more.',
  4408: 'The server waited too long for this page.',
  1013: 'There are too many connections. Try again in a while.',
};

export class Live {
  #client;
  #onEnd;

  /** @param {() => void} onEnd called when the server closed the connection on its own. */
  constructor(onEnd) {
    this.#onEnd = onEnd;
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    this.#client = createClient({
      url: `${scheme}//${location.host}/graphql`,
      lazy: true,
      // A new connection would go on without what was missed; whoever watches is to see that it broke.
      retryAttempts: 0,
    });
  }

  /** Return the answers of a subscription. Whoever wants no more calls `return`, which the server is told at once. */
  answers({ query, variables, operationName }) {
    const answers = this.#client.iterate({ query, variables, operationName });
    // No generator: its `return` would wait for the next answer, which may never come.
    return {
      next: () => answers.next().catch((error) => this.#refused(error)),
      return: () => answers.return(),
      throw: (error) => answers.throw(error),
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #refused(error) {
    if (Array.isArray(error)) return { done: false, value: { errors: error } };
    this.#onEnd();
    throw new UnreachableError(saidOf(error));
  }
}

function saidOf(error) {
  const code = error?.code;
  if (typeof code !== 'number') return 'The server could not be reached. Check the connection and try again.';
  return `${CLOSED[code] ?? 'The connection was closed.'} (${[code, error.reason].filter(Boolean).join(': ')})`;
}
