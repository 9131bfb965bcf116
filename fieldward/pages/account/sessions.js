/** The signed-in person's sessions: what they are called, when they were last seen, and how they end. */

import { change } from './api.js';
import { bindForm, busyWhile, resetForm } from './form.js';
import { RENAME_SESSION, REVOKE_OTHER_SESSIONS, REVOKE_SESSION } from './operations.js';
import { announce, byId, make, moment } from './view.js';

const FACTORS = { PASSWORD: 'password', TOTP: 'code', PASSKEY: 'passkey', RECOVERY_CODE: 'recovery code', DEVICE: 'device' };

let renamedId = null;
let changed = async () => {};

/** @param {() => Promise<void>} onChanged called when sessions have changed. */
export function bindSessions(onChanged) {
  changed = onChanged;
  const section = byId('sessions-form');
  bindForm(section, async () => {});
  bindForm(byId('rename-form'), async (values) => {
    await change(RENAME_SESSION, { id: renamedId, ...values });
    byId('rename-dialog').close();
    await changed();
    announce('The session was renamed.');
  });
  byId('rename-cancel').addEventListener('click', () => byId('rename-dialog').close());
  for (const id of ['end-others', 'factors-changed-end']) {
    byId(id).addEventListener('click', () => busyWhile(section, endOthers));
  }
}

/** Show the sessions of the viewer, the one of this page first. */
export function showSessions({ sessions, session }) {
  const nodes = sessions?.nodes ?? [];
  const sorted = [...nodes].sort((one, other) => (other.id === session?.id) - (one.id === session?.id));
  byId('sessions-list').replaceChildren(...sorted.map((one) => line(one, one.id === session?.id)));
  byId('end-others').hidden = nodes.length < 2;
}

function line(session, isThis) {
  const name = session.name || 'Unnamed';
  const told = make('p', { class: 'told' }, isThis ? 'This session. Signed in ' : 'Signed in ');
  const by = (session.factors ?? []).map((factor) => FACTORS[factor] ?? factor.toLowerCase()).join(' and ');
  told.append(moment(session.createdAt), by && ` by ${by}`, '. Last seen ', moment(session.lastSeenAt ?? session.createdAt), '.');
  const buttons = make('div', { class: 'buttons' });
  buttons.append(button('Rename', name, () => openRename(session)));
  if (!isThis) buttons.append(button('End', name, () => endOne(session.id, name)));
  return make('li', {}, make('div', {}, make('p', { class: 'name' }, name), told), buttons);
}

function button(text, name, act) {
  return make('button', { type: 'button', class: 'action quiet', 'aria-label': `${text} ${name}`, onclick: act }, text);
}

function openRename(session) {
  renamedId = session.id;
  resetForm(byId('rename-form'));
  byId('session-name').value = session.name ?? '';
  byId('rename-dialog').showModal();
}

function endOne(id, name) {
  return busyWhile(byId('sessions-form'), async () => {
    await change(REVOKE_SESSION, { id });
    await changed();
    announce(`${name} was ended.`);
    byId('sessions-title').focus();
  });
}

async function endOthers() {
  await change(REVOKE_OTHER_SESSIONS);
  byId('factors-changed').hidden = true;
  await changed();
  announce('All other sessions were ended.');
  byId('sessions-title').focus();
}
