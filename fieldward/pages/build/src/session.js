/**
 * A sign-in, held in this page's memory and nowhere else: no storage, no cookie, no address ever sees a token.
 * Closing or reloading the page forgets it.
 */

const ENDPOINT = '/graphql';
const CLIENT = { 'graphql-client-name': 'Fieldward GraphiQL' };

/** Milliseconds before its expiry at which an access token is exchanged: a fifth of the five minutes it lives. */
const MARGIN_MS = 60_000;
/** Never sooner than this after an exchange, whatever the clocks say. */
const SHORTEST_WAIT_MS = 5_000;

const TOKENS = 'accessToken accessTokenExpiresAt refreshToken errors { code message field }';
const SIGN_IN = `mutation SignIn($input: SignInInput!) { signIn(input: $input) { ${TOKENS} } }`;
const REFRESH = `mutation RefreshSession($input: RefreshSessionInput!) { refreshSession(input: $input) { ${TOKENS} } }`;
const SIGN_OUT = 'mutation SignOut { signOut { errors { code message field } } }';
const VIEWER =
  'query Viewer { viewer { user { id name } organization { name } runsAs: can(permission: ACCESS_RUN_AS) } }';

/** Codes that say nothing about the sign-in: the same request may succeed later. */
const PASSING = new Set(['UNAVAILABLE', 'RATE_LIMITED', 'INTERNAL', 'UNKNOWN_OUTCOME']);

/** What the server said against a request: `messages` are for people, `fields` name the inputs at fault. */
export class RefusedError extends Error {
  constructor(errors) {
    const messages = errors.map((error) => error.message || 'The server refused this without saying why.');
    super(messages.join(' '));
    this.name = 'RefusedError';
    this.messages = messages;
    this.fields = errors.map((error) => (error.field ?? error.extensions?.field ?? []).at(-1)).filter(Boolean);
    this.isPassing = errors.some((error) => PASSING.has(error.code ?? error.extensions?.code));
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
  #accessToken = null;
  #refreshToken = null;
  #expiresAt = 0;
  #refreshing = null;
  #timer = null;
  #onEnd;

  /** @param {(reason: string) => void} onEnd called once when the server no longer accepts this sign-in. */
  constructor(onEnd) {
    this.#onEnd = onEnd;
    // A hidden page stops refreshing, so that a forgotten tab does not keep a sign-in alive; a page that is looked
    // at again learns at once whether it still is signed in.
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.#refreshToken) this.#freshen().catch(() => {});
    });
  }

  /** Sign in. Throws RefusedError or UnreachableError. */
  async signIn({ email, password, organization }) {
    const input = { email, password };
    if (organization) input.organization = organization;
    const { answer, serverTime } = await post({ query: SIGN_IN, variables: { input } });
    this.#keep(tokensOf(answer, 'signIn'), serverTime);
  }

  /** Tell the server, whether or not it hears it, and forget the tokens. */
  async signOut() {
    try {
      await this.request({ query: SIGN_OUT });
    } catch {
      // The tokens are forgotten all the same, and the access token dies within minutes.
    } finally {
      this.#forget();
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
   * sign-in's, which is how the token of a service account is tried out.
   */
  async request(operation, headers = {}) {
    const sent = new Headers(headers);
    const isOwn = !sent.has('authorization');
    if (isOwn) {
      await this.#freshen();
      sent.set('authorization', `Bearer ${this.#accessToken}`);
    }
    const { answer } = await post(operation, sent);
    if (isOwn && this.#refreshToken && answer.errors?.some((error) => error.extensions?.code === 'UNAUTHENTICATED')) {
      // Revoked perhaps. The refresh finds out, and ends the session if so; a mutation is never sent twice.
      this.#refresh().catch(() => {});
    }
    return answer;
  }

  async #freshen() {
    if (!this.#refreshToken) throw new UnreachableError('You are not signed in.');
    if (this.#expiresAt - Date.now() > MARGIN_MS && !this.#refreshing) return;
    await this.#refresh();
  }

  /** Exchange the refresh token. It works once, so whoever asks meanwhile waits for the same exchange. */
  #refresh() {
    this.#refreshing ??= this.#exchange().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #exchange() {
    try {
      const input = { refreshToken: this.#refreshToken };
      const { answer, serverTime } = await post({ query: REFRESH, variables: { input } });
      this.#keep(tokensOf(answer, 'refreshSession'), serverTime);
    } catch (error) {
      if (error instanceof RefusedError && !error.isPassing) {
        this.#forget();
        this.#onEnd(error.message);
      } else if (this.#refreshToken) {
        this.#schedule(SHORTEST_WAIT_MS);
      }
      throw error;
    }
  }

  #keep({ accessToken, accessTokenExpiresAt, refreshToken }, serverTime) {
    // By the server's clock, since this machine's may be wrong.
    const lifetime = Date.parse(accessTokenExpiresAt) - serverTime;
    this.#accessToken = accessToken;
    this.#refreshToken = refreshToken;
    this.#expiresAt = Date.now() + (Number.isFinite(lifetime) ? lifetime : 2 * MARGIN_MS);
    this.#schedule(Math.max(this.#expiresAt - Date.now() - MARGIN_MS, SHORTEST_WAIT_MS));
  }

  #schedule(wait) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (!document.hidden) this.#refresh().catch(() => {});
    }, wait);
  }

  #forget() {
    clearTimeout(this.#timer);
    this.#accessToken = null;
    this.#refreshToken = null;
    this.#expiresAt = 0;
  }
}

function tokensOf(answer, field) {
  const payload = answer.data?.[field];
  if (payload?.accessToken) return payload;
  const errors = [...(answer.errors ?? []), ...(payload?.errors ?? [])];
  throw new RefusedError(errors.length > 0 ? errors : [{}]);
}

async function post(operation, headers) {
  const sent = new Headers(headers);
  for (const [name, value] of Object.entries(CLIENT)) sent.set(name, value);
  sent.set('content-type', 'application/json');
  sent.set('accept', 'application/graphql-response+json, application/json;q=0.9');
  let response;
  try {
    response = await fetch(ENDPOINT, {
      method: 'POST',
      headers: sent,
      body: JSON.stringify(operation),
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
    });
  } catch {
    throw new UnreachableError('The server could not be reached. Check the connection and try again.');
  }
  const answer = await response.json().catch(() => null);
  if (answer === null || typeof answer !== 'object') {
    throw new UnreachableError(`The server gave no readable answer (HTTP ${response.status}). Try again.`);
  }
  const said = Date.parse(response.headers.get('date') ?? '');
  return { answer, serverTime: Number.isFinite(said) ? said : Date.now() };
}
