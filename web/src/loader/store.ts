/** Where the chunks of one file are kept once they have been fetched. */
export interface ChunkStore {
  has(n: number): boolean;
  /** Undefined if it is not there (any more). */
  get(n: number): Promise<Uint8Array | undefined>;
  put(n: number, bytes: Uint8Array): Promise<void>;
  /** Forgets everything of the file. */
  clear(): Promise<void>;
}

/** Chunks in memory: those that were used last. */
export class MemoryStore implements ChunkStore {
  readonly #chunks = new Map<number, Uint8Array>();
  /** Most chunks that are kept. */
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

  /** A Map remembers the order in which keys came. */
  #keep(n: number, bytes: Uint8Array): void {
    this.#chunks.delete(n);
    this.#chunks.set(n, bytes);
  }
}
