// PostGraphile as its own documentation sets it up for production, on the same database, policies and tokens.

import { createServer } from "node:http";
import { jwtVerify } from "jose";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { jsonPgSmartTags } from "postgraphile/utils";

const { DATABASE_URL, JWT_SECRET, JWT_ISSUER, PORT } = process.env;

const secret = new TextEncoder().encode(JWT_SECRET);
const rules = { algorithms: ["HS256"], issuer: JWT_ISSUER, audience: "authenticated" };
const verified = new Map();

async function verify(token) {
  const { payload } = await jwtVerify(token, secret, rules);
  const pgSettings = { role: "authenticated", "request.jwt.claims": JSON.stringify(payload) };
  const entry = { context: { pgSettings }, expiresAt: payload.exp * 1000 };
  if (verified.size >= 10_000) verified.clear();
  verified.set(token, entry);
  return entry.context;
}

// A token is verified once and then believed until it expires, as by the other servers of the benchmark.
function context({ node }) {
  const token = node.req.headers.authorization.slice("Bearer ".length);
  const known = verified.get(token);
  return known !== undefined && known.expiresAt > Date.now() ? known.context : verify(token);
}

// The key of created_by leads to auth.users, which is not exposed; the author as a member is one join away.
const tags = jsonPgSmartTags({
  version: 1,
  config: {
    class: {
      "public.programs": {
        tags: { foreignKey: ["(community_id, created_by) references public.memberships (community_id, user_id)"] },
      },
    },
  },
});

const preset = {
  extends: [PostGraphileAmberPreset],
  plugins: [tags],
  pgServices: [
    makePgService({ connectionString: DATABASE_URL, schemas: ["public"], poolConfig: { max: 10 }, pubsub: false }),
  ],
  grafast: { context, explain: false },
  grafserv: { graphiql: false, watch: false, websockets: false, outputDataAsString: true },
};

const serv = postgraphile(preset).createServ(grafserv);
const server = createServer();
await serv.addTo(server);
await serv.ready();
server.listen(Number(PORT), "127.0.0.1");
