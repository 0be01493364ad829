import { Lfm2Error } from '../errors.js';
import { readBlob } from './blobs.js';
import { AHEAD, CHUNK } from './remote.js';
import { MemoryStore } from './store.js';
/** The folder of this package in the origin's private file system. */
const ROOT = 'lfm2-wgpu';
const META = 'meta.json';
/**
 * A model's folder: meta.json, and `<file>.<chunk>` for every chunk of every file. A chunk appears
 * under its name only when it has been written whole, so there is never half of one; a model counts
 * as whole only by its meta.json, which says so last.
 */
export class CacheEntry {
    #folder;
    meta;
    constructor(folder, meta) {
        this.#folder = folder;
        this.meta = meta;
    }
    /** The entry of a model, if there is one. */
    static async find(model) {
        const root = await openRoot();
        const folder = await root?.getDirectoryHandle(await key(model)).catch(() => undefined);
        const meta = folder === undefined ? undefined : await readMeta(folder);
        return folder !== undefined && meta !== undefined ? new CacheEntry(folder, meta) : undefined;
    }
    /** A new entry, in the place of another of the same model. Undefined without a cache. */
    static async create(model, { place, files }) {
        const root = await openRoot();
        if (root === undefined)
            return undefined;
        const name = await key(model);
        await root.removeEntry(name, { recursive: true }).catch(() => undefined);
        try {
            const meta = { model, place, files, complete: false };
            const entry = new CacheEntry(await root.getDirectoryHandle(name, { create: true }), meta);
            await entry.#writeMeta(meta);
            return entry;
        }
        catch {
            return undefined;
        }
    }
    /** Whether it is of these very files. */
    holds(resolved) {
        return JSON.stringify(this.meta.files) === JSON.stringify(resolved.files);
    }
    /** The stores of all files, which know the chunks that are there. */
    async stores() {
        const sizes = new Map();
        for await (const [name, handle] of this.#folder.entries()) {
            if (handle.kind === 'file')
                sizes.set(name, (await handle.getFile()).size);
        }
        return this.meta.files.map((file, i) => new FileStore(this.#folder, i, file, sizes));
    }
    /** Says that all of it is there. */
    complete() {
        return this.#writeMeta({ ...this.meta, complete: true });
    }
    async #writeMeta(meta) {
        await writeWhole(this.#folder, META, new TextEncoder().encode(JSON.stringify(meta)));
    }
}
/** A file's chunks in the cache. What does not fit is kept in memory for a while instead. */
export class FileStore {
    #folder;
    #index;
    #there = new Set();
    #overflow;
    /** Bytes that are there. */
    bytes = 0;
    constructor(folder, index, file, sizes) {
        this.#folder = folder;
        this.#index = index;
        for (let n = 0; n * CHUNK < file.size; n++) {
            const length = Math.min(CHUNK, file.size - n * CHUNK);
            if (sizes.get(this.#name(n)) !== length)
                continue;
            this.#there.add(n);
            this.bytes += length;
        }
    }
    /** Whether something did not fit. */
    get overflowed() {
        return this.#overflow !== undefined;
    }
    has(n) {
        return this.#there.has(n) || this.#overflow?.has(n) === true;
    }
    async get(n) {
        if (!this.#there.has(n))
            return this.#overflow?.get(n);
        try {
            const file = await (await this.#folder.getFileHandle(this.#name(n))).getFile();
            return await readBlob(this.#name(n), file, 0, file.size);
        }
        catch {
            // Removed by the visitor, or by the browser for want of space.
            this.#there.delete(n);
            return undefined;
        }
    }
    /** A piece of the file, if all of it is there. */
    async read(offset, length) {
        const out = new Uint8Array(length);
        for (let done = 0; done < length;) {
            const n = Math.floor((offset + done) / CHUNK);
            const from = offset + done - n * CHUNK;
            const part = (await this.get(n))?.subarray(from, from + length - done);
            if (part === undefined)
                return undefined;
            out.set(part, done);
            done += part.length;
        }
        return out;
    }
    async put(n, bytes) {
        try {
            await writeWhole(this.#folder, this.#name(n), bytes);
            this.#there.add(n);
        }
        catch {
            this.#overflow ??= new MemoryStore(2 * AHEAD);
            await this.#overflow.put(n, bytes);
        }
    }
    async clear() {
        for (const n of this.#there)
            await this.#folder.removeEntry(this.#name(n)).catch(() => undefined);
        this.#there.clear();
        await this.#overflow?.clear();
    }
    #name(n) {
        return `${this.#index}.${n}`;
    }
}
/** Every model in the cache. */
export async function listModels() {
    const found = [];
    for await (const [, folder] of (await openRoot())?.entries() ?? []) {
        if (folder.kind !== 'directory')
            continue;
        const entry = await readMeta(folder);
        if (entry === undefined)
            continue;
        let bytes = 0;
        for await (const [, file] of folder.entries()) {
            if (file.kind === 'file')
                bytes += (await file.getFile()).size;
        }
        found.push({ model: entry.model, bytes, complete: entry.complete });
    }
    return found;
}
/** Removes a model, as `listModels` names it or as it was given, from the cache: whether it was there. */
export async function removeModel(model) {
    const root = await openRoot();
    if (root === undefined || (await CacheEntry.find(model)) === undefined)
        return false;
    await root.removeEntry(await key(model), { recursive: true });
    return true;
}
/** Bytes that still fit, as far as the browser tells. */
export async function freeBytes() {
    const { quota, usage } = (await navigator.storage?.estimate?.().catch(() => undefined)) ?? {};
    return quota === undefined ? undefined : quota - (usage ?? 0);
}
/** Undefined where the browser has no such file system, or forbids it (private windows). */
async function openRoot() {
    try {
        const origin = await navigator.storage.getDirectory();
        return await origin.getDirectoryHandle(ROOT, { create: true });
    }
    catch {
        return undefined;
    }
}
async function key(model) {
    const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(model));
    return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
async function readMeta(folder) {
    try {
        return JSON.parse(await (await (await folder.getFileHandle(META)).getFile()).text());
    }
    catch {
        return undefined;
    }
}
/** Writes a file that appears when it is whole: the browser puts it in place when it is closed. */
async function writeWhole(folder, name, bytes) {
    const writable = await (await folder.getFileHandle(name, { create: true })).createWritable();
    try {
        await writable.write(bytes);
        await writable.close();
    }
    catch (thrown) {
        await writable.abort().catch(() => undefined);
        throw new Lfm2Error('read_failed', `the cache: ${String(thrown)}`, { cause: thrown });
    }
}
