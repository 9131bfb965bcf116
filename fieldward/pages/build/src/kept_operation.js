/**
 * What of an operation the history keeps: its shape, and those values that may be kept. Passwords, codes, tokens, and
 * what goes into or searches a column that is CONFIDENTIAL or PERSONAL are left out, in variables as in the text.
 *
 * The server says which inputs may be kept, by their coordinates (`RecordFilter.siteCode`, `Query.records(first:)`);
 * whatever it does not name is left out, and so is all that is of an unknown type.
 */
import {
  getNamedType,
  getNullableType,
  isInputObjectType,
  isListType,
  Kind,
  parse,
  print,
  TypeInfo,
  typeFromAST,
  visit,
  visitWithTypeInfo,
} from 'graphql';

const LEAVES = new Set([Kind.STRING, Kind.INT, Kind.FLOAT, Kind.BOOLEAN, Kind.ENUM]);

/**
 * @param {{query: string, variables?: Record<string, unknown>, operationName?: string}} operation
 * @param {import('graphql').GraphQLSchema} schema what the viewer is shown.
 * @param {ReadonlySet<string>} kept the coordinates of what may be kept.
 * @returns the operation without the rest, and whether something was left out; null where the text is none.
 */
export function keptOperation({ query, variables = {}, operationName }, schema, kept) {
  let document;
  try {
    document = parse(query);
  } catch {
    return null;
  }
  const harmless = harmlessVariables(document, schema, kept);
  let isWhole = true;
  const leaveOut = () => {
    isWhole = false;
    return undefined;
  };

  const filtered = (value, type) => {
    const bare = getNullableType(type);
    if (value === null) return null;
    if (isListType(bare)) {
      const items = (Array.isArray(value) ? value : [value]).map((one) => filtered(one, bare.ofType));
      return items.some((one) => one === undefined) ? undefined : items;
    }
    if (!isInputObjectType(bare) || typeof value !== 'object') return leaveOut();
    const fields = bare.getFields();
    const found = Object.entries(value).map(([name, inner]) => {
      if (!fields[name]) return [name, leaveOut()];
      return [name, kept.has(`${bare.name}.${name}`) ? inner : filtered(inner, fields[name].type)];
    });
    const left = found.filter(([, inner]) => inner !== undefined);
    return left.length > 0 || found.length === 0 ? Object.fromEntries(left) : undefined;
  };

  const values = {};
  for (const definition of definitionsOf(document)) {
    const name = definition.variable.name.value;
    if (!(name in variables)) continue;
    const value = harmless.has(name) ? variables[name] : filtered(variables[name], typeFromAST(schema, definition.type));
    if (value !== undefined) values[name] = value;
  }
  // What is no variable of the operation is nothing that it needs.
  const declared = new Set(definitionsOf(document).map((one) => one.variable.name.value));
  if (Object.keys(variables).some((name) => !declared.has(name))) isWhole = false;

  const types = new TypeInfo(schema);
  const redacted = visit(
    document,
    visitWithTypeInfo(types, {
      VariableDefinition(node) {
        // A default value is one of the variable's.
        if (!node.defaultValue || harmless.has(node.variable.name.value)) return false;
        isWhole = false;
        return { ...node, defaultValue: undefined };
      },
      Argument: () => (kept.has(argumentOf(types)) ? false : undefined),
      ObjectField: (node) => (kept.has(fieldOf(types, node)) ? false : undefined),
      enter(node) {
        if (!LEAVES.has(node.kind)) return undefined;
        isWhole = false;
        return node.kind === Kind.STRING ? { ...node, value: '', block: false } : { kind: Kind.NULL };
      },
    }),
  );
  return { query: print(redacted), variables: values, operationName, isWhole };
}

/** The variables that stand only where their value may be kept. */
function harmlessVariables(document, schema, kept) {
  const types = new TypeInfo(schema);
  const harmless = new Set(definitionsOf(document).map((one) => one.variable.name.value));
  const used = new Set();
  let depth = 0;
  const entering = (coordinate) => {
    if (depth > 0 || kept.has(coordinate)) depth += 1;
  };
  const leave = () => {
    if (depth > 0) depth -= 1;
  };
  visit(
    document,
    visitWithTypeInfo(types, {
      VariableDefinition: () => false,
      Argument: { enter: () => entering(argumentOf(types)), leave },
      ObjectField: { enter: (node) => entering(fieldOf(types, node)), leave },
      Variable({ name }) {
        used.add(name.value);
        if (depth === 0) harmless.delete(name.value);
      },
    }),
  );
  for (const name of harmless) if (!used.has(name)) harmless.delete(name);
  return harmless;
}

function definitionsOf(document) {
  return document.definitions.flatMap((one) => one.variableDefinitions ?? []);
}

function argumentOf(types) {
  const argument = types.getArgument();
  const directive = types.getDirective();
  if (!argument) return null;
  if (directive) return `@${directive.name}(${argument.name}:)`;
  return `${types.getParentType()?.name}.${types.getFieldDef()?.name}(${argument.name}:)`;
}

function fieldOf(types, node) {
  return `${getNamedType(types.getParentInputType())?.name}.${node.name.value}`;
}
