import type { Fetcher, FetcherParams } from '@graphiql/toolkit';
import { Kind, parse, type OperationDefinitionNode } from 'graphql';

import { ask } from './ask';
import type { Sessions } from './session';
import { subscribe } from './subscribe';

/** How GraphiQL reaches the server, as whoever is signed in at that moment. */
export function fetcherAs(sessions: Sessions | null): Fetcher {
  const url = new URL('/graphql', location.href);
  return (params, options) => {
    const operation = operationIn(params);
    const send = operation?.operation === 'subscription' ? subscribe : ask;
    const operationName = (operation ? operation.name?.value : params.operationName) ?? null;
    return send(url, { ...params, operationName }, options?.headers, sessions);
  };
}

/** GraphiQL's name for it comes a moment after what is typed, and may be of what was there before. */
function operationIn({ query, operationName }: FetcherParams): OperationDefinitionNode | undefined {
  try {
    const operations = parse(query).definitions.filter((node) => node.kind === Kind.OPERATION_DEFINITION);
    return operations.length === 1 ? operations[0] : operations.find((node) => node.name?.value === operationName);
  } catch {
    return undefined; // the server says what is wrong with it
  }
}
