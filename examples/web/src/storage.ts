const PREFIX = 'lfm2-chat-page.';

/** What an earlier visit kept; nothing where the browser keeps nothing. */
export function read(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

/** Keeps it for later visits, if the browser does. */
export function write(name: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // A browser that keeps nothing has said so to whoever set it up that way.
  }
}
