import type { FetcherParams } from '@graphiql/toolkit';
import type { ExecutionResult } from 'graphql';

import { authorization, headersOf, type GivenHeaders } from './authorization';
import { told } from './problems';
import type { Sessions } from './session';

/** Queries and mutations: one request, one answer. */
export async function ask(
  url: URL,
  params: FetcherParams,
  given: GivenHeaders,
  sessions: Sessions | null,
): Promise<ExecutionResult> {
  const headers = headersOf(given);
  const who = await authorization(given, sessions);
  if (who) headers.set('authorization', who);
  headers.set('content-type', 'application/json');
  if (!headers.has('accept')) headers.set('accept', 'application/graphql-response+json, application/json');
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(params) }).catch(() => {
    throw told('The server does not answer. Does it run?');
  });
  const text = await response.text();
  try {
    return JSON.parse(text) as ExecutionResult;
  } catch {
    throw told(`The server answered ${response.status} without JSON: ${text.slice(0, 200)}`);
  }
}
