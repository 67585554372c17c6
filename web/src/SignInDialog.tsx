import { useState, type FormEvent } from 'react';

import type { Sessions } from './session';

/** Asks for an address and a password until they are right, or the person leaves it. */
export function SignInDialog({ sessions, onClose }: { sessions: Sessions; onClose: () => void }) {
  const [problem, setProblem] = useState('');
  const [waits, setWaits] = useState(false);

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setWaits(true);
    try {
      await sessions.signIn(String(form.get('email')), String(form.get('password')));
      onClose();
    } catch (error) {
      setProblem((error as Error).message);
      setWaits(false);
    }
  }

  return (
    <dialog className="sign-in" aria-label="Sign in" ref={(dialog) => dialog?.showModal()} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <h2>Sign in</h2>
        <label>
          E-mail
          <input name="email" type="email" autoComplete="username" required autoFocus />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        {problem && <p role="alert">{problem}</p>}
        <div className="sign-in-buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" disabled={waits}>
            Sign in
          </button>
        </div>
      </form>
    </dialog>
  );
}
