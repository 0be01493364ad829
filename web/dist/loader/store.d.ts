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
export declare class MemoryStore implements ChunkStore {
    #private;
    /** Most chunks that are kept. */
    most: number;
    constructor(most: number);
    has(n: number): boolean;
    get(n: number): Promise<Uint8Array | undefined>;
    put(n: number, bytes: Uint8Array): Promise<void>;
    clear(): Promise<void>;
}
