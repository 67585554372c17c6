import type { FetcherParams } from '@graphiql/toolkit';
import type { ExecutionResult } from 'graphql';
import { createClient } from 'graphql-ws';

import { authorization, type GivenHeaders } from './authorization';
import { told } from './problems';
import type { Sessions } from './session';

/**
 * Subscriptions: graphql-transport-ws, at the path of queries. Each has a connection of its own, for a connection is of
 * whoever opened it. Nothing is tried again: what was missed meanwhile would go unnoticed.
 */
export function subscribe(
  url: URL,
  params: FetcherParams,
  given: GivenHeaders,
  sessions: Sessions | null,
): AsyncIterableIterator<ExecutionResult> {
  let opened = false;
  const client = createClient({
    url: url.href.replace(/^http/, 'ws'),
    retryAttempts: 0,
    connectionParams: async () => {
      const who = await authorization(given, sessions);
      return who ? { Authorization: who } : {};
    },
    on: { opened: () => (opened = true) },
  });
  const { query, variables, operationName } = params;
  const results = client.iterate({ query, variables, operationName: operationName ?? null }) as AsyncGenerator<ExecutionResult>;
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () =>
      results.next().catch((problem: unknown) => {
        throw explained(problem, opened);
      }),
    // Not through a generator around it, which would wait for one more result before it stops.
    return: () => results.return(undefined),
  };
}

/** What GraphiQL shows: one error, or the list that the server sent. */
function explained(problem: unknown, opened: boolean): unknown {
  if (Array.isArray(problem)) return problem;
  if (!opened) {
    return told('The server took no WebSocket at this address: it offers no subscriptions, or does not run.');
  }
  if (problem instanceof CloseEvent) {
    return told(`The server ended the subscription: ${problem.reason || 'it gave no reason'} (${problem.code}).`);
  }
  return told(problem instanceof Error ? problem.message : String(problem));
}
