/**
 * The page around GraphiQL: sign-in first, then the editor. What ends a sign-in reloads the page, because only that
 * surely clears what GraphiQL and its parts hold in memory: answers, history, the schema that this viewer may see.
 */
import { getOperationAST, parse } from 'graphql';
import 'graphiql/graphiql.css';
import { createRoot } from 'react-dom/client';

import { errorsOf } from '../../account/request.js';
import { History } from './history.jsx';
import { Live } from './live.js';
import { MemoryStorage } from './memory_storage.js';
import './page.css';
import { RUN_AS, RunAsDialog } from './run_as.js';
import { RefusedError, Session, UnreachableError } from './session.js';
import { Workbench } from './workbench.jsx';

const ENDINGS = {
  '#signed-out': 'You have signed out.',
  '#session-ended': 'Your session has ended. Sign in again.',
};

const TITLE = document.title;
const INTROSPECTION = 'IntrospectionQuery';

const element = (id) => document.getElementById(id);
const form = element('sign-in-form');
const alertBox = element('sign-in-alert');
const statusBox = element('status');
const submit = element('sign-in-submit');
const inputs = { email: element('email'), password: element('password'), organization: element('organization') };

const storage = new MemoryStorage();
const past = new History(document.documentElement.dataset.kept.split(' '));
delete document.documentElement.dataset.kept;

const session = new Session(() => leave('#session-ended'));
const live = new Live(() => session.check().catch(() => {}));
const runAs = new RunAsDialog(session, look);

/** As whom the queries run: null for oneself. Each choice is an object of its own. */
let looking = null;
/** What is drawn, and what it is drawn with. */
const workbench = { root: null, schema: null };
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
else session.resume().then((isOpen) => (isOpen ? open() : greet()), () => greet());

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
  workbench.root = createRoot(workspace);
  draw();
}

/** Draw the workbench for whom the queries run as now. */
function draw() {
  workbench.root.render(
    <Workbench
      choice={looking}
      fetcher={fetcherOf(looking)}
      ask={ask}
      history={past}
      storage={storage}
      onSchema={(schema) => (workbench.schema = schema)}
    />,
  );
}

function fetcherOf(choice) {
  return async (given, options) => {
    const operation = rightlyNamed(given);
    if (operation.operationName !== INTROSPECTION) past.add(operation, workbench.schema);
    if (kindOf(operation) === 'subscription') {
      // No page can say by a WebSocket as whom it looks: it would be the sign-in's own changes that are shown.
      if (choice) throw new UnreachableError('While you look as another, there are no subscriptions.');
      return live.answers(operation);
    }
    const answer = await session.request(operation, headersOf(choice, options?.headers));
    if (choice !== looking) throw new UnreachableError('The answer was for whom you looked as before. Run it again.');
    return answer;
  };
}

function headersOf(choice, written = {}) {
  // A name in another case, written into the header editor, must not stand beside ours.
  const others = Object.entries(written).filter(([name]) => !choice || name.toLowerCase() !== RUN_AS);
  return { ...Object.fromEntries(others), ...(choice && { [RUN_AS]: choice.header }) };
}

/** Return the operation by its own name: for a moment after a change of the text, GraphiQL names the one before. */
function rightlyNamed({ query, variables, operationName }) {
  if (kindOf({ query, operationName })) return { query, variables, operationName };
  const only = kindOf({ query }) && getOperationAST(parse(query));
  return { query, variables, operationName: only?.name?.value ?? (only ? undefined : operationName) };
}

/** Return whether an operation is a query, a mutation or a subscription; undefined where the text does not have it. */
function kindOf({ query, operationName }) {
  try {
    return getOperationAST(parse(query), operationName)?.operation;
  } catch {
    // The server says what is wrong with it.
    return undefined;
  }
}

/** Send a query as whom the queries run, and return its data. Throws RefusedError or UnreachableError. */
async function ask(query) {
  const answer = await session.request({ query }, headersOf(looking));
  if (!answer.data || answer.errors) throw new RefusedError(errorsOf(answer));
  return answer.data;
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
  draw();
}

async function showViewer() {
  const viewer = await session.viewer().catch(() => ({ id: null, name: null, organization: null, runsAs: false }));
  viewerId = viewer.id;
  element('run-as').hidden = !viewer.runsAs;
  element('viewer-name').textContent = viewer.name ?? 'Signed in';
  element('viewer-organization').textContent = viewer.organization ?? '';
}

function showRefusal(error) {
  const errors = error instanceof RefusedError ? error.errors : [error];
  element('sign-in-notice').hidden = true;
  alertBox.replaceChildren(
    ...errors.map(({ message }) => {
      const line = document.createElement('p');
      line.textContent = message;
      return line;
    }),
  );
  const faulty = errors.map(({ field }) => inputs[field?.at(-1)]).filter(Boolean);
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
