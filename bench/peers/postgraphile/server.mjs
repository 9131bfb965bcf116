// PostGraphile 5 with its Amber preset, as its own guide starts it, over one pool. Each request becomes `app_viewer`, of
// one organization and one person, as a token would say.
import { createServer } from "node:http";
import pg from "pg";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const pool = new pg.Pool({ ...JSON.parse(process.env.BENCH_DATABASE), max: Number(process.env.BENCH_POOL_SIZE) });
const preset = {
  extends: [PostGraphileAmberPreset],
  pgServices: [makePgService({ pool, schemas: ["public"] })],
  grafast: {
    explain: false,
    context: {
      pgSettings: {
        role: "app_viewer",
        "app.organization_id": process.env.BENCH_ORGANIZATION,
        "app.user": "mara",
      },
    },
  },
  grafserv: { graphiql: false, watch: false },
};
const server = createServer();
await postgraphile(preset).createServ(grafserv).addTo(server);
server.listen(Number(process.env.BENCH_PORT), "127.0.0.1");
