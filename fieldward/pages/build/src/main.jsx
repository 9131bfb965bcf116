/**
 * The page around GraphiQL: sign-in first, then the editor. What ends a sign-in reloads the page, because only that
 * surely clears what GraphiQL and its parts hold in memory: answers, history, the schema that this viewer may see.
 */
import { useEditorContext } from '@graphiql/react';
import { GraphiQL } from 'graphiql';
import 'graphiql/graphiql.css';
import { useEffect, useMemo, useRef } from 'react';
import { createRoot } from 'react-dom/client';

import { FIRST_QUERY } from './first_query.js';
import { MemoryStorage } from './memory_storage.js';
import './page.css';
import { RUN_AS, RunAsDialog } from './run_as.js';
import { RefusedError, Session, UnreachableError } from './session.js';

const ENDINGS = {
  '#signed-out': 'You have signed out.',
  '#session-ended': 'Your session has ended. Sign in again.',
};

const TITLE = document.title;

const element = (id) => document.getElementById(id);
const form = element('sign-in-form');
const alertBox = element('sign-in-alert');
const statusBox = element('status');
const submit = element('sign-in-submit');
const inputs = { email: element('email'), password: element('password'), organization: element('organization') };

const storage = new MemoryStorage();

const session = new Session(() => leave('#session-ended'));
const runAs = new RunAsDialog(session, look);

/** As whom the queries run: null for oneself. Each choice is an object of its own. */
let looking = null;
let editor = null;
let viewerId = null;

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

element('run-as').addEventListener('click', () => runAs.open(viewerId));

element('looking-end').addEventListener('click', () => {
  look(null);
  element('run-as').focus();
});

const ending = ENDINGS[location.hash];
if (location.hash) history.replaceState(null, '', location.pathname);
if (ending) greet(ending);
else session.resume().then((isOpen) => (isOpen ? open() : greet()));

/** Show the sign-in form, with the reason if a session has just ended. */
function greet(ending) {
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
  editor = createRoot(workspace);
  editor.render(<Editor choice={looking} />);
}

/** The editor. Another choice is another fetcher, and GraphiQL asks a new fetcher for the schema again. */
function Editor({ choice }) {
  const fetcher = useMemo(() => fetcherOf(choice), [choice]);
  return (
    <GraphiQL
      fetcher={fetcher}
      storage={storage}
      shouldPersistHeaders={false}
      defaultQuery={FIRST_QUERY}
      defaultEditorToolsVisibility={false}
    >
      <GraphiQL.Logo>
        <ForgottenAnswers choice={choice} />
      </GraphiQL.Logo>
    </GraphiQL>
  );
}

/** Clears the answers of all tabs when the choice changes: what stands there was seen by somebody else. */
function ForgottenAnswers({ choice }) {
  const { responseEditor, tabs, updateActiveTabValues } = useEditorContext({ nonNull: true });
  const last = useRef(choice);
  useEffect(() => {
    if (last.current === choice) return;
    last.current = choice;
    // GraphiQL lets only the active tab be set; it copies the others from these.
    for (const tab of tabs) tab.response = null;
    updateActiveTabValues({ response: null });
    responseEditor?.setValue('');
  });
  return null;
}

function fetcherOf(choice) {
  return async (operation, options) => {
    const headers = { ...options?.headers };
    if (choice) {
      // A name in another case, written into the header editor, must not stand beside ours.
      for (const name of Object.keys(headers)) if (name.toLowerCase() === RUN_AS) delete headers[name];
      headers[RUN_AS] = choice.header;
    }
    const answer = await session.request(operation, headers);
    if (choice !== looking) throw new UnreachableError('The answer was for whom you looked as before. Run it again.');
    return answer;
  };
}

/** Run the queries as somebody else, or as oneself, and say so across the page. */
function look(choice) {
  if (choice?.header === looking?.header) return;
  looking = choice;
  const text = choice && `You look as ${choice.label} – read only. Each query is written to the audit trail.`;
  element('looking-text').textContent = text ?? '';
  element('looking').classList.toggle('shown', choice !== null);
  document.title = choice ? `As ${choice.label} – Fieldward` : TITLE;
  statusBox.textContent = choice ? '' : 'Queries run as yourself again.';
  editor.render(<Editor choice={choice} />);
}

async function showViewer() {
  const viewer = await session.viewer().catch(() => ({ id: null, name: null, organization: null, runsAs: false }));
  viewerId = viewer.id;
  element('run-as').hidden = !viewer.runsAs;
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
