/** A fresh sign-in, where an act asks for one: by a passkey, or by the password and a code. */

import { change } from './api.js';
import { bindForm, busyWhile, resetForm } from './form.js';
import { BEGIN_PASSKEY_PROOF, REAUTHENTICATE } from './operations.js';
import { hasPasskeys, usePasskey } from './passkey.js';
import { byId, opened } from './view.js';

let pending = null;

/** Bind the dialog. */
export function bindStepUp() {
  const form = byId('step-up-form');
  const dialog = byId('step-up');
  bindForm(form, async (values) => {
    await change(REAUTHENTICATE, values);
    dialog.close('proved');
  });
  byId('step-up-passkey').addEventListener('click', () =>
    busyWhile(form, async () => {
      const { token, options } = await change(BEGIN_PASSKEY_PROOF);
      await change(REAUTHENTICATE, { challenge: token, passkey: await usePasskey(options) });
      dialog.close('proved');
    }),
  );
  byId('step-up-recovery').addEventListener('click', () => chooseCode('recoveryCode'));
  byId('step-up-totp').addEventListener('click', () => chooseCode('totp'));
  byId('step-up-cancel').addEventListener('click', () => dialog.close(''));
}

/**
 * Ask who is signed in to prove it again; answer whether they did. Asked for twice at once, it is one question.
 *
 * @param {string[]} kinds the kinds of factors that they have.
 */
export function stepUp(kinds) {
  pending ??= asked(kinds).finally(() => {
    pending = null;
  });
  return pending;
}

async function asked(kinds) {
  const form = byId('step-up-form');
  resetForm(form);
  byId('step-up-passkey').hidden = !(hasPasskeys && kinds.includes('PASSKEY'));
  byId('step-up-codes').hidden = kinds.length === 0;
  chooseCode(kinds.includes('TOTP') ? 'totp' : 'recoveryCode', kinds);
  const outcome = await opened(byId('step-up'));
  resetForm(form);
  return outcome === 'proved';
}

/** Show the field for one kind of code, and the button for the other one. */
function chooseCode(name, kinds = null) {
  byId('step-up-by-totp').hidden = name !== 'totp';
  byId('step-up-by-recovery').hidden = name !== 'recoveryCode';
  byId('step-up-recovery').hidden = name === 'recoveryCode';
  if (kinds) byId('step-up-totp').dataset.offered = kinds.includes('TOTP') ? 'yes' : '';
  byId('step-up-totp').hidden = name === 'totp' || !byId('step-up-totp').dataset.offered;
}
