import { Lfm2Error, checkAborted } from '../errors.js';
import type { ModelFile, RemoteDescription } from './files.js';
import { fetchPieces, fetchRange } from './http.js';
import type { HttpOptions } from './http.js';
import { MemoryStore } from './store.js';
import type { ChunkStore } from './store.js';

/** Bytes of one request, and of one file in the cache. */
export const CHUNK = 4 << 20;
/** Chunks of a file that are fetched ahead at the same time. */
export const AHEAD = 4;

/** An incremental SHA-256. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** The hash in hexadecimal. The object cannot be used afterwards. */
  finish(): string;
}

/** A file that is downloaded in chunks into a store. */
export class RemoteFile implements ModelFile {
  readonly name: string;
  readonly size: number;
  readonly #about: RemoteDescription;
  readonly #store: ChunkStore;
  readonly #http: HttpOptions;
  readonly #onBytes: (file: string, bytes: number) => void;
  readonly #coming = new Map<number, Promise<Uint8Array>>();
  /** Chunks downloaded before. */
  readonly #fetched = new Set<number>();
  /** Pending while a server without ranges sends the whole file in one response. */
  #pump: Promise<void> | undefined;
  /** Waiting reads by chunk of that response. */
  readonly #waiting = new Map<number, (bytes: Uint8Array) => void>();
  #hasher: Hasher | undefined;
  /** The next chunk to hash. */
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
   * Checks the file against its hash. For that it fetches the chunks that were not hashed yet, in order; with `all`,
   * also the chunks missing from the store.
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

  /** Waits until all downloads and writes that have begun are over. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#coming.values(), this.#pump]);
  }

  #hash(n: number, bytes: Uint8Array): void {
    if (n !== this.#hashed || this.#hasher === undefined) return;
    this.#hasher.update(bytes);
    this.#hashed = n + 1;
  }

  /** A chunk from the store or the network. It may start the download of the next ones. */
  async #chunk(n: number): Promise<Uint8Array> {
    checkAborted(this.#http.signal);
    const stored = this.#store.has(n) ? await this.#store.get(n) : undefined;
    const wanted = stored ?? this.#fetch(n);
    // Only during sequential reads: otherwise the next chunks are not needed soon.
    const onward = n === 0 || this.#store.has(n - 1) || this.#coming.has(n - 1);
    if (onward && this.#pump === undefined) {
      for (let next = n + 1; next < Math.min(n + AHEAD, this.chunks); next++) {
        // Chunks that were read and dropped are not fetched again. A read of a failed chunk reports the failure.
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

  /** A chunk from a server without ranges, which sends the file from its beginning. */
  async #fromPump(n: number): Promise<Uint8Array> {
    if (this.#store.has(n)) {
      const bytes = await this.#store.get(n);
      if (bytes !== undefined) return bytes;
    }
    const arrived = new Promise<Uint8Array>((resolve) => this.#waiting.set(n, resolve));
    this.#pump ??= this.#run().finally(() => (this.#pump = undefined));
    const pump = this.#pump.then(() => {
      throw new Lfm2Error('network', `${this.#about.url}: chunk ${n} is missing from the response`);
    });
    return Promise.race([arrived, pump]);
  }

  async #run(): Promise<void> {
    // Chunks before the current position do not come again.
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
