/**
 * A sign-in, held by a cookie that no script can read: no storage, no address and no variable ever sees a secret.
 * The page says with each request that it is the server's own, which no other site's page can; see the server's
 * `fieldward/web/cookie.py`.
 */

const ENDPOINT = '/graphql';
const OURS = { 'graphql-client-name': 'Fieldward GraphiQL', 'fieldward-csrf': '1' };

const SIGN_IN = `mutation SignIn($input: SignInInput!) {
  signIn(input: $input) { challenge { token } errors { code message field } }
}`;
/** What is said to who has a second factor: the other page knows how to ask for it, and the cookie is for both. */
const ELSEWHERE = 'You have a second factor. Sign in on the page of your account, then come back.';
const SIGN_OUT = 'mutation SignOut { signOut { errors { code message field } } }';
const VIEWER =
  'query Viewer { viewer { user { id name } organization { name } runsAs: can(permission: ACCESS_RUN_AS) } }';

/** What the server said against a request: `messages` are for people, `fields` name the inputs at fault. */
export class RefusedError extends Error {
  constructor(errors) {
    const messages = errors.map((error) => error.message || 'The server refused this without saying why.');
    super(messages.join(' '));
    this.name = 'RefusedError';
    this.messages = messages;
    this.fields = errors.map((error) => (error.field ?? error.extensions?.field ?? []).at(-1)).filter(Boolean);
  }
}

/** The server gave no answer that could be read. */
export class UnreachableError extends Error {
  constructor(reason) {
    super(reason);
    this.name = 'UnreachableError';
  }
}

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
    const answer = await post({ query: SIGN_IN, variables: { input } });
    const errors = [...(answer.errors ?? []), ...(answer.data?.signIn?.errors ?? [])];
    if (answer.data?.signIn?.challenge) errors.push({ message: ELSEWHERE });
    if (errors.length > 0 || !answer.data?.signIn) throw new RefusedError(errors.length > 0 ? errors : [{}]);
    this.#isOpen = true;
  }

  /** Whether the browser holds a sign-in that stands, from before this page was loaded. */
  async resume() {
    try {
      const answer = await post({ query: VIEWER });
      this.#isOpen = Boolean(answer.data?.viewer);
    } catch {
      this.#isOpen = false;
    }
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
    const answer = await post(operation, headers);
    const isOwn = !new Headers(headers).has('authorization');
    if (isOwn && this.#isOpen && answer.errors?.some((error) => error.extensions?.code === 'UNAUTHENTICATED')) {
      this.#isOpen = false;
      this.#onEnd();
    }
    return answer;
  }
}

async function post(operation, headers) {
  const sent = new Headers(headers);
  for (const [name, value] of Object.entries(OURS)) sent.set(name, value);
  sent.set('content-type', 'application/json');
  sent.set('accept', 'application/graphql-response+json, application/json;q=0.9');
  let response;
  try {
    response = await fetch(ENDPOINT, {
      method: 'POST',
      headers: sent,
      body: JSON.stringify(operation),
      cache: 'no-store',
      credentials: 'same-origin',
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
