import { Lfm2Error, toLfm2Error } from '../errors.js';
import type { WebEngine } from '../wasm/lfm2.js';
import { readBlob } from './blobs.js';
import { deleteState, fileName, listStates, openFolder } from './state-list.js';

/** Maximum number of bytes of all states in the browser's private file system. */
const MOST_BYTES = 2 ** 30;
/** A file that appears under its name when it is closed. */
export interface StateWriter {
  write(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  close(): Promise<void>;
  /** Discards it. */
  abort(): Promise<void>;
}

/** Storage for states. */
export interface StateFiles {
  /** Undefined if there is no such file. */
  open(name: string): Promise<Blob | undefined>;
  create(name: string): Promise<StateWriter>;
}

/** The browser's private file system. All states together take at most `most` bytes; the oldest are removed. */
export class PrivateFiles implements StateFiles {
  readonly #most: number;

  constructor(most = MOST_BYTES) {
    this.#most = most;
  }

  async open(name: string): Promise<Blob | undefined> {
    const folder = await openFolder();
    const file = await folder?.getFileHandle(fileName(name)).then((handle) => handle.getFile()).catch((thrown: unknown) => {
      if ((thrown as { name?: unknown }).name !== 'NotFoundError') throw thrown;
    });
    // The browser shows a file that is being written for the first time as an empty one.
    return file?.size ? file : undefined;
  }

  async create(name: string): Promise<StateWriter> {
    const folder = await openFolder();
    if (folder === undefined) throw new Error('the browser has no private file system, or forbids it');
    const handle = await folder.getFileHandle(fileName(name), { create: true });
    const writable = await handle.createWritable();
    let bytes = 0;
    return {
      write: async (piece) => {
        bytes += piece.length;
        if (bytes > this.#most) throw new Error(`it has more than ${this.#most} bytes, the maximum of all states together`);
        await writable.write(piece);
      },
      close: async () => {
        await makeRoom(this.#most - bytes, name);
        await writable.close();
      },
      abort: async () => {
        await writable.abort();
        if ((await handle.getFile()).size === 0) await folder.removeEntry(handle.name);
      },
    };
  }
}

let files: StateFiles = new PrivateFiles();

/** Replaces the storage. */
export function provideStates(provided: StateFiles): void {
  files = provided;
}

/** Saves the state of a request's prompt. Returns its length in tokens; with 0, no file was written. */
export async function saveState(engine: WebEngine, request: string, name: string): Promise<number> {
  let writer: StateWriter | undefined;
  try {
    const tokens = await engine.save(request, name, async (bytes: Uint8Array<ArrayBuffer>) => {
      await told(name, 'cannot write it', async () => {
        writer ??= await files.create(name);
        await writer.write(bytes);
      });
    });
    await told(name, 'cannot write it', async () => writer?.close());
    return tokens;
  } catch (thrown) {
    await writer?.abort().catch(() => undefined);
    throw toLfm2Error(thrown);
  }
}

/** Reads a state into the engine's prefix cache. Returns its length in tokens, or 0 if there is no such file. */
export async function restoreState(engine: WebEngine, name: string): Promise<number> {
  const file = await told(name, 'cannot read it', () => files.open(name));
  if (file === undefined) return 0;
  const read = (offset: number, length: number) => readBlob(name, file, offset, length);
  try {
    return await engine.restore({ name, size: file.size, read });
  } catch (thrown) {
    const error = toLfm2Error(thrown);
    throw error.code === 'read_failed' ? new Lfm2Error('saved_state', error.message, { cause: thrown }) : error;
  }
}

/** Removes the oldest states other than `name` until the others take at most `most` bytes. */
async function makeRoom(most: number, name: string): Promise<void> {
  let kept = 0;
  for (const other of await listStates()) {
    if (other.name === name) continue;
    kept += other.bytes;
    if (kept > most) await deleteState(other.name);
  }
}

/** Names the file in the error of an operation on it. */
async function told<T>(name: string, problem: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    throw new Lfm2Error('saved_state', `${name}: ${problem}: ${thrown instanceof Error ? thrown.message : String(thrown)}`, { cause: thrown });
  }
}
