import { Lfm2Error } from './errors.js';
import { CURE, packageFolder } from './place.js';
import init from './wasm/lfm2.js';

let ready: Promise<void> | undefined;

/** Compiles the engine, once: its `bytes`, or else those beside this module, which it fetches. */
export function initWasm(bytes?: Uint8Array<ArrayBuffer>): Promise<void> {
  ready ??= start(bytes).catch((thrown: unknown) => {
    ready = undefined;
    throw thrown;
  });
  return ready;
}

async function start(bytes: Uint8Array<ArrayBuffer> | undefined): Promise<void> {
  if (bytes !== undefined) return void (await init({ module_or_path: bytes }));
  const folder = packageFolder();
  const url = folder ? new URL('wasm/lfm2_bg.wasm', folder) : new URL('./wasm/lfm2_bg.wasm', import.meta.url);
  const wrong = (code: 'network' | 'wrong_content', problem: string, cause?: unknown) =>
    new Lfm2Error(code, `the engine's wasm did not load: ${url.href}: ${problem}`, { cause });
  const response = await fetch(url).catch((thrown: unknown) => {
    throw wrong('network', String(thrown), thrown);
  });
  if (!response.ok) throw wrong('network', `the server answered ${response.status}; ${CURE}`);
  if (response.headers.get('content-type')?.startsWith('text/html')) {
    throw wrong('wrong_content', `the server sent a page (text/html) instead; ${CURE}`);
  }
  try {
    await init({ module_or_path: response });
  } catch (thrown) {
    // A TypeError is a broken connection; code that the browser refuses to compile is not a TypeError.
    throw thrown instanceof TypeError ? wrong('network', thrown.message, thrown) : thrown;
  }
}
