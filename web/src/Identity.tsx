import type { Session } from '@supabase/auth-js';
import { useEffect, useState } from 'react';

import type { SignIn } from './configuration';
import type { Sessions } from './session';
import { SignInDialog } from './SignInDialog';

const NOBODY = '';
const ANOTHER = 'another';

/** Who asks, and the way to become somebody else. */
export function Identity({ signIn, sessions }: { signIn: SignIn; sessions: Sessions }) {
  const [session, setSession] = useState<Session | null>(null);
  const [asksForPassword, setAsksForPassword] = useState(false);
  const [problem, setProblem] = useState('');
  useEffect(() => sessions.watch(setSession), [sessions]);

  const email = session?.user.email ?? NOBODY;
  const people = signIn.demo?.people ?? [];

  async function attempt(act: Promise<void>): Promise<void> {
    setProblem('');
    await act.catch((error: Error) => setProblem(error.message));
  }

  function become(chosen: string): void {
    if (chosen === ANOTHER) setAsksForPassword(true);
    else if (chosen === NOBODY) void attempt(sessions.signOut());
    else if (signIn.demo) void attempt(sessions.signIn(chosen, signIn.demo.password));
  }

  return (
    <div className="identity">
      {problem && (
        <span className="identity-problem" role="alert">
          {problem}
        </span>
      )}
      <label>
        <span>Asking as</span>
        <select aria-label="Who asks" value={email} onChange={(event) => become(event.target.value)}>
          <option value={NOBODY}>nobody (signed out)</option>
          {people.map((person) => (
            <option key={person.email} value={person.email}>
              {person.who} · {person.email}
            </option>
          ))}
          {email && !people.some((person) => person.email === email) && <option value={email}>{email}</option>}
          <option value={ANOTHER}>{people.length > 0 ? 'another account …' : 'sign in …'}</option>
        </select>
      </label>
      {session && (
        <>
          <button
            type="button"
            title="A token says what was so when it was made: renew it after switchCommunity, for instance."
            onClick={() => void attempt(sessions.renew())}
          >
            Renew token
          </button>
          <button type="button" onClick={() => void attempt(sessions.signOut())}>
            Sign out
          </button>
        </>
      )}
      {asksForPassword && <SignInDialog sessions={sessions} onClose={() => setAsksForPassword(false)} />}
    </div>
  );
}
