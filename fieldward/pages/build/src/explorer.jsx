/**
 * The explorer: a query put together by ticking fields. It shows what the viewer is shown of the schema, edits the text
 * of the editor, and is made of buttons, ticks and fields alone, so that it works by keyboard and is read out.
 */
import { useEditorContext, useSchemaStore } from '@graphiql/react';
import {
  getNamedType,
  getNullableType,
  isAbstractType,
  isCompositeType,
  isEnumType,
  isInputObjectType,
  isListType,
  isRequiredArgument,
  Kind,
  print,
} from 'graphql';
import { createContext, useContext, useEffect, useId, useMemo, useState, useSyncExternalStore } from 'react';

import {
  documentOf,
  nodeAt,
  operationsOf,
  placeholderOf,
  valueAt,
  valueOf,
  withField,
  withOperation,
  withoutField,
  withValue,
  writtenOf,
} from './selection.js';

export const EXPLORER = { title: 'Explorer', icon: ExplorerIcon, content: ExplorerPanel };

/** What is edited: the document and its operation, and `change`, which takes another document. */
const Editing = createContext(null);

function ExplorerPanel() {
  const schema = useSchemaStore((store) => store.schema);
  const { queryEditor } = useEditorContext({ nonNull: true });
  const text = useText(queryEditor);
  const document = useMemo(() => documentOf(text), [text]);
  const [place, setPlace] = useState(0);
  const [sought, setSought] = useState('');
  const operations = document ? operationsOf(document) : [];
  const operation = operations[Math.min(place, operations.length - 1)];
  const root = operation && schema?.getRootType(operation.operation);

  const change = (made) => queryEditor.setValue(`${print(made)}\n`);
  const add = (kind) => {
    setPlace(operations.length);
    change(withOperation(document, kind));
  };

  return (
    <section className="panel" aria-label="Explorer">
      <h2 className="panel-title">Explorer</h2>
      {document === null ? (
        <p className="panel-lead" role="status">
          The text in the editor has an error. Mend it there to go on here.
        </p>
      ) : (
        <>
          <p className="panel-lead">Tick what you ask for. A value that begins with $ is a variable.</p>
          {operations.length > 1 && (
            <Named label="Operation">
              {(id) => (
                <select id={id} value={operations.indexOf(operation)} onChange={(event) => setPlace(Number(event.target.value))}>
                  {operations.map((one, index) => (
                    <option key={index} value={index}>
                      {`${one.operation} ${one.name?.value ?? ''}`}
                    </option>
                  ))}
                </select>
              )}
            </Named>
          )}
          {root && (
            <Editing.Provider value={{ document, operation, change, schema }}>
              <Named label={`Find in ${operation.operation} ${operation.name?.value ?? ''}`}>
                {(id) => <input id={id} type="search" value={sought} onChange={(event) => setSought(event.target.value)} />}
              </Named>
              <FieldList type={root} path={[]} types={[root]} sought={sought.trim().toLowerCase()} />
            </Editing.Provider>
          )}
          <div className="panel-buttons">
            {['query', 'mutation', 'subscription']
              .filter((kind) => schema?.getRootType(kind))
              .map((kind) => (
                <button key={kind} type="button" className="action quiet" onClick={() => add(kind)}>
                  {`Add a ${kind}`}
                </button>
              ))}
          </div>
        </>
      )}
    </section>
  );
}

function FieldList({ type, path, types, sought = '' }) {
  const { schema } = useContext(Editing);
  const fields = Object.values(type.getFields?.() ?? {}).filter((one) => one.name.toLowerCase().includes(sought));
  const kinds = isAbstractType(type) ? schema.getPossibleTypes(type) : [];
  return (
    <ul className="explorer-list">
      {fields.map((one) => (
        <FieldItem key={one.name} field={one} path={[...path, one.name]} types={types} />
      ))}
      {kinds.map((one) => (
        <KindItem key={one.name} type={one} path={[...path, `...${one.name}`]} types={types} />
      ))}
    </ul>
  );
}

function FieldItem({ field, path, types }) {
  const { operation } = useContext(Editing);
  const node = nodeAt(operation, path);
  const type = getNamedType(field.type);
  const isDeep = isCompositeType(type);
  const [isOpen, setOpen] = useState(isDeep && node !== undefined);
  const hint = [field.description, field.deprecationReason && `Deprecated: ${field.deprecationReason}`];
  return (
    <li>
      <Row name={field.name} isDeep={isDeep} isOpen={isOpen} onOpen={setOpen} hint={hint.filter(Boolean).join(' ')}>
        <Tick path={path} types={[...types, type]} isOn={node !== undefined} onTick={setOpen}>
          <span className={field.deprecationReason ? 'explorer-deprecated' : undefined}>{field.name}</span>
        </Tick>
        <span className="explorer-type">{String(field.type)}</span>
      </Row>
      {node && field.args.length > 0 && (
        <ul className="explorer-list explorer-values">
          {field.args.map((one) => (
            <ValueItem key={one.name} given={one} field={node} fieldPath={path} path={[one.name]} />
          ))}
        </ul>
      )}
      {isDeep && isOpen && <FieldList type={type} path={path} types={[...types, type]} />}
    </li>
  );
}

