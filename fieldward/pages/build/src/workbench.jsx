/**
 * GraphiQL as it is here: its editors, with the explorer, examples and a history of our own, its documentation, and what
 * it lacks for who works by keyboard or hears the page.
 */
import { DOC_EXPLORER_PLUGIN, DocExplorer, DocExplorerContextProvider } from '@graphiql/plugin-doc-explorer';
import { GraphiQLProvider, useEditorContext } from '@graphiql/react';
import { GraphiQL, GraphiQLInterface } from 'graphiql';
import 'graphiql/graphiql.css';
import { useEffect, useMemo, useRef } from 'react';

import { examplesPlugin } from './examples.jsx';
import { EXPLORER } from './explorer.jsx';
import { FIRST_QUERY } from './first_query.js';
import { historyPlugin } from './history.jsx';

/** Of which the server sends what the viewer's roles reach. */
const DOCUMENTATION = {
  ...DOC_EXPLORER_PLUGIN,
  title: 'Documentation',
  content: () => (
    <div className="panel">
      <p className="panel-lead">What you are shown of the schema: as much of it as your roles reach.</p>
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

/** Gives each editor a name, and lets Tab lead out of it, where CodeMirror would keep it. */
function Reachable() {
  const editors = useEditorContext({ nonNull: true });
  for (const [name, label] of Object.entries(NAMES)) useReachable(editors[name], label);
  return null;
}

function useReachable(editor, label) {
  useEffect(() => {
    if (!editor) return undefined;
    const keys = { Tab: false, 'Shift-Tab': false };
    editor.setOption('screenReaderLabel', label);
    editor.addKeyMap(keys);
    return () => editor.removeKeyMap(keys);
  }, [editor, label]);
}
