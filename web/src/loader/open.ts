import { Lfm2Error, aborted } from '../errors.js';
import type { Reporter } from '../progress.js';
import type { ModelOptions } from '../types.js';
import { openBlobs } from './blobs.js';
import { CacheEntry, freeBytes, listModels, removeModel } from './cache.js';
import type { CachedModel, FileStore } from './cache.js';
import type { ModelFile, OpenModel, RemoteDescription } from './files.js';
import type { HttpOptions } from './http.js';
import { AHEAD, RemoteFile } from './remote.js';
import type { Hasher } from './remote.js';
import { absolute, resolveModel } from './resolve.js';
import { MemoryStore } from './store.js';

/** Bytes of storage that stay free beside a model. */
const SPARE = 16 << 20;

export type Model = ModelOptions['model'];
type Where = Pick<ModelOptions, 'model' | 'cache' | 'hub'>;

/** The visitor's files, if the model consists of them. */
export function asBlobs(model: Model): Blob[] | undefined {
  if (typeof model === 'string' || model instanceof URL) return undefined;
  return model instanceof Blob ? [model] : Array.from(model);
}

/** Every model in the cache. */
export { listModels };
export type { CachedModel };

/** Removes a model from the cache. Returns whether it was there. */
export function deleteModel(model: string | URL): Promise<boolean> {
  return removeModel(absolute(model));
}

/** A model before its weights are read. */
export interface Found {
  place: string;
  files: readonly RemoteDescription[];
  /** Its entry in the cache, complete or not. */
  entry: CacheEntry | undefined;
  http: HttpOptions;
}

/**
 * Finds a model: in the cache without the network if it is complete there, otherwise at its source. A cache entry of
 * files that have changed at the source is not used.
 */
export async function findModel(where: Where, signal: AbortSignal | undefined): Promise<Found> {
  const model = absolute(where.model as string | URL);
  const hub = where.hub ?? {};
  const headers: Record<string, string> = hub.token === undefined ? {} : { Authorization: `Bearer ${hub.token}` };
  const http = { signal, headers };
  const entry = where.cache === 'none' ? undefined : await CacheEntry.find(model);
  if (entry?.meta.complete) return { ...entry.meta, entry, http };
  const resolved = await resolveModel(model, hub, http);
  return { ...resolved, entry: entry?.holds(resolved) ? entry : undefined, http };
}

/** Opens a model. Its files can be read during the download. */
export async function openModel(
  where: Where,
  signal: AbortSignal | undefined,
  newHasher: () => Hasher,
  reporter: Reporter,
): Promise<OpenModel> {
  const blobs = asBlobs(where.model);
  if (blobs !== undefined) return openBlobs(blobs);
  const found = await findModel(where, signal);
  if (where.cache !== 'none') found.entry ??= await CacheEntry.create(absolute(where.model as string | URL), found);
  const total = found.files.reduce((sum, file) => sum + file.size, 0);
  let stores = (await found.entry?.stores()) ?? undefined;
  const cached = stores?.reduce((sum, store) => sum + store.bytes, 0) ?? 0;
  if (found.entry?.meta.complete && cached === total) return openCached(found, stores as FileStore[], newHasher);
  if (stores !== undefined && (await freeBytes().then((free) => free !== undefined && free < total - cached + SPARE))) {
    stores = undefined;
  }
  return new Download(found, stores, total, signal, newHasher, reporter);
}

/** A model that is complete in the cache: nothing is fetched, and its hashes were checked before. */
function openCached(found: Found, stores: FileStore[], newHasher: () => Hasher): OpenModel {
  const ignore = () => undefined;
  const files = found.files.map((file, i) => {
    const { name, url, size } = file;
    return new RemoteFile({ name, url, size }, stores[i] as FileStore, found.http, newHasher, ignore);
  });
  return { place: found.place, files, fromCache: true, finish: async () => true, close: async () => undefined };
}

/** A model that is downloaded, into the cache or through memory. */
class Download implements OpenModel {
  readonly place: string;
  readonly files: readonly ModelFile[];
  readonly fromCache = false;
  readonly #files: RemoteFile[];
  readonly #stores: FileStore[] | undefined;
  readonly #entry: CacheEntry | undefined;
  readonly #stop = new AbortController();
  /** Fetches all files in order while they are read, if they go into the cache. */
  readonly #ahead: Promise<void>;
  #failure: unknown;

  constructor(
    found: Found,
    stores: FileStore[] | undefined,
    total: number,
    signal: AbortSignal | undefined,
    newHasher: () => Hasher,
    reporter: Reporter,
  ) {
    this.place = found.place;
    this.#stores = stores;
    this.#entry = stores === undefined ? undefined : found.entry;
    let loaded = stores?.reduce((sum, store) => sum + store.bytes, 0) ?? 0;
    const onBytes = (file: string, bytes: number) => {
      // Without a cache some bytes may be downloaded twice.
      loaded = Math.min(loaded + bytes, total);
      reporter.report({ phase: 'download', loaded, total, file, fromCache: false });
    };
    const http = { ...found.http, signal: AbortSignal.any([this.#stop.signal, ...(signal ? [signal] : [])]) };
    this.#files = found.files.map((about, i) => {
      const store = stores?.[i] ?? new MemoryStore(4 * AHEAD);
      return new RemoteFile(about, store, http, newHasher, onBytes);
    });
    this.files = this.#files.map((file) => ({
      name: file.name,
      size: file.size,
      read: async (offset, length) => {
        try {
          return await file.read(offset, length);
        } catch (thrown) {
          // An earlier failure of the download is the reason for this one.
          throw this.#failure ?? thrown;
        }
      },
    }));
    this.#ahead = stores === undefined ? Promise.resolve() : this.#fetchAll();
    this.#ahead.catch((thrown: unknown) => {
      this.#failure = thrown;
      this.#stop.abort();
    });
  }

  async finish(): Promise<boolean> {
    await this.#ahead;
    if (this.#stores === undefined) for (const file of this.#files) await file.finish(false);
    if (this.#entry === undefined || this.#stores?.some((store) => store.overflowed)) return false;
    // If the disk is full now, only the next visit has to download again.
    return this.#entry.complete().then(() => true, () => false);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#ahead.catch(() => undefined);
    // A late write could damage the entry of the next attempt.
    for (const file of this.#files) await file.settled();
  }

  async #fetchAll(): Promise<void> {
    for (const file of this.#files) await file.finish(true);
  }
}

/** Rejects at once when the signal is aborted. `late` gets the result that `work` may still produce. */
export function raceAbort<T>(work: Promise<T>, signal: AbortSignal | undefined, late: (result: T) => void): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    let over = false;
    const onAbort = () => ((over = true), reject(aborted(signal)));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(
      (result) => (over ? late(result) : resolve(result)),
      (thrown: unknown) => reject(thrown instanceof Lfm2Error || !over ? thrown : aborted(signal)),
    );
  });
}
