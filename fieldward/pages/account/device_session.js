/**
 * A sign-in on an enrolled device. Its tokens are in this page's memory and nowhere else, and new ones take the device's
 * key: who steals a token has minutes, and who steals both tokens has no more.
 */

import { changeAnonymously } from './api.js';
import { proofOf } from './device_key.js';
import { REFRESH_SESSION } from './operations.js';

/** Milliseconds before its expiry at which an access token is exchanged: a fifth of the five minutes it lives. */
const MARGIN_MS = 60_000;

/** Whom a proof is for: the server says it in the page. */
export const AUDIENCE = document.documentElement.dataset.audience;
export const APP_VERSION = 'account page';

/** Return what a sign-in says of the device that it is on. */
export async function deviceSignIn({ deviceId, key }, { email, organization = '' }) {
  return { deviceId, deviceProof: await proofOf(key, AUDIENCE, ['sign-in', organization, email]) };
}

export class DeviceSession {
  #key;
  #tokens;
  #refreshing = null;

  /** @param {{key: CryptoKeyPair}} device @param {object} tokens what the sign-in answered. */
  constructor({ key }, tokens) {
    this.#key = key;
    this.#tokens = tokens;
  }

  /** Return an access token that is good for a while. Throws RefusedError where the device is not let in any more. */
  async accessToken() {
    if (Date.parse(this.#tokens.accessTokenExpiresAt) - Date.now() < MARGIN_MS) {
      // A refresh token works once: whoever asks meanwhile waits for the same exchange.
      this.#refreshing ??= this.#refresh().finally(() => {
        this.#refreshing = null;
      });
      await this.#refreshing;
    }
    return this.#tokens.accessToken;
  }

  async #refresh() {
    const { refreshToken } = this.#tokens;
    this.#tokens = await changeAnonymously(REFRESH_SESSION, {
      refreshToken,
      deviceProof: await proofOf(this.#key, AUDIENCE, ['refresh', refreshToken]),
      appVersion: APP_VERSION,
    });
  }
}
