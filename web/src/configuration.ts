/** Somebody of the demo, to become at one click. */
export interface DemoPerson {
  email: string;
  who: string;
}

/** Where to sign in, as any client of Supabase does. */
export interface SignIn {
  url: string;
  publishableKey: string;
  /** Only where the server is a local one, whose demo people all have one password. */
  demo: { password: string; people: DemoPerson[] } | null;
}

/** What the server tells the page. Without a way to sign in, tokens go into the tab Headers. */
export interface Configuration {
  signIn?: SignIn | null;
}

export function configurationIn(element: HTMLElement): Configuration {
  return JSON.parse(element.dataset['configuration'] ?? '{}') as Configuration;
}
