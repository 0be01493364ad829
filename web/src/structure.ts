/**
 * The library that parses grammars, llguidance: a WebAssembly module of its own (web/structure), which is loaded when the
 * first answer of a given form is asked for. The engine's module calls the classes here (web/wasm/src/structure.rs).
 */
import { WasmModule } from './wasm-module.js';
import type { WasmBytes } from './wasm-module.js';
import init, { Parser, Vocabulary, __wbg_reset_state } from './wasm/structure.js';

const module = new WasmModule(
  'the wasm for answers of a given form',
  'wasm/structure_bg.wasm',
  // Bundlers look for this expression.
  () => new URL('./wasm/structure_bg.wasm', import.meta.url),
  init,
);

let bytes: (() => Promise<WasmBytes>) | undefined;

/** Reads the module's bytes where `fetch` cannot. */
export function provideStructure(read: () => Promise<WasmBytes>): void {
  bytes = read;
}

/** Loads the module, once. */
export async function loadStructure(): Promise<StructureLibrary> {
  await module.load(bytes);
  return new StructureLibrary();
}

/** Number of times that the module had to start again. Objects of earlier times are lost. */
let restarts = 0;
const LOST = 'the library that parses grammars had to start again';

/** The result of a call. The library throws strings; anything else is a trap, after which its state is unknown. */
function guarded<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    if (typeof thrown === 'string') throw thrown;
    restarts += 1;
    __wbg_reset_state();
    throw `the library that parses grammars failed: ${String(thrown)}`;
  }
}

/** The loaded module. */
export class StructureLibrary {
  /** The arguments are views of the engine's memory, which moves. */
  vocabulary(bytes: Uint8Array, lengths: Uint32Array, ends: Uint32Array): KeptVocabulary {
    return new KeptVocabulary(bytes.slice(), lengths.slice(), ends.slice());
  }
}

/** A vocabulary, made again after a restart. */
class KeptVocabulary {
  readonly #words: [Uint8Array, Uint32Array, Uint32Array];
  #made: Vocabulary;
  #restarts: number;

  constructor(...words: [Uint8Array, Uint32Array, Uint32Array]) {
    this.#words = words;
    this.#made = guarded(() => new Vocabulary(...words));
    this.#restarts = restarts;
  }

  compile(sources: string): KeptParser {
    if (this.#restarts !== restarts) {
      this.#made = guarded(() => new Vocabulary(...this.#words));
      this.#restarts = restarts;
    }
    return new KeptParser(guarded(() => this.#made.compile(sources)));
  }

  free(): void {
    if (this.#restarts === restarts) this.#made.free();
  }
}

/** Follows one answer. After a restart it fails. */
class KeptParser {
  readonly #parser: Parser | undefined;
  readonly #restarts = restarts;

  constructor(parser: Parser | undefined) {
    this.#parser = parser;
  }

  #current(): Parser {
    if (this.#parser === undefined || this.#restarts !== restarts) throw LOST;
    return this.#parser;
  }

  /** The result of a call, or `lost`. */
  #or<T>(lost: T, call: (parser: Parser) => T): T {
    try {
      return guarded(() => call(this.#current()));
    } catch {
      return lost;
    }
  }

  copy(): KeptParser {
    return new KeptParser(this.#or<Parser | undefined>(undefined, (parser) => parser.copy()));
  }

  next(ends: Uint32Array): Uint32Array {
    return guarded(() => this.#current().next(ends));
  }

  get complete(): boolean {
    return this.#or(false, (parser) => parser.complete);
  }

  take(token: number): void {
    guarded(() => this.#current().take(token));
  }

  takeForced(): Uint8Array {
    return this.#or(new Uint8Array(), (parser) => parser.takeForced());
  }

  valid(tokens: Uint32Array): number {
    return this.#or(0, (parser) => parser.valid(tokens));
  }

  free(): void {
    if (this.#restarts === restarts) this.#parser?.free();
  }
}
