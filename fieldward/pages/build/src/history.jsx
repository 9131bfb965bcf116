/**
 * The history: what was run since this page was opened, in memory alone, without the values that may not be kept
 * (`kept_operation.js`) and without headers. GraphiQL's own keeps everything.
 */
import { HistoryIcon, useEditorContext } from '@graphiql/react';
import { useSyncExternalStore } from 'react';

import { keptOperation } from './kept_operation.js';

const MOST = 50;
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

export class History {
  #kept;
  #entries = [];
  #listeners = new Set();

  /** @param {Iterable<string>} kept the coordinates of the inputs whose values may be kept. */
  constructor(kept) {
    this.#kept = new Set(kept);
    // Of the specification's own, which the server has no say in.
    for (const name of ['include', 'skip']) this.#kept.add(`@${name}(if:)`);
  }

  get entries() {
    return this.#entries;
  }

  /** Keep an operation that was run. Without a schema nothing is known of its values, and it is not kept. */
  add(operation, schema) {
    const kept = schema && keptOperation(operation, schema, this.#kept);
    if (!kept) return;
    const same = JSON.stringify(kept);
    const others = this.#entries.filter((one) => one.same !== same);
    this.#change([{ ...kept, same, at: new Date() }, ...others].slice(0, MOST));
  }

  clear() {
    this.#change([]);
  }

  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #change(entries) {
    this.#entries = entries;
    for (const listener of this.#listeners) listener();
  }
}

/** Return the plugin that shows a history. */
export function historyPlugin(history) {
  return { title: 'History', icon: HistoryIcon, content: () => <HistoryPanel history={history} /> };
}

function HistoryPanel({ history }) {
  const entries = useSyncExternalStore(history.subscribe, () => history.entries);
  const { queryEditor, variableEditor } = useEditorContext({ nonNull: true });

  const take = ({ query, variables }) => {
    queryEditor?.setValue(query);
    variableEditor?.setValue(Object.keys(variables).length > 0 ? JSON.stringify(variables, null, 2) : '');
    queryEditor?.focus();
  };

  return (
    <section className="panel" aria-label="History">
      <h2 className="panel-title">History</h2>
      <p className="panel-lead">
        Kept until this page is closed. Passwords, codes, tokens, and what is confidential or personal are left out, and
        so are headers.
      </p>
      {entries.length === 0 && <p>Nothing was run yet.</p>}
      <ol className="panel-list">
        {entries.map((one) => (
          <li key={one.same}>
            <button type="button" className="panel-item" onClick={() => take(one)}>
              <span className="panel-item-title">{titleOf(one)}</span>
              <span className="panel-item-says">
                <time dateTime={one.at.toISOString()}>{TIME.format(one.at)}</time>
                {one.isWhole ? '' : ', some values left out'}
              </span>
            </button>
          </li>
        ))}
      </ol>
      {entries.length > 0 && (
        <button type="button" className="action quiet" onClick={() => history.clear()}>
          Clear the history
        </button>
      )}
    </section>
  );
}

function titleOf({ query, operationName }) {
  return operationName ?? query.replaceAll(/\s+/g, ' ').slice(0, 80);
}
