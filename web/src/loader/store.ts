/** Storage for the fetched chunks of one file. */
export interface ChunkStore {
  has(n: number): boolean;
  /** Undefined if the chunk is not there (any more). */
  get(n: number): Promise<Uint8Array | undefined>;
  put(n: number, bytes: Uint8Array): Promise<void>;
  /** Removes all chunks of the file. */
  clear(): Promise<void>;
}

/** Stores the most recently used chunks in memory. */
export class MemoryStore implements ChunkStore {
  readonly #chunks = new Map<number, Uint8Array>();
  /** Maximum number of chunks. */
  most: number;

  constructor(most: number) {
    this.most = most;
  }

  has(n: number): boolean {
    return this.#chunks.has(n);
  }

  async get(n: number): Promise<Uint8Array | undefined> {
    const bytes = this.#chunks.get(n);
    if (bytes !== undefined) this.#keep(n, bytes);
    return bytes;
  }

  async put(n: number, bytes: Uint8Array): Promise<void> {
    this.#keep(n, bytes);
    for (const oldest of this.#chunks.keys()) {
      if (this.#chunks.size <= this.most) break;
      this.#chunks.delete(oldest);
    }
  }

  async clear(): Promise<void> {
    this.#chunks.clear();
  }

  /** A Map keeps its keys in order of insertion. */
  #keep(n: number, bytes: Uint8Array): void {
    this.#chunks.delete(n);
    this.#chunks.set(n, bytes);
  }
}
