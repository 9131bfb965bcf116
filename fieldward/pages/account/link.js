/** What links lead to: a forgotten password, a new one, an invitation, one's own erasure. */

import { change } from './api.js';
import { bindForm, resetForm } from './form.js';
import { ACCEPT_INVITATION, CONFIRM_ERASURE, REQUEST_PASSWORD_RESET, RESET_PASSWORD } from './operations.js';
import { openSignIn } from './sign_in.js';
import { byId, show } from './view.js';

const KINDS = ['reset', 'invitation', 'erasure', 'enrol', 'forgotten'];

/** The secret of the link that led here, held in memory alone. */
let token = null;

/**
 * Take what the address's fragment says out of the address bar and the history, and return it: `{ kind, token }`, or
 * null where it says nothing to this page.
 */
export function takeFragment() {
  const [, kind, given = ''] = /^#(\w+)(?:=(.*))?$/.exec(location.hash) ?? [];
  if (location.hash) history.replaceState(null, '', location.pathname + location.search);
  return KINDS.includes(kind) ? { kind, token: given } : null;
}

/** Bind the forms that links lead to. */
export function bindLinks() {
  bindForm(byId('forgotten-form'), async (values) => {
    await change(REQUEST_PASSWORD_RESET, values);
    resetForm(byId('forgotten-form'));
    openSignIn('If there is an account with that address, a link to set a new password is on its way to it.');
  });
  bindForm(byId('reset-form'), async (values) => {
    await change(RESET_PASSWORD, { token, ...values });
    finish('reset-form', 'Your password was set, and all your sessions have ended. Sign in with the new password.');
  });
  bindForm(byId('invitation-form'), async (values) => {
    const { organization } = await change(ACCEPT_INVITATION, { token, ...values });
    finish('invitation-form', 'Welcome. You are a member now: sign in.');
    byId('organization').value = organization;
  });
  bindForm(byId('erasure-form'), async () => {
    const { executeAfter } = await change(CONFIRM_ERASURE, { token });
    finish('erasure-form', `You will be erased after ${new Date(executeAfter).toLocaleString()}. Until then you can sign in and take it back.`);
  });
  byId('forgotten-open').addEventListener('click', openForgotten);
  byId('forgotten-cancel').addEventListener('click', () => openSignIn());
}

/** Ask for the address of an account whose password was forgotten. */
export function openForgotten() {
  resetForm(byId('forgotten-form'));
  byId('forgotten-email').value = byId('email').value;
  show('forgotten');
}

/** Ask for a new password, which the token of the link lets set once. */
export function openReset(given) {
  token = given;
  resetForm(byId('reset-form'));
  show('reset');
}

/** Ask for the password with which an invitation is accepted. */
export function openInvitation(given) {
  token = given;
  resetForm(byId('invitation-form'));
  show('invitation');
}

/** Ask whether they are to be erased, as they or somebody else asked for. */
export function openErasure(given) {
  token = given;
  resetForm(byId('erasure-form'));
  show('erasure');
}

function finish(form, notice) {
  token = null;
  resetForm(byId(form));
  openSignIn(notice);
}
