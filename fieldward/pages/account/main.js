/** The page of one's own account: what an address leads to, and what is shown to who is signed in. */

import { ask, change, listen, RefusedError } from './api.js';
import { bindAuthenticators, showAuthenticators } from './authenticators.js';
import { bindDevice, openEnrolment } from './device.js';
import { bindForm, resetForm } from './form.js';
import { bindLinks, openErasure, openForgotten, openInvitation, openReset, takeFragment } from './link.js';
import { CHANGE_PASSWORD, VIEWER } from './operations.js';
import { bindSessions, showSessions } from './sessions.js';
import { bindSignIn, openSignIn, signOut } from './sign_in.js';
import { bindStepUp, stepUp } from './step_up.js';
import { announce, byId, show } from './view.js';

const OPENED_BY = {
  reset: openReset,
  invitation: openInvitation,
  erasure: openErasure,
  enrol: openEnrolment,
  forgotten: openForgotten,
};

let viewer = null;

listen({
  signedOut,
  reauthenticate: () => stepUp(viewer?.authenticators.map((one) => one.kind) ?? []),
});
bindSignIn(enter);
bindLinks();
bindDevice();
bindStepUp();
bindAuthenticators(refresh);
bindSessions(refresh);
bindForm(byId('change-form'), async (values) => {
  await change(CHANGE_PASSWORD, values);
  resetForm(byId('change-form'));
  await refresh();
  announce('The password was changed, and all your other sessions have ended.');
  byId('password-changed').hidden = false;
});
byId('sign-out').addEventListener('click', async () => {
  forget();
  await signOut();
});
for (const box of document.querySelectorAll('.reveal input')) {
  box.addEventListener('change', () => {
    byId(box.dataset.of).type = box.checked ? 'text' : 'password';
  });
}
addEventListener('hashchange', () => follow(takeFragment()));

await begin();

async function begin() {
  const link = takeFragment();
  if (link) {
    follow(link);
    return;
  }
  try {
    await refresh();
  } catch (error) {
    openSignIn(error.message);
    return;
  }
  if (viewer) show('account');
  else openSignIn();
}

function follow(link) {
  if (!link) return;
  forget();
  OPENED_BY[link.kind](link.token);
}

async function enter() {
  await refresh();
  if (!viewer) throw new Error('The cookie was not kept.');
  show('account');
  announce('Signed in.');
}

/** Ask who is signed in, and show what is theirs. */
async function refresh() {
  ({ viewer } = await ask(VIEWER));
  if (!viewer) return;
  byId('viewer-name').textContent = viewer.user?.name ?? 'Signed in';
  byId('viewer-organization').textContent = viewer.organization?.name ?? '';
  byId('bar-account').hidden = false;
  showAuthenticators(viewer);
  showSessions(viewer);
}

/** What says that nobody is signed in may be about what was given only, such as a password: the server is asked. */
async function signedOut() {
  if (!viewer) return;
  const before = viewer;
  let why = 'Your session has ended. Sign in again.';
  viewer = null;
  try {
    await refresh();
  } catch (error) {
    if (error instanceof RefusedError) why = error.message;
    else viewer = before;
  }
  if (viewer) return;
  forget();
  openSignIn(why);
}

/** Take what was shown to somebody out of the page. */
function forget() {
  viewer = null;
  byId('bar-account').hidden = true;
  for (const id of ['viewer-name', 'viewer-organization', 'authenticators-list', 'sessions-list']) {
    byId(id).replaceChildren();
  }
  for (const id of ['factors-changed', 'password-changed']) byId(id).hidden = true;
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
}
