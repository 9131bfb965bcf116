// Tells what the contract has that clients were not promised yet: a line for each, as a coordinate.
//
//   node added.mjs PROMISED.graphql CONTRACT.graphql [LISTED.txt]
//
// A type that is new stands for all that is in it. With LISTED.txt nothing is printed, but where that says otherwise:
// then it exits with 1.
import { buildSchema, isEnumType, isSpecifiedDirective } from "graphql";
import { readFileSync } from "node:fs";

const [promisedPath, contractPath, listedPath] = process.argv.slice(2);
const schemaOf = (path) => buildSchema(readFileSync(path, "utf8"));
const [promised, contract] = [schemaOf(promisedPath), schemaOf(contractPath)];

function* coordinatesOf(type) {
  for (const value of isEnumType(type) ? type.getValues() : []) yield `${type.name}.${value.name}`;
  for (const field of Object.values(type.getFields?.() ?? {})) {
    yield `${type.name}.${field.name}`;
    for (const argument of field.args ?? []) yield `${type.name}.${field.name}(${argument.name}:)`;
  }
  for (const member of type.getInterfaces?.() ?? type.getTypes?.() ?? []) yield `${type.name} as ${member.name}`;
}

function* directivesOf(schema) {
  for (const one of schema.getDirectives().filter((each) => !isSpecifiedDirective(each))) {
    yield `@${one.name}`;
    for (const argument of one.args) yield `@${one.name}(${argument.name}:)`;
  }
}

function* added() {
  for (const type of Object.values(contract.getTypeMap())) {
    const was = promised.getType(type.name);
    if (!was) yield type.name;
    const known = new Set(was && coordinatesOf(was));
    for (const one of was ? coordinatesOf(type) : []) if (!known.has(one)) yield one;
  }
  const known = new Set(directivesOf(promised));
  for (const one of directivesOf(contract)) if (!known.has(one)) yield one;
}

const lines = [...new Set(added())].sort();
if (!listedPath) {
  for (const line of lines) console.log(line);
} else {
  const listed = readFileSync(listedPath, "utf8").split("\n").filter(Boolean);
  const refused = [
    ...lines.filter((one) => !listed.includes(one)).map((one) => `is promised to nobody and not listed: ${one}`),
    ...listed.filter((one) => !lines.includes(one)).map((one) => `is listed, and promised or not there: ${one}`),
  ];
  if (refused.length) {
    console.error(refused.join("\n"));
    console.error(`Run make schema, which lists it in ${listedPath}; or make promise, where this is a release.`);
    process.exit(1);
  }
}
