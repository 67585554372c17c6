import { explorerPlugin } from '@graphiql/plugin-explorer';
import { GraphiQL, HISTORY_PLUGIN } from 'graphiql';

import type { Configuration } from './configuration';
import { fetcherAs } from './fetcher';
import { Identity } from './Identity';
import { Sessions } from './session';

// Made once: GraphiQL begins anew when one of them changes.
const PLUGINS = [HISTORY_PLUGIN, explorerPlugin()];

const FIRST_QUERY = `# Choose above who asks; Ctrl-Enter asks.
query WhoAmI {
  viewer {
    displayName
    role
    community {
      name
    }
  }
}
`;

export function appFor({ signIn }: Configuration) {
  const sessions = signIn ? new Sessions(signIn) : null;
  const fetcher = fetcherAs(sessions);

  return function App() {
    return (
      <GraphiQL fetcher={fetcher} plugins={PLUGINS} defaultQuery={FIRST_QUERY} shouldPersistHeaders>
        <GraphiQL.Logo>
          {signIn && sessions ? (
            <Identity signIn={signIn} sessions={sessions} />
          ) : (
            <p className="identity">Put a token into Headers, or set SUPABASE_PUBLISHABLE_KEY to sign in here.</p>
          )}
        </GraphiQL.Logo>
      </GraphiQL>
    );
  };
}
