/**
 * The page around GraphiQL: sign-in first, then the editor. What ends a sign-in reloads the page, because only that
 * surely clears what GraphiQL and its parts hold in memory: answers, history, the schema that this viewer may see.
 */
import { GraphiQL } from 'graphiql';
import 'graphiql/graphiql.css';
import { createRoot } from 'react-dom/client';

import { FIRST_QUERY } from './first_query.js';
import { MemoryStorage } from './memory_storage.js';
import './page.css';
import { RefusedError, Session } from './session.js';

const ENDINGS = {
  '#signed-out': 'You have signed out.',
  '#session-ended': 'Your session has ended. Sign in again.',
};

const element = (id) => document.getElementById(id);
const form = element('sign-in-form');
const alertBox = element('sign-in-alert');
const statusBox = element('status');
const submit = element('sign-in-submit');
const inputs = { email: element('email'), password: element('password'), organization: element('organization') };

const session = new Session(() => leave('#session-ended'));

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  if (submit.disabled) return;
  setBusy(true);
  try {
    await session.signIn({
      email: inputs.email.value.trim(),
      password: inputs.password.value,
      organization: inputs.organization.value.trim(),
    });
  } catch (error) {
    setBusy(false);
    showRefusal(error);
    return;
  }
  inputs.password.value = '';
  setBusy(false);
  open();
});

element('sign-out').addEventListener('click', async (event) => {
  event.currentTarget.disabled = true;
  statusBox.textContent = 'Signing out.';
  await session.signOut();
  leave('#signed-out');
});

greet();

/** Show the sign-in form, with the reason if a session has just ended. */
function greet() {
  const ending = ENDINGS[location.hash];
  if (location.hash) history.replaceState(null, '', location.pathname);
  if (ending) {
    const notice = element('sign-in-notice');
    notice.textContent = ending;
    notice.hidden = false;
    statusBox.textContent = ending;
  }
  element('sign-in').hidden = false;
  inputs.email.focus();
}

/** Replace the form by the editor. */
function open() {
  element('sign-in').hidden = true;
  element('account').hidden = false;
  const workspace = element('workspace');
  workspace.hidden = false;
  workspace.focus();
  statusBox.textContent = 'Signed in. The query editor is ready.';
  showViewer();
  createRoot(workspace).render(
    <GraphiQL
      fetcher={(operation, options) => session.request(operation, options?.headers)}
      storage={new MemoryStorage()}
      shouldPersistHeaders={false}
      defaultQuery={FIRST_QUERY}
      defaultEditorToolsVisibility={false}
    >
      <GraphiQL.Logo>{null}</GraphiQL.Logo>
    </GraphiQL>,
  );
}

async function showViewer() {
  const viewer = await session.viewer().catch(() => ({ name: null, organization: null }));
  element('viewer-name').textContent = viewer.name ?? 'Signed in';
  element('viewer-organization').textContent = viewer.organization ?? '';
}

function showRefusal(error) {
  const messages = error instanceof RefusedError ? error.messages : [error.message];
  element('sign-in-notice').hidden = true;
  alertBox.replaceChildren(
    ...messages.map((message) => {
      const line = document.createElement('p');
      line.textContent = message;
      return line;
    }),
  );
  const faulty = (error.fields ?? []).map((name) => inputs[name]).filter(Boolean);
  for (const input of faulty) {
    input.setAttribute('aria-invalid', 'true');
    input.setAttribute('aria-errormessage', 'sign-in-alert');
  }
  const first = faulty[0] ?? inputs.password;
  first.focus();
  first.select();
}

function setBusy(isBusy) {
  submit.disabled = isBusy;
  submit.textContent = isBusy ? 'Signing in…' : 'Sign in';
  form.setAttribute('aria-busy', String(isBusy));
  if (!isBusy) return;
  alertBox.replaceChildren();
  for (const input of Object.values(inputs)) {
    input.removeAttribute('aria-invalid');
    input.removeAttribute('aria-errormessage');
  }
}

function leave(hash) {
  history.replaceState(null, '', location.pathname + hash);
  location.reload();
}
