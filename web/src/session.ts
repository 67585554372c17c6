import { GoTrueClient, type Session } from '@supabase/auth-js';

import type { SignIn } from './configuration';

/**
 * Who is signed in, kept in the browser's storage. Supabase's own client renews tokens before they expire, and sees to
 * it that of several tabs one does.
 */
export class Sessions {
  readonly #auth: GoTrueClient;

  constructor({ url, publishableKey }: SignIn) {
    this.#auth = new GoTrueClient({
      url: new URL(url, location.href).href,
      headers: { apikey: publishableKey },
      // Another server at this address, with another key, has sessions of its own.
      storageKey: `session-${publishableKey.slice(-12)}`,
      autoRefreshToken: true,
      persistSession: true,
      detectSessionInUrl: false,
    });
  }

  /** Calls back now and whenever somebody signs in or out, in another tab too; the result ends that. */
  watch(onChange: (session: Session | null) => void): () => void {
    const { data } = this.#auth.onAuthStateChange((_, session) => onChange(session));
    return () => data.subscription.unsubscribe();
  }

  /** One that has not expired, or none. */
  async accessToken(): Promise<string | null> {
    const { data } = await this.#auth.getSession();
    return data.session?.access_token ?? null;
  }

  async signIn(email: string, password: string): Promise<void> {
    const { error } = await this.#auth.signInWithPassword({ email, password });
    if (error) throw error;
  }

  /** What a token says, such as the community, is looked up when it is made. */
  async renew(): Promise<void> {
    const { error } = await this.#auth.refreshSession();
    if (error) throw error;
  }

  /** Here, and not on the person's other devices. */
  async signOut(): Promise<void> {
    const { error } = await this.#auth.signOut({ scope: 'local' });
    if (error) throw error;
  }
}
