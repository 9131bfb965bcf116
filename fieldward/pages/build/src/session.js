/**
 * A sign-in, held by a cookie that no script can read: no storage, no address and no variable ever sees a secret.
 */
import { errorsOf, payloadOf, RefusedError, send } from '../../account/request.js';
import { SIGN_IN, SIGN_OUT, VIEWER } from './operations.js';

export { RefusedError, UnreachableError } from '../../account/request.js';

const CLIENT = 'Fieldward GraphiQL';

/** What is said to who has a second factor: the other page knows how to ask for it, and the cookie is for both. */
const ELSEWHERE = 'You have a second factor. Sign in on the page of your account, then come back.';

export class Session {
  #isOpen = false;
  #onEnd;

  /** @param {() => void} onEnd called once when the server no longer accepts this sign-in. */
  constructor(onEnd) {
    this.#onEnd = onEnd;
  }

  /** Sign in. Throws RefusedError or UnreachableError. */
  async signIn({ email, password, organization }) {
    const input = { email, password, delivery: 'COOKIE' };
    if (organization) input.organization = organization;
    const payload = payloadOf(await send({ query: SIGN_IN, variables: { input } }, { client: CLIENT }));
    if (payload.challenge) throw new RefusedError([{ code: 'UNAUTHENTICATED', message: ELSEWHERE, field: null }]);
    this.#isOpen = true;
  }

  /** Whether the browser holds a sign-in that stands. Throws UnreachableError. */
  async resume() {
    const answer = await send({ query: VIEWER }, { client: CLIENT });
    this.#isOpen = Boolean(answer.data?.viewer);
    return this.#isOpen;
  }

  /** Tell the server, which ends the sign-in and has the browser forget it. */
  async signOut() {
    try {
      await this.request({ query: SIGN_OUT });
    } catch {
      // It was not heard. The sign-in ends by itself when it is not used.
    } finally {
      this.#isOpen = false;
    }
  }

  /** Who is signed in, each part null where the server does not say, and whether they may look as others. */
  async viewer() {
    const answer = await this.request({ query: VIEWER });
    const viewer = answer?.data?.viewer;
    return {
      id: viewer?.user?.id ?? null,
      name: viewer?.user?.name ?? null,
      organization: viewer?.organization?.name ?? null,
      runsAs: viewer?.runsAs === true,
    };
  }

  /**
   * Send an operation and return the parsed answer, errors included.
   *
   * `headers` are what a person wrote into GraphiQL's header editor; an Authorization there takes the place of this
   * sign-in, which is how the token of a service account is tried out.
   */
  async request(operation, headers = {}) {
    const answer = await send(operation, { client: CLIENT, headers });
    if (this.#isOpen && errorsOf(answer).some((error) => error.code === 'UNAUTHENTICATED')) await this.check();
    return answer;
  }

  /** Find out whether the sign-in still stands. A token or a password that was only tried out may be what was refused. */
  async check() {
    if (!this.#isOpen || (await this.resume())) return;
    this.#onEnd();
  }
}
