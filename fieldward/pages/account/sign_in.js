/** Signing in: by password and then a second factor where one is asked for, or by a passkey alone. */

import { change, signInBy } from './api.js';
import { keptDevice } from './device_key.js';
import { DeviceSession, deviceSignIn } from './device_session.js';
import { bindForm, busyWhile, resetForm } from './form.js';
import { BEGIN_PASSKEY_SIGN_IN, COMPLETE_SIGN_IN, SIGN_IN, SIGN_IN_WITH_PASSKEY, SIGN_OUT } from './operations.js';
import { hasPasskeys, usePasskey } from './passkey.js';
import { byId, show } from './view.js';

const METHODS = ['TOTP', 'PASSKEY', 'RECOVERY_CODE'];

/** What the second step answers to, while it lasts: `{ token, methods, passkeyOptions }`. */
let challenge = null;
/** The enrolled device that a sign-in is on; null for a browser, which gets a cookie. */
let device = null;
let entered = async () => {};

/** @param {() => Promise<void>} onEntered called when somebody is signed in. */
export function bindSignIn(onEntered) {
  entered = onEntered;
  bindForm(byId('sign-in-form'), signIn);
  bindForm(byId('second-factor-form'), (values) => complete(values));
  byId('sign-in-passkey').hidden = !hasPasskeys;
  byId('sign-in-passkey').addEventListener('click', () => busyWhile(byId('sign-in-form'), signInWithPasskey));
  byId('use-passkey').addEventListener('click', () =>
    busyWhile(byId('second-factor-form'), async () =>
      complete({ passkey: await usePasskey(challenge.passkeyOptions) }),
    ),
  );
  for (const method of METHODS) byId(`choose-${method}`).addEventListener('click', () => choose(method));
  byId('second-factor-cancel').addEventListener('click', () => openSignIn());
}

/**
 * Show the sign-in, and let go of one that was by a device's token.
 *
 * @param {string} [notice] why it is shown.
 * @param {{onDevice?: boolean}} [choice] whether it is on the device that this browser is enrolled as.
 */
export async function openSignIn(notice = '', { onDevice = false } = {}) {
  signInBy(null);
  challenge = null;
  resetForm(byId('second-factor-form'));
  byId('password').value = '';
  show('sign-in', notice);
  byId('on-device').checked = onDevice;
  // A browser that keeps nothing, in a private window for one, is no device.
  byId('on-device-choice').hidden = !(await keptDevice().catch(() => null));
}

/** Tell the server that this session ends; whatever it answers, the page shows the sign-in. */
export async function signOut() {
  try {
    await change(SIGN_OUT);
    openSignIn('You have signed out.');
  } catch (error) {
    openSignIn(`The server did not hear that you signed out. ${error.message}`);
  }
}

async function signIn(values) {
  device = byId('on-device').checked ? await keptDevice() : null;
  const given = { ...values, ...(device && (await deviceSignIn(device, values))) };
  const payload = await change(SIGN_IN, { ...given, delivery: delivery() });
  byId('password').value = '';
  if (payload.challenge) openSecondFactor(payload.challenge);
  else await enter(payload);
}

/** A device proves its key at each refresh, and so has tokens; a browser has a cookie. */
function delivery() {
  return device ? 'TOKENS' : 'COOKIE';
}

async function signInWithPasskey() {
  device = null;
  const { token, options } = await change(BEGIN_PASSKEY_SIGN_IN);
  const passkey = await usePasskey(options);
  const organization = byId('organization').value.trim();
  const payload = await change(SIGN_IN_WITH_PASSKEY, {
    challenge: token,
    passkey,
    delivery: 'COOKIE',
    ...(organization && { organization }),
  });
  await enter(payload);
}

function openSecondFactor(given) {
  challenge = given;
  choose(offered()[0] ?? 'RECOVERY_CODE');
}

/** By what the challenge can be answered in this browser. */
function offered() {
  return METHODS.filter((one) => challenge.methods.includes(one) && (one !== 'PASSKEY' || hasPasskeys));
}

/** Show one way to answer, and buttons for the others. */
function choose(method) {
  resetForm(byId('second-factor-form'));
  for (const one of METHODS) {
    byId(`by-${one}`).hidden = one !== method;
    byId(`choose-${one}`).hidden = one === method || !offered().includes(one);
  }
  byId('second-factor-submit').hidden = method === 'PASSKEY';
  show('second-factor');
  if (method === 'PASSKEY') byId('use-passkey').focus();
}

async function complete(values) {
  const payload = await change(COMPLETE_SIGN_IN, { challenge: challenge.token, ...values, delivery: delivery() });
  await enter(payload);
}

async function enter(payload) {
  challenge = null;
  if (device) {
    const session = new DeviceSession(device, payload);
    signInBy(() => session.accessToken());
  }
  resetForm(byId('sign-in-form'));
  resetForm(byId('second-factor-form'));
  await entered();
}
