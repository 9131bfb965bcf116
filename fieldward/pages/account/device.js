/** Enrolling this browser as a device, as a field app does: a key made here, its proof, and a sign-in on it. */

import { change } from './api.js';
import { keepDevice, makeKey, proofOf, publicJwk } from './device_key.js';
import { APP_VERSION, AUDIENCE } from './device_session.js';
import { bindForm, resetForm } from './form.js';
import { ENROL_DEVICE } from './operations.js';
import { openSignIn } from './sign_in.js';
import { byId, show } from './view.js';

/** Bind the form that enrols. */
export function bindDevice() {
  bindForm(byId('enrol-form'), enrol);
  byId('enrol-cancel').addEventListener('click', () => openSignIn());
}

/** Ask whether this browser is to be enrolled; the code comes from the link, or is typed. */
export function openEnrolment(code) {
  resetForm(byId('enrol-form'));
  byId('enrol-code').value = code;
  show('enrol');
  if (code) byId('enrol-submit').focus();
}

async function enrol({ code }) {
  const key = await makeKey();
  const { deviceId } = await change(ENROL_DEVICE, {
    code,
    publicKey: await publicJwk(key),
    proof: await proofOf(key, AUDIENCE, ['enrolment', code]),
    appVersion: APP_VERSION,
  });
  await keepDevice({ deviceId, key });
  resetForm(byId('enrol-form'));
  openSignIn('This device is enrolled. Sign in on it.', { onDevice: true });
}
