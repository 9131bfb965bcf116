// Compares the contract with the one that clients were promised, and refuses what breaks it and is not declared.
//
//   node contract.mjs PROMISED.graphql CONTRACT.graphql DECLARED.json [--quiet]
//
// DECLARED.json holds what breaks the promise and was decided: [{"type", "path", "reason"}], as this prints them. What is
// declared and does not break it any more is refused as well. Prints a line for each change that clients may notice, but
// for --quiet, and exits with 1 where something is refused.
import { diff } from "@graphql-inspector/core";
import { buildSchema, isObjectType, print } from "graphql";
import { readFileSync } from "node:fs";

const [promised, contract, declaredPath, quiet] = process.argv.slice(2);
const tell = quiet === "--quiet" ? () => {} : console.log;
const schemaOf = (path) => buildSchema(readFileSync(path, "utf8"));
const declared = JSON.parse(readFileSync(declaredPath, "utf8"));
const nameOf = (one) => `${one.type} ${one.path}`;

// The inspector's own words on guards are left out: whether a guard gets weaker, it does not say.
const isOfGuard = (one) => (one.path ?? "").includes("@guard");

// A guard answers null to those without its permission: to them, a field that gets one, or another one, goes.
function* guardChanges(before, after) {
  const guardOf = (field) => {
    const guard = field.astNode?.directives?.find((one) => one.name.value === "guard");
    return guard ? guard.arguments.map((one) => print(one.value)).join(" otherwise ") : null;
  };
  for (const type of Object.values(after.getTypeMap()).filter(isObjectType)) {
    const was = before.getType(type.name);
    for (const [name, field] of isObjectType(was) ? Object.entries(type.getFields()) : []) {
      const old = was.getFields()[name];
      if (!old || guardOf(field) === null || guardOf(field) === guardOf(old)) continue;
      const message = `${type.name}.${name} takes ${guardOf(field)}, before ${guardOf(old) ?? "nothing"}`;
      yield { type: "GUARD_CHANGED", path: `${type.name}.${name}`, message };
    }
  }
}

const refused = [];
for (const one of declared) {
  const missing = ["type", "path", "reason"].filter((key) => typeof one[key] !== "string" || !one[key].trim());
  if (missing.length) refused.push(`declared without ${missing.join(", ")}: ${JSON.stringify(one)}`);
}

const [before, after] = [schemaOf(promised), schemaOf(contract)];
const breaking = new Map();
for (const one of (await diff(before, after)).filter((each) => !isOfGuard(each))) {
  if (one.criticality.level === "BREAKING") breaking.set(nameOf(one), one.message);
  if (one.criticality.level === "DANGEROUS") tell(`may be noticed: ${one.message}`);
}
for (const one of guardChanges(before, after)) breaking.set(nameOf(one), one.message);
const reasons = new Map(declared.map((one) => [nameOf(one), one.reason]));
for (const [name, message] of breaking) {
  if (reasons.has(name)) tell(`breaks, as declared: ${message} (${reasons.get(name)})`);
  else refused.push(`breaks clients and is not declared: ${name}: ${message}`);
}
for (const name of reasons.keys()) {
  if (!breaking.has(name)) refused.push(`is declared and breaks nothing: ${name}`);
}
if (refused.length) {
  console.error(refused.join("\n"));
  console.error(`Mend the contract, or declare the change in ${declaredPath} with a reason that clients accept.`);
  process.exit(1);
}
