/**
 * Edits of a query as a tree: what the explorer does to a document. Nothing here touches the page.
 *
 * A field is named by its path from the operation: names of fields, and `...Type` for what is asked of one type alone.
 * A value is named by its path in the field: the argument, then fields of its input. Each edit returns a new document.
 */
import {
  getNamedType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isLeafType,
  isListType,
  isNonNullType,
  isRequiredArgument,
  Kind,
  parse,
  visit,
} from 'graphql';

const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;
const VARIABLE = /^\$[A-Za-z_]\w*$/;
const PLACEHOLDER = '__typename';
/** What is asked of an object of which nothing is said; the first of these that it has. */
const TELLING = ['id', 'name', 'code'];

/** Return the text as a document, an empty one of no text; null where it has an error. */
export function documentOf(text) {
  if (text.replaceAll(/^\s*#.*$/gm, '').trim() === '') return { kind: Kind.DOCUMENT, definitions: [] };
  try {
    return parse(text, { noLocation: true });
  } catch {
    return null;
  }
}

export function operationsOf(document) {
  return document.definitions.filter((one) => one.kind === Kind.OPERATION_DEFINITION);
}

/** Add an operation, with a name that none has. */
export function withOperation(document, operation) {
  const taken = new Set(operationsOf(document).map((one) => one.name?.value));
  const base = `My${operation[0].toUpperCase()}${operation.slice(1)}`;
  let name = base;
  for (let number = 2; taken.has(name); number += 1) name = `${base}${number}`;
  const made = {
    kind: Kind.OPERATION_DEFINITION,
    operation,
    name: named(name),
    variableDefinitions: [],
    directives: [],
    selectionSet: selecting([fieldNode(PLACEHOLDER)]),
  };
  return { ...document, definitions: [...document.definitions, made] };
}

/** Return the field or the fragment at a path; undefined where it is not selected. */
export function nodeAt(operation, path) {
  return path.reduce((node, step) => node?.selectionSet && childOf(node, step), operation);
}

/** Select what is at a path, and all that leads to it. `types` are those of the steps, the root's first. */
export function withField(document, operation, path, types) {
  return edited(document, operation, (made) => {
    let node = made;
    path.forEach((step, depth) => {
      node.selectionSet ??= selecting([]);
      let child = childOf(node, step);
      if (!child) {
        child = step.startsWith('...') ? fragmentNode(step.slice(3)) : fieldNode(step);
        const field = types[depth].getFields?.()[step];
        for (const argument of field?.args.filter(isRequiredArgument) ?? []) {
          child.arguments.push(argumentNode(argument.name, placeholderOf(argument)));
        }
        const others = node.selectionSet.selections;
        node.selectionSet.selections = [...others.filter((one) => one.name?.value !== PLACEHOLDER), child];
      }
      node = child;
    });
    if (!node.selectionSet) node.selectionSet = tellingOf(types.at(-1));
  });
}

/** Leave out what is at a path, and what would be left empty. */
export function withoutField(document, operation, path) {
  return edited(document, operation, (made) => {
    for (let length = path.length; length > 0; length -= 1) {
      const parent = nodeAt(made, path.slice(0, length - 1));
      const child = childOf(parent, path[length - 1]);
      parent.selectionSet.selections = parent.selectionSet.selections.filter((one) => one !== child);
      if (parent.selectionSet.selections.length > 0) return;
    }
    made.selectionSet = selecting([fieldNode(PLACEHOLDER)]);
  });
}

/** Return the value at a path of a field's arguments; undefined where none is given. A variable is all of its value. */
export function valueAt(field, path) {
  const [name, ...rest] = path;
  const argument = field.arguments?.find((one) => one.name.value === name);
  return rest.reduce((value, step) => {
    const object = objectIn(value);
    return object?.fields.find((one) => one.name.value === step)?.value;
  }, argument?.value);
}

/** Give a value at a path of a field's arguments, or with undefined none. `type` is what a variable there is of. */
export function withValue(document, operation, fieldPath, path, value, type) {
  return edited(document, operation, (made) => {
    const field = nodeAt(made, fieldPath);
    field.arguments = put(field.arguments ?? [], path, value, argumentNode);
    if (value?.kind === Kind.VARIABLE) define(made, value.name.value, type);
  });
}

/** Return the value that a person wrote for a type: a `$variable`, or a literal; undefined where it is none. */
export function valueOf(text, type) {
  const written = text.trim();
  if (VARIABLE.test(written)) return { kind: Kind.VARIABLE, name: named(written.slice(1)) };
  const bare = getNullableType(type);
  if (isListType(bare)) {
    const values = written === '' ? [] : written.split(',').map((one) => valueOf(one, bare.ofType));
    return values.includes(undefined) ? undefined : { kind: Kind.LIST, values };
  }
  if (isEnumType(bare)) return bare.getValue(written) ? { kind: Kind.ENUM, value: written } : undefined;
  switch (bare.name) {
    case 'Boolean':
      return ['true', 'false'].includes(written) ? { kind: Kind.BOOLEAN, value: written === 'true' } : undefined;
    case 'Int':
      return /^-?\d+$/.test(written) ? { kind: Kind.INT, value: written } : undefined;
    case 'Float':
      return NUMBER.test(written) ? { kind: Kind.FLOAT, value: written } : undefined;
    default:
      return { kind: Kind.STRING, value: isListType(type) ? written : text };
  }
}

/** Return a value as a person writes it. */
export function writtenOf(value) {
  if (value.kind === Kind.VARIABLE) return `$${value.name.value}`;
  if (value.kind === Kind.LIST) return value.values.map(writtenOf).join(', ');
  if (value.kind === Kind.NULL) return '';
  return String(value.value ?? '');
}

/** Return a value to begin with. */
export function placeholderOf({ name, type }) {
  const bare = getNullableType(type);
  if (isListType(bare)) return { kind: Kind.LIST, values: [] };
  if (isInputObjectType(bare)) {
    const must = Object.values(bare.getFields()).filter((one) => isNonNullType(one.type) && one.defaultValue === undefined);
    return {
      kind: Kind.OBJECT,
      fields: must.map((one) => ({ kind: Kind.OBJECT_FIELD, name: named(one.name), value: placeholderOf(one) })),
    };
  }
  if (isEnumType(bare)) return { kind: Kind.ENUM, value: bare.getValues()[0].name };
  if (bare.name === 'Boolean') return { kind: Kind.BOOLEAN, value: true };
  if (bare.name === 'Int') return { kind: Kind.INT, value: name === 'first' || name === 'last' ? '10' : '0' };
  return bare.name === 'Float' ? { kind: Kind.FLOAT, value: '0' } : { kind: Kind.STRING, value: '' };
}

function edited(document, operation, edit) {
  const place = document.definitions.indexOf(operation);
  const made = structuredClone(operation);
  edit(made);
  if (document.definitions.every((one) => one.kind === Kind.OPERATION_DEFINITION)) dropUnused(made);
  return { ...document, definitions: document.definitions.with(place, made) };
}

function childOf(node, step) {
  return node.selectionSet.selections.find((one) =>
    step.startsWith('...')
      ? one.kind === Kind.INLINE_FRAGMENT && one.typeCondition?.name.value === step.slice(3)
      : one.kind === Kind.FIELD && one.name.value === step,
  );
}

/** Return the names with the value put at a path: of an argument, or of an input's field, as `make` makes them. */
function put(nodes, [name, ...rest], value, make) {
  const place = nodes.findIndex((one) => one.name.value === name);
  let given = value;
  if (rest.length > 0) {
    const fields = put(objectIn(nodes[place]?.value)?.fields ?? [], rest, value, inputFieldNode);
    given = fields.length > 0 ? { kind: Kind.OBJECT, fields } : undefined;
  }
  if (given === undefined) return nodes.filter((one) => one.name.value !== name);
  return place < 0 ? [...nodes, make(name, given)] : nodes.with(place, make(name, given));
}

/** Return the object that a value is, or the one that a list holds. */
function objectIn(value) {
  if (value?.kind === Kind.LIST && value.values.length === 1) return objectIn(value.values[0]);
  return value?.kind === Kind.OBJECT ? value : undefined;
}

function define(operation, name, type) {
  operation.variableDefinitions ??= [];
  if (operation.variableDefinitions.some((one) => one.variable.name.value === name)) return;
  const read = parse(`query ($x: ${type}) { x }`, { noLocation: true }).definitions[0].variableDefinitions[0].type;
  operation.variableDefinitions.push({
    kind: Kind.VARIABLE_DEFINITION,
    variable: { kind: Kind.VARIABLE, name: named(name) },
    type: read,
    directives: [],
  });
}

function dropUnused(operation) {
  const used = new Set();
  visit(operation.selectionSet, { Variable: ({ name }) => void used.add(name.value) });
  operation.variableDefinitions = operation.variableDefinitions?.filter((one) => used.has(one.variable.name.value));
}

/** Return what to ask of a type of which nothing is said yet; undefined of a leaf. */
function tellingOf(type, depth = 0) {
  const bare = getNamedType(type);
  if (isLeafType(bare)) return undefined;
  const fields = bare.getFields?.() ?? {};
  const isPlain = (field) => field && isLeafType(getNamedType(field.type)) && !field.args.some(isRequiredArgument);
  const name = TELLING.find((one) => isPlain(fields[one]));
  if (name) return selecting([fieldNode(name)]);
  if (fields.nodes && depth === 0) return selecting([{ ...fieldNode('nodes'), selectionSet: tellingOf(fields.nodes.type, 1) }]);
  return selecting([fieldNode(Object.values(fields).find(isPlain)?.name ?? PLACEHOLDER)]);
}

function named(value) {
  return { kind: Kind.NAME, value };
}

function selecting(selections) {
  return { kind: Kind.SELECTION_SET, selections };
}

function fieldNode(name) {
  return { kind: Kind.FIELD, name: named(name), arguments: [], directives: [] };
}

function fragmentNode(type) {
  const condition = { kind: Kind.NAMED_TYPE, name: named(type) };
  return { kind: Kind.INLINE_FRAGMENT, typeCondition: condition, directives: [] };
}

function argumentNode(name, value) {
  return { kind: Kind.ARGUMENT, name: named(name), value };
}

function inputFieldNode(name, value) {
  return { kind: Kind.OBJECT_FIELD, name: named(name), value };
}
