import { Lfm2Error } from './errors.js';
import { CURE, packageFolder } from './place.js';
import type { InitInput } from './wasm/lfm2.js';

/** The bytes of a WebAssembly module. */
export type WasmBytes = Uint8Array<ArrayBuffer>;

/** A WebAssembly module of this package, which is loaded once. */
export class WasmModule {
  /** The module in errors. */
  readonly #name: string;
  /** Its path in the package. */
  readonly #path: string;
  /** Its URL beside the package's modules. */
  readonly #url: () => URL;
  readonly #init: (input: { module_or_path: InitInput | Promise<InitInput> }) => Promise<unknown>;
  #ready: Promise<void> | undefined;

  constructor(name: string, path: string, url: () => URL, init: (input: { module_or_path: InitInput | Promise<InitInput> }) => Promise<unknown>) {
    this.#name = name;
    this.#path = path;
    this.#url = url;
    this.#init = init;
  }

  /** Compiles the module, once: its `bytes`, or else those at its URL. */
  load(bytes?: () => Promise<WasmBytes>): Promise<void> {
    this.#ready ??= this.#start(bytes).catch((thrown: unknown) => {
      this.#ready = undefined;
      throw thrown;
    });
    return this.#ready;
  }

  async #start(bytes: (() => Promise<WasmBytes>) | undefined): Promise<void> {
    if (bytes !== undefined) return void (await this.#init({ module_or_path: await bytes() }));
    const folder = packageFolder();
    const url = folder ? new URL(this.#path, folder) : this.#url();
    const wrong = (code: 'network' | 'wrong_content', problem: string, cause?: unknown) =>
      new Lfm2Error(code, `${this.#name} did not load: ${url.href}: ${problem}`, { cause });
    const response = await fetch(url).catch((thrown: unknown) => {
      throw wrong('network', String(thrown), thrown);
    });
    if (!response.ok) throw wrong('network', `the server answered ${response.status}; ${CURE}`);
    if (response.headers.get('content-type')?.startsWith('text/html')) {
      throw wrong('wrong_content', `the server sent a page (text/html) instead; ${CURE}`);
    }
    try {
      await this.#init({ module_or_path: response });
    } catch (thrown) {
      // A TypeError is a broken connection; code that the browser refuses to compile is not a TypeError.
      throw thrown instanceof TypeError ? wrong('network', thrown.message, thrown) : thrown;
    }
  }
}
