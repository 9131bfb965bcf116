/** Enrolling this browser as a device, as a field app does: a key made here, its proof, and a sign-in on it. */

import { change } from './api.js';
import { keepDevice, keptDevice, makeKey, proofOf, publicJwk } from './device_key.js';
import { bindForm, resetForm } from './form.js';
import { ENROL_DEVICE } from './operations.js';
import { openSignIn } from './sign_in.js';
import { byId, show } from './view.js';

const APP_VERSION = 'account page';
/** Whom a proof is for: the server says it in the page. */
const AUDIENCE = document.documentElement.dataset.audience;

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
  openSignIn('This device is enrolled. Sign in on it.', deviceSignIn);
}

/** Return what a sign-in says of the device that it is on. */
async function deviceSignIn({ email, organization = '' }) {
  const { deviceId, key } = await keptDevice();
  return { deviceId, deviceProof: await proofOf(key, AUDIENCE, ['sign-in', organization, email]) };
}
