import type { RemoteDescription, Resolved } from './files.js';
import type { ChunkStore } from './store.js';
/** What the cache knows of a model; written when a download begins, and anew when it is whole. */
interface Meta {
    /** What the caller gave as the model. */
    model: string;
    place: string;
    files: readonly RemoteDescription[];
    /** Whether every file is there and has been compared with its hash. */
    complete: boolean;
}
/** A model in the cache. */
export interface CachedModel {
    /** As it was given to `createEngine`; URLs are absolute. */
    model: string;
    /** Bytes in the cache. */
    bytes: number;
    /** Whether it loads without the network. What is not complete is gone on with. */
    complete: boolean;
}
/**
 * A model's folder: meta.json, and `<file>.<chunk>` for every chunk of every file. A chunk appears
 * under its name only when it has been written whole, so there is never half of one; a model counts
 * as whole only by its meta.json, which says so last.
 */
export declare class CacheEntry {
    #private;
    readonly meta: Meta;
    private constructor();
    /** The entry of a model, if there is one. */
    static find(model: string): Promise<CacheEntry | undefined>;
    /** A new entry, in the place of another of the same model. Undefined without a cache. */
    static create(model: string, { place, files }: Resolved): Promise<CacheEntry | undefined>;
    /** Whether it is of these very files. */
    holds(resolved: Resolved): boolean;
    /** The stores of all files, which know the chunks that are there. */
    stores(): Promise<FileStore[]>;
    /** Says that all of it is there. */
    complete(): Promise<void>;
}
/** A file's chunks in the cache. What does not fit is kept in memory for a while instead. */
export declare class FileStore implements ChunkStore {
    #private;
    /** Bytes that are there. */
    bytes: number;
    constructor(folder: FileSystemDirectoryHandle, index: number, file: RemoteDescription, sizes: Map<string, number>);
    /** Whether something did not fit. */
    get overflowed(): boolean;
    has(n: number): boolean;
    get(n: number): Promise<Uint8Array | undefined>;
    /** A piece of the file, if all of it is there. */
    read(offset: number, length: number): Promise<Uint8Array | undefined>;
    put(n: number, bytes: Uint8Array): Promise<void>;
    clear(): Promise<void>;
}
/** Every model in the cache. */
export declare function listModels(): Promise<CachedModel[]>;
/** Removes a model, as `listModels` names it or as it was given, from the cache: whether it was there. */
export declare function removeModel(model: string): Promise<boolean>;
/** Bytes that still fit, as far as the browser tells. */
export declare function freeBytes(): Promise<number | undefined>;
export {};
