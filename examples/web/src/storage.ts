const PREFIX = 'lfm2-chat-page.';

/** A value that an earlier visit stored, if the browser stores any. */
export function read(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

/** Stores a value for later visits, if the browser allows it. */
export function write(name: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // The visitor has set the browser to store nothing.
  }
}
