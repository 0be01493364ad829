import { Lfm2Error, aborted } from '../errors.js';
import { openBlobs } from './blobs.js';
import { CacheEntry, freeBytes, listModels, removeModel } from './cache.js';
import { AHEAD, RemoteFile } from './remote.js';
import { absolute, resolveModel } from './resolve.js';
import { MemoryStore } from './store.js';
/** Bytes of the cache's own that are left free beside a model. */
const SPARE = 16 << 20;
/** Files that the visitor gave, if the model is such. */
export function asBlobs(model) {
    if (typeof model === 'string' || model instanceof URL)
        return undefined;
    return model instanceof Blob ? [model] : Array.from(model);
}
/** Every model in the cache. */
export { listModels };
/** Removes a model from the cache; whether it was there. */
export function deleteModel(model) {
    return removeModel(absolute(model));
}
/**
 * Finds a model: in the cache if it is whole there, which asks no network, else where it comes from.
 * What is in the cache of other files than it has now is not used.
 */
export async function findModel(where, signal) {
    const model = absolute(where.model);
    const hub = where.hub ?? {};
    const headers = hub.token === undefined ? {} : { Authorization: `Bearer ${hub.token}` };
    const http = { signal, headers };
    const entry = where.cache === 'none' ? undefined : await CacheEntry.find(model);
    if (entry?.meta.complete)
        return { ...entry.meta, entry, http };
    const resolved = await resolveModel(model, hub, http);
    return { ...resolved, entry: entry?.holds(resolved) ? entry : undefined, http };
}
/** Opens a model: its files can be read while they come. */
export async function openModel(where, signal, newHasher, reporter) {
    const blobs = asBlobs(where.model);
    if (blobs !== undefined)
        return openBlobs(blobs);
    const found = await findModel(where, signal);
    if (where.cache !== 'none')
        found.entry ??= await CacheEntry.create(absolute(where.model), found);
    const total = found.files.reduce((sum, file) => sum + file.size, 0);
    let stores = (await found.entry?.stores()) ?? undefined;
    const cached = stores?.reduce((sum, store) => sum + store.bytes, 0) ?? 0;
    if (found.entry?.meta.complete && cached === total)
        return openCached(found, stores, newHasher);
    if (stores !== undefined && (await freeBytes().then((free) => free !== undefined && free < total - cached + SPARE))) {
        stores = undefined;
    }
    return new Download(found, stores, total, signal, newHasher, reporter);
}
/** A model that is whole in the cache: nothing is fetched, and its hashes were compared before. */
function openCached(found, stores, newHasher) {
    const ignore = () => undefined;
    const files = found.files.map((file, i) => {
        const { name, url, size } = file;
        return new RemoteFile({ name, url, size }, stores[i], found.http, newHasher, ignore);
    });
    const nothing = () => Promise.resolve();
    return { place: found.place, files, fromCache: true, finish: nothing, close: nothing };
}
/** A model on its way: into the cache, or through memory. */
class Download {
    place;
    files;
    fromCache = false;
    #files;
    #stores;
    #entry;
    #stop = new AbortController();
    /** Fetches all of it in order while it is read, if it goes into the cache. */
    #ahead;
    #failure;
    constructor(found, stores, total, signal, newHasher, reporter) {
        this.place = found.place;
        this.#stores = stores;
        this.#entry = stores === undefined ? undefined : found.entry;
        let loaded = stores?.reduce((sum, store) => sum + store.bytes, 0) ?? 0;
        const onBytes = (file, bytes) => {
            // Without a cache some may come twice.
            loaded = Math.min(loaded + bytes, total);
            reporter.report({ phase: 'download', loaded, total, file, fromCache: false });
        };
        const http = { ...found.http, signal: AbortSignal.any([this.#stop.signal, ...(signal ? [signal] : [])]) };
        this.#files = found.files.map((about, i) => {
            const store = stores?.[i] ?? new MemoryStore(2 * AHEAD);
            return new RemoteFile(about, store, http, newHasher, onBytes);
        });
        this.files = this.#files.map((file) => ({
            name: file.name,
            size: file.size,
            read: async (offset, length) => {
                try {
                    return await file.read(offset, length);
                }
                catch (thrown) {
                    // What failed ahead of it is the reason for which it was stopped.
                    throw this.#failure ?? thrown;
                }
            },
        }));
        this.#ahead = stores === undefined ? Promise.resolve() : this.#fetchAll();
        this.#ahead.catch((thrown) => {
            this.#failure = thrown;
            this.#stop.abort();
        });
    }
    async finish() {
        await this.#ahead;
        if (this.#stores === undefined)
            for (const file of this.#files)
                await file.finish(false);
        else if (!this.#stores.some((store) => store.overflowed))
            await this.#entry?.complete();
    }
    async close() {
        this.#stop.abort();
        await this.#ahead.catch(() => undefined);
    }
    async #fetchAll() {
        for (const file of this.#files)
            await file.finish(true);
    }
}
/** Rejects at once when the signal is aborted, whatever `work` is at; `late` gets what it still gives. */
export function raceAbort(work, signal, late) {
    if (signal === undefined)
        return work;
    return new Promise((resolve, reject) => {
        let over = false;
        const onAbort = () => ((over = true), reject(aborted(signal)));
        if (signal.aborted)
            onAbort();
        signal.addEventListener('abort', onAbort, { once: true });
        work.then((result) => (over ? late(result) : resolve(result)), (thrown) => reject(thrown instanceof Lfm2Error || !over ? thrown : aborted(signal)));
    });
}
