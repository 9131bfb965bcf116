/** The signed-in person's factors: an authenticator app, passkeys, recovery codes. */

import { change } from './api.js';
import { bindForm, busyWhile, resetForm } from './form.js';
import {
  BEGIN_PASSKEY_REGISTRATION,
  BEGIN_TOTP,
  CONFIRM_TOTP,
  REGISTER_PASSKEY,
  REMOVE_AUTHENTICATOR,
  RENEW_RECOVERY_CODES,
} from './operations.js';
import { hasPasskeys, makePasskey } from './passkey.js';
import { announce, byId, make, moment, opened, showQr } from './view.js';

const NAMES = { TOTP: 'Authenticator app', PASSKEY: 'Passkey' };

/** The app that is being added, until its first code confirms it. */
let pendingId = null;
let changed = async () => {};

/** @param {() => Promise<void>} onChanged called when factors have changed. */
export function bindAuthenticators(onChanged) {
  changed = onChanged;
  const section = byId('authenticators-form');
  bindForm(section, async () => {});
  bindForm(byId('totp-form'), confirmTotp);
  bindForm(byId('passkey-form'), registerPasskey);
  byId('add-totp').addEventListener('click', () => busyWhile(section, beginTotp));
  byId('add-passkey').hidden = !hasPasskeys;
  byId('add-passkey').addEventListener('click', () => {
    resetForm(byId('passkey-form'));
    byId('passkey-dialog').showModal();
  });
  byId('renew-codes').addEventListener('click', () => busyWhile(section, renewCodes));
  for (const name of ['totp', 'passkey']) {
    byId(`${name}-cancel`).addEventListener('click', () => byId(`${name}-dialog`).close());
  }
  byId('totp-dialog').addEventListener('close', forgetTotp);
  byId('codes-copy').addEventListener('click', copyCodes);
  byId('codes-close').addEventListener('click', () => byId('codes-dialog').close());
}

/** Show the factors of the viewer. */
export function showAuthenticators({ authenticators, recoveryCodesLeft, mustAddSecondFactor }) {
  const none = authenticators.length === 0;
  byId('authenticators-list').replaceChildren(...authenticators.map(line));
  byId('authenticators-none').hidden = !none;
  byId('must-enrol').hidden = !mustAddSecondFactor;
  byId('codes-left').hidden = none;
  byId('codes-left').textContent =
    recoveryCodesLeft === 1 ? '1 recovery code is left.' : `${recoveryCodesLeft} recovery codes are left.`;
  byId('renew-codes').hidden = none;
}

function line(authenticator) {
  const name = authenticator.name || NAMES[authenticator.kind];
  const remove = make(
    'button',
    { type: 'button', class: 'action quiet', 'aria-label': `Remove ${name}`, onclick: () => removeOne(authenticator.id, name) },
    'Remove',
  );
  const told = make('p', { class: 'told' }, `${NAMES[authenticator.kind]}. Last used: `, moment(authenticator.lastUsedAt), '.');
  return make('li', {}, make('div', {}, make('p', { class: 'name' }, name), told), remove);
}

async function beginTotp() {
  const { authenticatorId, secret, qr } = await change(BEGIN_TOTP);
  pendingId = authenticatorId;
  resetForm(byId('totp-form'));
  byId('totp-secret').textContent = secret.replace(/(.{4})(?=.)/g, '$1 ');
  showQr(byId('totp-qr'), qr);
  byId('totp-dialog').showModal();
}

async function confirmTotp(values) {
  const { recoveryCodes } = await change(CONFIRM_TOTP, { id: pendingId, ...values });
  byId('totp-dialog').close();
  await added('The authenticator app was added.', recoveryCodes);
}

function forgetTotp() {
  pendingId = null;
  byId('totp-secret').textContent = '';
  byId('totp-qr').removeAttribute('src');
}

async function registerPasskey(values) {
  const { token, options } = await change(BEGIN_PASSKEY_REGISTRATION);
  const passkey = await makePasskey(options);
  const { recoveryCodes } = await change(REGISTER_PASSKEY, { challenge: token, passkey, ...values });
  byId('passkey-dialog').close();
  await added('The passkey was added.', recoveryCodes);
}

async function renewCodes() {
  const { recoveryCodes } = await change(RENEW_RECOVERY_CODES);
  await changed();
  await showCodes(recoveryCodes);
}

function removeOne(id, name) {
  return busyWhile(byId('authenticators-form'), async () => {
    await change(REMOVE_AUTHENTICATOR, { id });
    await changed();
    offerToEndOthers(`${name} was removed.`);
    byId('authenticators-title').focus();
  });
}

async function added(what, recoveryCodes) {
  await changed();
  if (recoveryCodes?.length) await showCodes(recoveryCodes);
  offerToEndOthers(what);
}

/** Show recovery codes, once: when the dialog closes, the page has forgotten them. */
async function showCodes(codes) {
  byId('codes-list').replaceChildren(...codes.map((code) => make('li', {}, make('code', {}, code))));
  byId('codes-copied').textContent = '';
  await opened(byId('codes-dialog'));
  byId('codes-list').replaceChildren();
}

async function copyCodes() {
  const codes = [...byId('codes-list').children].map((one) => one.textContent);
  await navigator.clipboard.writeText(codes.join('\n'));
  byId('codes-copied').textContent = 'Copied.';
}

/** Say what changed, and that whoever else may be signed in can be signed out. */
function offerToEndOthers(what) {
  byId('factors-changed-text').textContent = `${what} If anybody else may be signed in as you, end the other sessions.`;
  byId('factors-changed').hidden = false;
  announce(what);
}
