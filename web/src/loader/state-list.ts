import { openRoot } from './cache.js';

/** The folder of states in the package's folder. */
const FOLDER = 'states';
/** End of the files' names, so that no name is `.` or `..`. */
const END = '.state';

/** A saved state in the browser's private file system. */
export interface SavedState {
  /** As it was given to `Engine.save`. */
  name: string;
  bytes: number;
  /** Milliseconds since 1970. */
  saved: number;
}

/** Every saved state in the browser's private file system, the last saved first. */
export async function listStates(): Promise<SavedState[]> {
  const found: SavedState[] = [];
  for await (const [file, handle] of (await openFolder())?.entries() ?? []) {
    if (handle.kind !== 'file' || !file.endsWith(END)) continue;
    // Another tab may remove it meanwhile.
    const about = await (handle as FileSystemFileHandle).getFile().catch(absent);
    if (!about?.size) continue;
    found.push({ name: decodeURIComponent(file.slice(0, -END.length)), bytes: about.size, saved: about.lastModified });
  }
  return found.sort((a, b) => b.saved - a.saved);
}

/** Removes a saved state from the browser's private file system. Returns whether it was there. */
export async function deleteState(name: string): Promise<boolean> {
  const removed = (await openFolder())?.removeEntry(fileName(name)).then(() => true, () => false);
  return removed ?? false;
}

/** The folder of all states; undefined if the browser has no private file system, or forbids it. */
export async function openFolder(): Promise<FileSystemDirectoryHandle | undefined> {
  const root = await openRoot();
  return root?.getDirectoryHandle(FOLDER, { create: true }).catch(absent);
}

/** The name of a state's file. */
export function fileName(name: string): string {
  return `${encodeURIComponent(name)}${END}`;
}

function absent(): undefined {
  return undefined;
}
