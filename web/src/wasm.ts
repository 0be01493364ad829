import { Lfm2Error } from './errors.js';
import init from './wasm/lfm2.js';

/** Fetches and compiles the engine, once. */
export async function initWasm(): Promise<void> {
  try {
    await init();
  } catch (thrown) {
    // As `fetch` throws where there is no network. What the browser refuses to compile is no TypeError.
    if (!(thrown instanceof TypeError)) throw thrown;
    throw new Lfm2Error('network', `the engine's wasm did not come: ${thrown.message}`, { cause: thrown });
  }
}
