/** The panel of examples: those that this viewer can run, as they are here (`examples.js`). */
import { useEditorContext, useSchemaStore } from '@graphiql/react';
import { parse, validate } from 'graphql';
import { useState } from 'react';

import { EXAMPLES } from './examples.js';

/** Return the plugin that offers examples. `ask` sends a query as whom the queries run, and returns its data. */
export function examplesPlugin(ask) {
  return { title: 'Examples', icon: ExamplesIcon, content: () => <ExamplesPanel ask={ask} /> };
}

function ExamplesPanel({ ask }) {
  const schema = useSchemaStore((store) => store?.schema) ?? null;
  const { queryEditor, variableEditor } = useEditorContext({ nonNull: true });
  const [refused, setRefused] = useState(null);
  const offered = schema ? EXAMPLES.filter((one) => validate(schema, parse(one.query)).length === 0) : [];

  const take = async (example) => {
    setRefused(null);
    let { variables } = example;
    try {
      if (example.fill) variables = example.with(await ask(example.fill));
    } catch {
      setRefused(example.title);
      return;
    }
    queryEditor?.setValue(`# ${example.title}\n# ${example.says}\n\n${example.query}\n`);
    variableEditor?.setValue(variables ? JSON.stringify(variables, null, 2) : '');
    queryEditor?.focus();
  };

  return (
    <section className="panel" aria-label="Examples">
      <h2 className="panel-title">Examples</h2>
      <p className="panel-lead">What your roles let you run. Choosing one puts it into the editor; Ctrl-Z there undoes it.</p>
      <p className="panel-alert" role="alert">
        {refused && `“${refused}” takes something that you do not see.`}
      </p>
      <ul className="panel-list">
        {offered.map((one) => (
          <li key={one.title}>
            <button type="button" className="panel-item" onClick={() => take(one)}>
              <span className="panel-item-title">{one.title}</span>
              <span className="panel-item-says">{one.says}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function ExamplesIcon(props) {
  return (
    <svg height="1em" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5" {...props}>
      <path d="M12 6c-2-1.5-5-2-8-2v14c3 0 6 .5 8 2 2-1.5 5-2 8-2V4c-3 0-6 .5-8 2zM12 6v14" />
    </svg>
  );
}
