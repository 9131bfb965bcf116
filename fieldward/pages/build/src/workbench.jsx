/**
 * GraphiQL as it is here: its editors, with the explorer, examples and a history of our own, its documentation, and what
 * it lacks for who works by keyboard or hears the page.
 */
import { DOC_EXPLORER_PLUGIN, DocExplorer, DocExplorerContextProvider } from '@graphiql/plugin-doc-explorer';
import { GraphiQLProvider, useEditorContext } from '@graphiql/react';
import CodeMirror from 'codemirror';
import { GraphiQL, GraphiQLInterface } from 'graphiql';
import { useEffect, useMemo, useRef } from 'react';

import { examplesPlugin } from './examples.jsx';
import { EXPLORER } from './explorer.jsx';
import { FIRST_QUERY } from './first_query.js';
import { historyPlugin } from './history.jsx';

// What is in an editor is then in the page, where what reads it out, and moves about in it, finds it.
CodeMirror.defaults.inputStyle = 'contenteditable';

/** Of which the server sends what the viewer's roles reach. */
const DOCUMENTATION = {
  ...DOC_EXPLORER_PLUGIN,
  title: 'Documentation',
  content: () => (
    <div className="panel">
      <p className="panel-lead">You are shown as much of the schema as your roles reach.</p>
      <DocExplorer />
    </div>
  ),
};

/** As what each editor is read out. */
const NAMES = { queryEditor: 'Query', variableEditor: 'Variables', headerEditor: 'Headers', responseEditor: 'Answer' };

/**
 * The workbench. Another `choice` of as whom it runs is another `fetcher`, and GraphiQL asks a new fetcher for the schema
 * again.
 */
export function Workbench({ choice, fetcher, ask, history, storage, onSchema }) {
  const plugins = useMemo(
    () => [DOCUMENTATION, EXPLORER, examplesPlugin(ask), historyPlugin(history)],
    [ask, history],
  );
  return (
    <GraphiQLProvider
      fetcher={fetcher}
      storage={storage}
      shouldPersistHeaders={false}
      defaultQuery={FIRST_QUERY}
      plugins={plugins}
      referencePlugin={DOCUMENTATION}
      onSchemaChange={onSchema}
    >
      <DocExplorerContextProvider>
        <GraphiQLInterface defaultEditorToolsVisibility={false} showPersistHeadersSettings={false}>
          <GraphiQL.Logo>
            <ForgottenAnswers choice={choice} />
            <Reachable />
          </GraphiQL.Logo>
        </GraphiQLInterface>
      </DocExplorerContextProvider>
    </GraphiQLProvider>
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

/** Makes of the editors and tabs what can be reached by keyboard, and is read out as what it is. */
function Reachable() {
  const { tabs, activeTabIndex, ...editors } = useEditorContext({ nonNull: true });
  for (const [name, label] of Object.entries(NAMES)) useReachable(editors[name], label);
  useEffect(() => mendTabs(), [tabs, activeTabIndex]);
  return null;
}

/** Names an editor, has its lines wrap, and lets Tab lead out of it, where CodeMirror would keep it. */
function useReachable(editor, label) {
  useEffect(() => {
    if (!editor) return undefined;
    const keys = { Tab: false, 'Shift-Tab': false };
    editor.setOption('screenReaderLabel', label);
    editor.setOption('lineWrapping', true);
    editor.addKeyMap(keys);
    const input = editor.getInputField();
    input.setAttribute('role', 'textbox');
    input.setAttribute('aria-multiline', 'true');
    if (editor.getOption('readOnly')) input.setAttribute('aria-readonly', 'true');
    return () => editor.removeKeyMap(keys);
  }, [editor, label]);
}

/** GraphiQL says of its tabs that they are tabs, and puts buttons into them, which tabs can't have: they are a list. */
function mendTabs() {
  for (const tab of document.querySelectorAll('.graphiql-tab')) {
    const isActive = tab.classList.contains('graphiql-tab-active');
    for (const name of ['role', 'aria-selected']) tab.removeAttribute(name);
    tab.parentElement.removeAttribute('role');
    tab.querySelector('button').setAttribute('aria-current', String(isActive));
  }
  document.getElementById('graphiql-session')?.setAttribute('role', 'region');
}
