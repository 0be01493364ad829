/** Chunks in memory: those that were used last. */
export class MemoryStore {
    #chunks = new Map();
    /** Most chunks that are kept. */
    most;
    constructor(most) {
        this.most = most;
    }
    has(n) {
        return this.#chunks.has(n);
    }
    async get(n) {
        const bytes = this.#chunks.get(n);
        if (bytes !== undefined)
            this.#keep(n, bytes);
        return bytes;
    }
    async put(n, bytes) {
        this.#keep(n, bytes);
        for (const oldest of this.#chunks.keys()) {
            if (this.#chunks.size <= this.most)
                break;
            this.#chunks.delete(oldest);
        }
    }
    async clear() {
        this.#chunks.clear();
    }
    /** A Map remembers the order in which keys came. */
    #keep(n, bytes) {
        this.#chunks.delete(n);
        this.#chunks.set(n, bytes);
    }
}
