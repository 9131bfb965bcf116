// The audits of the GraphQL over HTTP specification by npm graphql-http, against the server whose address is given.
// Prints one line of JSON for each: its id, name, and whether it is kept ("ok", "warn", "error"), with why not.
import { serverAudits } from 'graphql-http';

const [url] = process.argv.slice(2);
for (const audit of serverAudits({ url })) {
  const { id, name, status, reason } = await audit.fn();
  console.log(JSON.stringify({ id, name, status, reason: reason ?? null }));
}
