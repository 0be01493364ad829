import { Lfm2Error, checkAborted } from '../errors.js';
import type { ModelFile, RemoteDescription } from './files.js';
import { fetchPieces, fetchRange } from './http.js';
import type { HttpOptions } from './http.js';
import { MemoryStore } from './store.js';
import type { ChunkStore } from './store.js';

/** Bytes that are asked for in one request, and kept as one file of the cache. */
export const CHUNK = 4 << 20;
/** Chunks of a file that are fetched ahead at the same time. */
export const AHEAD = 4;

/** An incremental SHA-256. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** In hexadecimal; it cannot be used any more. */
  finish(): string;
}

/** A file that comes over the network in chunks, each into a store. */
export class RemoteFile implements ModelFile {
  readonly name: string;
  readonly size: number;
  readonly #about: RemoteDescription;
  readonly #store: ChunkStore;
  readonly #http: HttpOptions;
  readonly #onBytes: (file: string, bytes: number) => void;
  readonly #coming = new Map<number, Promise<Uint8Array>>();
  /** Chunks that have come before. */
  readonly #fetched = new Set<number>();
  /** Runs while the whole file comes in one answer of a server without ranges. */
  #pump: Promise<void> | undefined;
  /** Who waits for which chunk of it. */
  readonly #waiting = new Map<number, (bytes: Uint8Array) => void>();
  #hasher: Hasher | undefined;
  /** The next chunk to be hashed. */
  #hashed = 0;

  constructor(
    about: RemoteDescription,
    store: ChunkStore,
    http: HttpOptions,
    newHasher: () => Hasher,
    onBytes: (file: string, bytes: number) => void,
  ) {
    this.name = about.name;
    this.size = about.size;
    this.#about = about;
    this.#store = store;
    this.#http = http;
    this.#onBytes = onBytes;
    if (about.sha256 !== undefined) this.#hasher = newHasher();
  }

  get chunks(): number {
    return Math.ceil(this.size / CHUNK);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const first = Math.floor(offset / CHUNK);
    if (length > 0 && offset + length <= (first + 1) * CHUNK) {
      const bytes = await this.#chunk(first);
      this.#hash(first, bytes);
      return bytes.subarray(offset - first * CHUNK, offset - first * CHUNK + length);
    }
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const n = Math.floor(at / CHUNK);
      const bytes = await this.#chunk(n);
      const part = bytes.subarray(at - n * CHUNK, at - n * CHUNK + length - done);
      out.set(part, done);
      done += part.length;
      this.#hash(n, bytes);
    }
    return out;
  }

  /**
   * Compares the whole with its hash, for which it fetches, in order, what has not been hashed;
   * `all`: what the store misses too.
   */
  async finish(all: boolean): Promise<void> {
    for (let n = 0; n < this.chunks; n++) {
      const needed = this.#hasher === undefined ? all && !this.#store.has(n) : n >= this.#hashed;
      if (needed) this.#hash(n, await this.#chunk(n));
    }
    const [hasher, wanted] = [this.#hasher, this.#about.sha256?.toLowerCase()];
    this.#hasher = undefined;
    const got = hasher?.finish();
    if (got === undefined || got === wanted) return;
    await this.#store.clear();
    throw new Lfm2Error('integrity', `${this.#about.url}: has SHA-256 ${got}, need ${wanted}`);
  }

  #hash(n: number, bytes: Uint8Array): void {
    if (n !== this.#hashed || this.#hasher === undefined) return;
    this.#hasher.update(bytes);
    this.#hashed = n + 1;
  }

  /** A chunk, from the store or the network; those after it may begin to come too. */
  async #chunk(n: number): Promise<Uint8Array> {
    checkAborted(this.#http.signal);
    const stored = this.#store.has(n) ? await this.#store.get(n) : undefined;
    const wanted = stored ?? this.#fetch(n);
    // Only where the file is read on: elsewhere what comes next is not asked for soon.
    const onward = n === 0 || this.#store.has(n - 1) || this.#coming.has(n - 1);
    if (onward && this.#pump === undefined) {
      for (let next = n + 1; next < Math.min(n + AHEAD, this.chunks); next++) {
        // What was there and is not kept has been read. Whoever needs it learns of its failure.
        if (!this.#store.has(next) && !this.#fetched.has(next)) this.#fetch(next).catch(() => undefined);
      }
    }
    return wanted;
  }

  #fetch(n: number): Promise<Uint8Array> {
    let coming = this.#coming.get(n);
    if (coming === undefined) {
      coming = this.#fetchNow(n).finally(() => this.#coming.delete(n));
      this.#coming.set(n, coming);
    }
    return coming;
  }

  async #fetchNow(n: number): Promise<Uint8Array> {
    const offset = n * CHUNK;
    const length = Math.min(CHUNK, this.size - offset);
    const bytes =
      this.#pump === undefined
        ? await fetchRange(this.#about.url, this.size, offset, length, this.#http)
        : undefined;
    if (bytes === undefined) return this.#fromPump(n);
    await this.#store.put(n, bytes);
    this.#fetched.add(n);
    this.#onBytes(this.name, length);
    return bytes;
  }

  /** A chunk from a server without ranges, which sends all from the beginning. */
  async #fromPump(n: number): Promise<Uint8Array> {
    if (this.#store.has(n)) {
      const bytes = await this.#store.get(n);
      if (bytes !== undefined) return bytes;
    }
    const arrived = new Promise<Uint8Array>((resolve) => this.#waiting.set(n, resolve));
    this.#pump ??= this.#run().finally(() => (this.#pump = undefined));
    const pump = this.#pump.then(() => {
      throw new Lfm2Error('network', `${this.#about.url}: chunk ${n} did not come`);
    });
    return Promise.race([arrived, pump]);
  }

  async #run(): Promise<void> {
    // What has gone by does not come again.
    if (this.#store instanceof MemoryStore) this.#store.most = this.chunks;
    await fetchPieces(this.#about.url, this.size, CHUNK, this.#http, async (n, bytes) => {
      if (!this.#store.has(n)) {
        await this.#store.put(n, bytes);
        this.#onBytes(this.name, bytes.length);
      }
      this.#waiting.get(n)?.(bytes);
      this.#waiting.delete(n);
    });
  }
}