function KindItem({ type, path, types }) {
  const { operation } = useContext(Editing);
  const node = nodeAt(operation, path);
  const [isOpen, setOpen] = useState(node !== undefined);
  return (
    <li>
      <Row name={`on ${type.name}`} isDeep isOpen={isOpen} onOpen={setOpen} hint={type.description}>
        <Tick path={path} types={[...types, type]} isOn={node !== undefined} onTick={setOpen}>
          {`… on ${type.name}`}
        </Tick>
      </Row>
      {isOpen && <FieldList type={type} path={path} types={[...types, type]} />}
    </li>
  );
}

function Tick({ path, types, isOn, onTick, children }) {
  const { document, operation, change } = useContext(Editing);
  return (
    <label className="explorer-tick">
      <input
        type="checkbox"
        checked={isOn}
        onChange={() => {
          if (!isOn) onTick(isCompositeType(types.at(-1)));
          change(isOn ? withoutField(document, operation, path) : withField(document, operation, path, types));
        }}
      />
      {children}
    </label>
  );
}

function ValueItem({ given, field, fieldPath, path }) {
  const { document, operation, change } = useContext(Editing);
  const value = valueAt(field, path);
  const type = getNamedType(given.type);
  const isVariable = value?.kind === Kind.VARIABLE;
  const isDeep = isInputObjectType(type) && !isVariable;
  const [isOpen, setOpen] = useState(isDeep && value !== undefined);
  const set = (made) => change(withValue(document, operation, fieldPath, path, made, given.type));
  return (
    <li>
      <Row name={given.name} isDeep={isDeep} isOpen={isOpen} onOpen={setOpen} hint={given.description}>
        <label className="explorer-tick">
          <input
            type="checkbox"
            checked={value !== undefined}
            onChange={() => {
              setOpen(isDeep && value === undefined);
              set(value === undefined ? placeholderOf(given) : undefined);
            }}
          />
          {given.name}
          {isRequiredArgument(given) && (
            <>
              <abbr aria-hidden="true">*</abbr> <span className="visually-hidden">(required)</span>
            </>
          )}
        </label>
        {value !== undefined && !isDeep && (
          <ValueField name={given.name} type={given.type} value={value} onGive={set} />
        )}
        {isDeep && <span className="explorer-type">{String(given.type)}</span>}
      </Row>
      {isDeep && isOpen && (
        <ul className="explorer-list">
          {Object.values(type.getFields()).map((one) => (
            <ValueItem key={one.name} given={one} field={field} fieldPath={fieldPath} path={[...path, one.name]} />
          ))}
        </ul>
      )}
    </li>
  );
}

/** A value to be written or chosen. What is written counts once the field is left, or Enter is pressed. */
function ValueField({ name, type, value, onGive }) {
  const [written, setWritten] = useState(() => writtenOf(value));
  const [isWrong, setWrong] = useState(false);
  const stands = writtenOf(value);
  useEffect(() => setWritten(stands), [stands]);
  const bare = getNullableType(type);
  const options = isEnumType(bare) ? bare.getValues().map((one) => one.name) : ['true', 'false'];
  if (value.kind !== Kind.VARIABLE && !isListType(bare) && (isEnumType(bare) || bare.name === 'Boolean')) {
    return (
      <select aria-label={name} value={written} onChange={(event) => onGive(valueOf(event.target.value, type))}>
        {options.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
    );
  }
  const give = () => {
    const made = valueOf(written, type);
    setWrong(made === undefined);
    if (made !== undefined && written !== stands) onGive(made);
  };
  return (
    <input
      type="text"
      aria-label={`${name}: ${type}`}
      aria-invalid={isWrong}
      placeholder={String(type)}
      value={written}
      autoComplete="off"
      spellCheck={false}
      onChange={(event) => setWritten(event.target.value)}
      onBlur={give}
      onKeyDown={(event) => event.key === 'Enter' && give()}
    />
  );
}

function Row({ name, isDeep, isOpen, onOpen, hint, children }) {
  return (
    <div className="explorer-row" title={hint || undefined}>
      {isDeep ? (
        <button
          type="button"
          className="explorer-open"
          aria-expanded={isOpen}
          aria-label={`What is in ${name}`}
          onClick={() => onOpen(!isOpen)}
        />
      ) : (
        <span className="explorer-open" />
      )}
      {children}
    </div>
  );
}

function Named({ label, children }) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children(id)}
    </div>
  );
}

/** Return the editor's text, as it changes. */
function useText(editor) {
  return useSyncExternalStore(
    (listener) => {
      editor?.on('change', listener);
      return () => editor?.off('change', listener);
    },
    () => editor?.getValue() ?? '',
  );
}

function ExplorerIcon(props) {
  return (
    <svg height="1em" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5" {...props}>
      <path d="M4 5h4v4H4zM4 15h4v4H4zM12 7h8M12 17h8M15 12h5" />
    </svg>
  );
}
