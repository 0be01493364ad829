/* tslint:disable */
/* eslint-disable */

/**
 * An incremental SHA-256.
 */
export class Sha256 {
    free(): void;
    [Symbol.dispose](): void;
    /**
     * The hash of all bytes in hexadecimal. It cannot be used any more.
     */
    finish(): string;
    constructor();
    update(bytes: Uint8Array | number[]): void;
}

/**
 * A model on the browser's GPU, with one sequence that goes on from turn to turn.
 */
export class WebEngine {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Answers a request of the chat API. `on_text` gets the text that is certain after each step,
     * often empty, and gives (or promises) whether to go on. Gives the summary as JSON.
     */
    chat(request: string, on_text: Function): Promise<string>;
    /**
     * Throws what is wrong with a request of the chat API.
     */
    check(request: string): void;
    /**
     * What has been asked of the GPU so far, as JSON.
     */
    counters(): string;
    /**
     * Destroys the device: all that is on the GPU is gone at once.
     */
    destroy(): void;
    /**
     * What was loaded, as JSON.
     */
    info(): string;
    /**
     * Loads the model that `files` are: `{name, size, read(offset, length): Promise<Uint8Array>}`.
     * `on_progress` gets the bytes of the weights that are on the GPU and those in all, and says
     * whether to go on.
     */
    static load(place: string, files: Array<any>, context_length: number | null | undefined, on_progress: Function): Promise<WebEngine>;
    /**
     * Runs every kernel once, and begins the sequence.
     */
    warmUp(): Promise<void>;
}

/**
 * What a model would take on the browser's GPU, as JSON, or an error that says why it cannot run.
 * Reads all of its files but the weights.
 */
export function inspect(place: string, files: Array<any>, context_length?: number | null): Promise<string>;

/**
 * Tells the console where a defect is, before it ends this module.
 */
export function start(): void;

export type InitInput = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

export interface InitOutput {
    readonly memory: WebAssembly.Memory;
    readonly __wbg_sha256_free: (a: number, b: number) => void;
    readonly __wbg_webengine_free: (a: number, b: number) => void;
    readonly inspect: (a: number, b: number, c: any, d: number) => any;
    readonly sha256_finish: (a: number) => [number, number];
    readonly sha256_new: () => number;
    readonly sha256_update: (a: number, b: number, c: number) => void;
    readonly start: () => void;
    readonly webengine_chat: (a: number, b: number, c: number, d: any) => any;
    readonly webengine_check: (a: number, b: number, c: number) => [number, number];
    readonly webengine_counters: (a: number) => [number, number];
    readonly webengine_destroy: (a: number) => void;
    readonly webengine_info: (a: number) => [number, number];
    readonly webengine_load: (a: number, b: number, c: any, d: number, e: any) => any;
    readonly webengine_warmUp: (a: number) => any;
    readonly wasm_bindgen__convert__closures_____invoke__h087f69242a52603f: (a: number, b: number, c: any) => [number, number];
    readonly wasm_bindgen__convert__closures_____invoke__h087f69242a52603f_14: (a: number, b: number, c: any) => [number, number];
    readonly wasm_bindgen__convert__closures_____invoke__h087f69242a52603f_17: (a: number, b: number, c: any) => [number, number];
    readonly wasm_bindgen__convert__closures_____invoke__h087f69242a52603f_18: (a: number, b: number, c: any) => [number, number];
    readonly wasm_bindgen__convert__closures_____invoke__h7a0ccd756bc1df24: (a: number, b: number, c: any, d: any) => void;
    readonly wasm_bindgen__convert__closures_____invoke__hc537ba7f8c3775e9: (a: number, b: number, c: any) => void;
    readonly wasm_bindgen__convert__closures_____invoke__hc537ba7f8c3775e9_16: (a: number, b: number, c: any) => void;
    readonly __wbindgen_malloc: (a: number, b: number) => number;
    readonly __wbindgen_realloc: (a: number, b: number, c: number, d: number) => number;
    readonly __wbindgen_free: (a: number, b: number, c: number) => void;
    readonly __wbindgen_exn_store: (a: number) => void;
    readonly __externref_table_alloc: () => number;
    readonly __wbindgen_externrefs: WebAssembly.Table;
    readonly __wbindgen_destroy_closure: (a: number, b: number) => void;
    readonly __externref_table_dealloc: (a: number) => void;
    readonly __wbindgen_start: () => void;
}

export type SyncInitInput = BufferSource | WebAssembly.Module;

/**
 * Instantiates the given `module`, which can either be bytes or
 * a precompiled `WebAssembly.Module`.
 *
 * @param {{ module: SyncInitInput }} module - Passing `SyncInitInput` directly is deprecated.
 *
 * @returns {InitOutput}
 */
export function initSync(module: { module: SyncInitInput } | SyncInitInput): InitOutput;

/**
 * If `module_or_path` is {RequestInfo} or {URL}, makes a request and
 * for everything else, calls `WebAssembly.instantiate` directly.
 *
 * @param {{ module_or_path: InitInput | Promise<InitInput> }} module_or_path - Passing `InitInput` directly is deprecated.
 *
 * @returns {Promise<InitOutput>}
 */
export default function __wbg_init (module_or_path?: { module_or_path: InitInput | Promise<InitInput> } | InitInput | Promise<InitInput>): Promise<InitOutput>;
