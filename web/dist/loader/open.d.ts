import type { Reporter } from '../progress.js';
import type { ModelOptions } from '../types.js';
import { CacheEntry, listModels } from './cache.js';
import type { CachedModel } from './cache.js';
import type { OpenModel, RemoteDescription } from './files.js';
import type { HttpOptions } from './http.js';
import type { Hasher } from './remote.js';
export type Model = ModelOptions['model'];
type Where = Pick<ModelOptions, 'model' | 'cache' | 'hub'>;
/** Files that the visitor gave, if the model is such. */
export declare function asBlobs(model: Model): Blob[] | undefined;
/** Every model in the cache. */
export { listModels };
export type { CachedModel };
/** Removes a model from the cache; whether it was there. */
export declare function deleteModel(model: string | URL): Promise<boolean>;
/** What is known of a model before its weights are read. */
export interface Found {
    place: string;
    files: readonly RemoteDescription[];
    /** In the cache, whole or not. */
    entry: CacheEntry | undefined;
    http: HttpOptions;
}
/**
 * Finds a model: in the cache if it is whole there, which asks no network, else where it comes from.
 * What is in the cache of other files than it has now is not used.
 */
export declare function findModel(where: Where, signal: AbortSignal | undefined): Promise<Found>;
/** Opens a model: its files can be read while they come. */
export declare function openModel(where: Where, signal: AbortSignal | undefined, newHasher: () => Hasher, reporter: Reporter): Promise<OpenModel>;
/** Rejects at once when the signal is aborted, whatever `work` is at; `late` gets what it still gives. */
export declare function raceAbort<T>(work: Promise<T>, signal: AbortSignal | undefined, late: (result: T) => void): Promise<T>;
