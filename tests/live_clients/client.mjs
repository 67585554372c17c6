// A library that front ends take for subscriptions, with its own defaults. It is told what to do in lines of JSON, and
// tells what comes to it in the same way: {ask, query, variables} and {stop}, by a name that each operation has.
import { createInterface } from "node:readline";
import { createClient as streamClient } from "graphql-sse";
import { createClient as socketClient } from "graphql-ws";
import WebSocket from "ws";

const [library, address, ...tokens] = process.argv.slice(2);
const tell = (what) => console.log(JSON.stringify(what));
// The next one for each connection, as a front end takes it from a session that is renewed.
const authorization = () => ({ Authorization: `Bearer ${tokens.length > 1 ? tokens.shift() : tokens[0]}` });

const clients = {
  "graphql-ws": () =>
    socketClient({
      url: `ws://${address}/graphql`,
      webSocketImpl: WebSocket,
      lazy: false,
      retryAttempts: 5,
      connectionParams: authorization,
      onNonLazyError: (problem) => tell({ given_up: told(problem) }),
      on: { closed: ({ code, reason }) => tell({ closed: code, reason }) },
    }),
  "graphql-sse": () => streamClient({ url: `http://${address}/graphql`, headers: authorization }),
};

// Errors of the operation come as a list; what befalls the connection has a code, an HTTP answer or a message.
function told(problem) {
  if (Array.isArray(problem)) return problem;
  return { code: problem.code, status: problem.response?.status, message: problem.reason ?? problem.message };
}

const client = clients[library]();
const stops = new Map();

for await (const line of createInterface({ input: process.stdin })) {
  const { ask, stop, query, variables } = JSON.parse(line);
  if (stop) {
    stops.get(stop)();
    continue;
  }
  const sink = {
    next: (result) => tell({ [ask]: result }),
    error: (problem) => tell({ [ask]: { error: told(problem) } }),
    complete: () => tell({ [ask]: "complete" }),
  };
  stops.set(ask, client.subscribe({ query, variables }, sink));
}
process.exit();
