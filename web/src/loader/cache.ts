import { Lfm2Error } from '../errors.js';
import { readBlob } from './blobs.js';
import type { RemoteDescription, Resolved } from './files.js';
import { AHEAD, CHUNK } from './remote.js';
import { MemoryStore } from './store.js';
import type { ChunkStore } from './store.js';

/** The folder of this package in the origin's private file system. */
const ROOT = 'lfm2-wgpu';
const META = 'meta.json';
/** Times that meta.json is read while it is being replaced, and the time between them. */
const READS = 5;
const READ_AGAIN_MS = 20;

/** Content of meta.json; written when a download begins, and again when it is complete. */
interface Meta {
  /** The model's name or absolute URL. */
  model: string;
  place: string;
  files: readonly RemoteDescription[];
  /** Whether every file is present and matched its hash. */
  complete: boolean;
}

/** A model in the cache. */
export interface CachedModel {
  /** As it was given to `createEngine`; URLs are absolute. */
  model: string;
  /** Bytes in the cache. */
  bytes: number;
  /** Whether it loads without the network. An incomplete download resumes. */
  complete: boolean;
}

/**
 * A model's folder: meta.json, and `<file>.<chunk>` for every chunk of every file. A chunk gets its name only when
 * it is completely written, so there are no partial chunks. meta.json is marked complete last.
 */
export class CacheEntry {
  readonly #folder: FileSystemDirectoryHandle;
  readonly meta: Meta;

  private constructor(folder: FileSystemDirectoryHandle, meta: Meta) {
    this.#folder = folder;
    this.meta = meta;
  }

  /** Returns the entry of a model, if there is one. */
  static async find(model: string): Promise<CacheEntry | undefined> {
    const root = await openRoot();
    const folder = await root?.getDirectoryHandle(await key(model)).catch(() => undefined);
    const meta = folder === undefined ? undefined : await readMeta(folder);
    return folder !== undefined && meta !== undefined ? new CacheEntry(folder, meta) : undefined;
  }

  /** Creates an entry and replaces one of the same model. Undefined without a cache. */
  static async create(model: string, { place, files }: Resolved): Promise<CacheEntry | undefined> {
    const root = await openRoot();
    if (root === undefined) return undefined;
    const name = await key(model);
    await root.removeEntry(name, { recursive: true }).catch(() => undefined);
    try {
      const meta = { model, place, files, complete: false };
      const entry = new CacheEntry(await root.getDirectoryHandle(name, { create: true }), meta);
      await entry.#writeMeta(meta);
      return entry;
    } catch {
      return undefined;
    }
  }

  /** Whether the entry is of exactly these files. */
  holds(resolved: Resolved): boolean {
    return JSON.stringify(this.meta.files) === JSON.stringify(resolved.files);
  }

