import type { ModelFile, RemoteDescription } from './files.js';
import type { HttpOptions } from './http.js';
import type { ChunkStore } from './store.js';
/** Bytes that are asked for in one request, and kept as one file of the cache. */
export declare const CHUNK: number;
/** Chunks of a file that are fetched ahead at the same time. */
export declare const AHEAD = 4;
/** An incremental SHA-256. */
export interface Hasher {
    update(bytes: Uint8Array): void;
    /** In hexadecimal; it cannot be used any more. */
    finish(): string;
}
/** A file that comes over the network in chunks, each into a store. */
export declare class RemoteFile implements ModelFile {
    #private;
    readonly name: string;
    readonly size: number;
    constructor(about: RemoteDescription, store: ChunkStore, http: HttpOptions, newHasher: () => Hasher, onBytes: (file: string, bytes: number) => void);
    get chunks(): number;
    read(offset: number, length: number): Promise<Uint8Array>;
    /**
     * Compares the whole with its hash, for which it fetches, in order, what has not been hashed;
     * `all`: what the store misses too.
     */
    finish(all: boolean): Promise<void>;
}
