import type { Sessions } from './session';

/** The values of the tab Headers, which may be any JSON. */
export type GivenHeaders = Record<string, unknown> | undefined;

export function headersOf(given: GivenHeaders): Headers {
  return new Headers(Object.entries(given ?? {}).map(([name, value]) => [name, String(value)]));
}

/** What to send as `Authorization`: what the tab Headers says, or else who is signed in. */
export async function authorization(given: GivenHeaders, sessions: Sessions | null): Promise<string | null> {
  const written = headersOf(given).get('authorization');
  if (written !== null) return written;
  const token = await sessions?.accessToken();
  return token ? `Bearer ${token}` : null;
}
