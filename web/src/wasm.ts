import { WasmModule } from './wasm-module.js';
import type { WasmBytes } from './wasm-module.js';
import init from './wasm/lfm2.js';

const engine = new WasmModule(
  "the engine's wasm",
  'wasm/lfm2_bg.wasm',
  // Bundlers look for this expression.
  () => new URL('./wasm/lfm2_bg.wasm', import.meta.url),
  init,
);

/** Compiles the engine, once: its `bytes`, or else those beside this module, which it fetches. */
export function initWasm(bytes?: () => Promise<WasmBytes>): Promise<void> {
  return engine.load(bytes);
}