  /** The stores of all files, with their present chunks. */
  async stores(): Promise<FileStore[]> {
    const sizes = new Map<string, number>();
    for await (const [name, handle] of this.#folder.entries()) sizes.set(name, await sizeOf(handle));
    return this.meta.files.map((file, i) => new FileStore(this.#folder, i, file, sizes));
  }

  /** Marks the model as complete. */
  complete(): Promise<void> {
    return this.#writeMeta({ ...this.meta, complete: true });
  }

  async #writeMeta(meta: Meta): Promise<void> {
    await writeWhole(this.#folder, META, new TextEncoder().encode(JSON.stringify(meta)));
  }
}

/** A file's chunks in the cache. Chunks that do not fit are kept in memory for a while. */
export class FileStore implements ChunkStore {
  readonly #folder: FileSystemDirectoryHandle;
  readonly #index: number;
  readonly #there = new Set<number>();
  #overflow: MemoryStore | undefined;
  /** Bytes present. */
  bytes = 0;

  constructor(folder: FileSystemDirectoryHandle, index: number, file: RemoteDescription, sizes: Map<string, number>) {
    this.#folder = folder;
    this.#index = index;
    for (let n = 0; n * CHUNK < file.size; n++) {
      const length = Math.min(CHUNK, file.size - n * CHUNK);
      if (sizes.get(this.#name(n)) !== length) continue;
      this.#there.add(n);
      this.bytes += length;
    }
  }

  /** Whether a chunk did not fit. */
  get overflowed(): boolean {
    return this.#overflow !== undefined;
  }

  has(n: number): boolean {
    return this.#there.has(n) || this.#overflow?.has(n) === true;
  }

  async get(n: number): Promise<Uint8Array | undefined> {
    if (!this.#there.has(n)) return this.#overflow?.get(n);
    try {
      const file = await (await this.#folder.getFileHandle(this.#name(n))).getFile();
      return await readBlob(this.#name(n), file, 0, file.size);
    } catch {
      // Removed by the visitor, or by the browser because the disk was full.
      this.#there.delete(n);
      return undefined;
    }
  }

  /** A piece of the file, if it is present completely. */
  async read(offset: number, length: number): Promise<Uint8Array | undefined> {
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const n = Math.floor((offset + done) / CHUNK);
      const from = offset + done - n * CHUNK;
      const part = (await this.get(n))?.subarray(from, from + length - done);
      if (part === undefined) return undefined;
      out.set(part, done);
      done += part.length;
    }
    return out;
  }

  async put(n: number, bytes: Uint8Array): Promise<void> {
    try {
      await writeWhole(this.#folder, this.#name(n), bytes);
      this.#there.add(n);
    } catch {
      this.#overflow ??= new MemoryStore(2 * AHEAD);
      await this.#overflow.put(n, bytes);
    }
  }

  async clear(): Promise<void> {
    for (const n of this.#there) await this.#folder.removeEntry(this.#name(n)).catch(() => undefined);
    this.#there.clear();
    await this.#overflow?.clear();
  }

  #name(n: number): string {
    return `${this.#index}.${n}`;
  }
}

/** Every model in the cache. */
export async function listModels(): Promise<CachedModel[]> {
  const found: CachedModel[] = [];
  for await (const [, folder] of (await openRoot())?.entries() ?? []) {
    if (folder.kind !== 'directory') continue;
    const entry = await readMeta(folder as FileSystemDirectoryHandle);
    if (entry === undefined) continue;
    let bytes = 0;
    for await (const [, file] of (folder as FileSystemDirectoryHandle).entries()) bytes += await sizeOf(file);
    found.push({ model: entry.model, bytes, complete: entry.complete });
  }
  return found;
}

/** Removes a model from the cache, by its name from `listModels` or as it was given. Returns whether it was there. */
export async function removeModel(model: string): Promise<boolean> {
  const root = await openRoot();
  if (root === undefined || (await CacheEntry.find(model)) === undefined) return false;
  await root.removeEntry(await key(model), { recursive: true });
  return true;
}

/** Free bytes, as far as the browser reveals it. */
export async function freeBytes(): Promise<number | undefined> {
  const { quota, usage } = (await navigator.storage?.estimate?.().catch(() => undefined)) ?? {};
  return quota === undefined ? undefined : quota - (usage ?? 0);
}

/** The package's folder; undefined if the browser has no such file system, or forbids it (private windows). */
export async function openRoot(): Promise<FileSystemDirectoryHandle | undefined> {
  try {
    const origin = await navigator.storage.getDirectory();
    return await origin.getDirectoryHandle(ROOT, { create: true });
  } catch {
    return undefined;
  }
}

async function key(model: string): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(model));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The content of meta.json, if the folder has one. */
async function readMeta(folder: FileSystemDirectoryHandle): Promise<Meta | undefined> {
  const handle = await folder.getFileHandle(META).catch(() => undefined);
  // While a download replaces the file, reading the old one fails.
  for (let tries = 0; handle !== undefined && tries < READS; tries++) {
    try {
      return JSON.parse(await (await handle.getFile()).text()) as Meta;
    } catch {
      await new Promise((done) => setTimeout(done, READ_AGAIN_MS));
    }
  }
  return undefined;
}

/** Bytes of a file; 0 if it has gone since its folder was listed, as files do that are being written. */
async function sizeOf(handle: FileSystemHandle): Promise<number> {
  if (handle.kind !== 'file') return 0;
  const file = await (handle as FileSystemFileHandle).getFile().catch(() => undefined);
  return file?.size ?? 0;
}

/** Writes a file. It appears only when it is complete, because the browser moves it into place on close. */
async function writeWhole(folder: FileSystemDirectoryHandle, name: string, bytes: Uint8Array): Promise<void> {
  const writable = await (await folder.getFileHandle(name, { create: true })).createWritable();
  try {
    await writable.write(bytes as Uint8Array<ArrayBuffer>);
    await writable.close();
  } catch (thrown) {
    await writable.abort().catch(() => undefined);
    throw new Lfm2Error('read_failed', `the cache: ${String(thrown)}`, { cause: thrown });
  }
}
