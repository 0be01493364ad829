/**
 * The package in Node, where WebGPU is Dawn: the npm package `webgpu`, an optional peer dependency. `package.json`
 * gives this module to Node, and index.ts to all others.
 *
 * Changes to the global object, all at the first use: WebGPU's classes (`GPUDevice`, ...), where they are
 * missing. While wgpu looks for `navigator.gpu`, gpu.ts also shows it a worker's global object.
 */
import { createEngine as create } from './engine.js';
import { Lfm2Error } from './errors.js';
import { provideGpu } from './gpu.js';
import { provideLocalFiles } from './loader/lora.js';
import { ggufParts } from './loader/name.js';
import type { Model } from './loader/open.js';
import { provideStates } from './loader/states.js';
import type { StateFiles } from './loader/states.js';
import { preflight as look } from './preflight.js';
import { provideStructure } from './structure.js';
import type { Engine, EngineOptions, ModelOptions, Preflight } from './types.js';
import { initWasm } from './wasm.js';

export * from './index.js';

/** The parts of Node's modules that are used here. */
interface NodeModules {
  'node:fs': { openAsBlob(path: string | URL): Promise<Blob> };
  'node:fs/promises': {
    readFile(path: string | URL): Promise<Uint8Array<ArrayBuffer>>;
    readdir(path: string, options: { withFileTypes: true }): Promise<{ name: string; isDirectory(): boolean }[]>;
    stat(path: string): Promise<{ isDirectory(): boolean }>;
    open(path: string, flags: 'w'): Promise<{ writeFile(bytes: Uint8Array): Promise<void>; close(): Promise<void> }>;
    rename(from: string, to: string): Promise<void>;
    rm(path: string): Promise<void>;
  };
  'node:path': { basename(path: string): string; join(...parts: string[]): string };
  'node:url': { fileURLToPath(url: string | URL): string };
  webgpu: { create(flags: string[]): GPU; globals: Record<string, unknown> };
}

// With a literal name bundlers for servers would look for `webgpu`, which need not be installed.
function load<Name extends keyof NodeModules>(name: Name): Promise<NodeModules[Name]> {
  return import(/* @vite-ignore */ /* webpackIgnore: true */ name) as Promise<NodeModules[Name]>;
}

/** As in a browser. `model` can also be a path or a `file:` URL of a GGUF file or of a folder. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  return create(await inNode(options));
}

/** As in a browser, with the same models as `createEngine`. */
export async function preflight(options: ModelOptions): Promise<Preflight> {
  return look(await inNode(options));
}

/** Node needs no worker: the GPU works while the program goes on. */
export async function createWorkerEngine(_: Omit<EngineOptions, 'device'>): Promise<Engine> {
  throw new Lfm2Error('invalid_request', 'createWorkerEngine works in browsers only; in Node, call createEngine');
}

let ready: Promise<void> | undefined;

async function inNode<Options extends ModelOptions>(options: Options): Promise<Options> {
  ready ??= prepare().catch((thrown: unknown) => {
    ready = undefined;
    throw thrown;
  });
  await ready;
  const files = await localFiles(options.model);
  return files === undefined ? options : { ...options, model: files };
}

async function prepare(): Promise<void> {
  if (globalThis.navigator?.gpu === undefined) {
    const { create, globals } = await load('webgpu').catch((thrown: unknown) => {
      throw new Lfm2Error('no_webgpu', `Node has no WebGPU; run: npm install webgpu (${String(thrown)})`, { cause: thrown });
    });
    for (const [name, value] of Object.entries(globals)) {
      if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
    provideGpu(create([]));
  }
  const { readFile } = await load('node:fs/promises');
  await initWasm(() => readFile(new URL('./wasm/lfm2_bg.wasm', import.meta.url)));
  provideStructure(() => readFile(new URL('./wasm/structure_bg.wasm', import.meta.url)));
  provideStates(STATES);
  provideLocalFiles(localFiles);
}

/** Saved states in files, whose names are paths. */
const STATES: StateFiles = {
  async open(path) {
    const { openAsBlob } = await load('node:fs');
    const { stat } = await load('node:fs/promises');
    return stat(path).then(() => openAsBlob(path), (thrown: unknown) => {
      if (!isMissing(thrown)) throw thrown;
      return undefined;
    });
  },
  async create(path) {
    const { open, rename, rm } = await load('node:fs/promises');
    const part = `${path}.part`;
    const file = await open(part, 'w');
    return {
      write: (bytes) => file.writeFile(bytes),
      close: async () => {
        await file.close();
        await rename(part, path);
      },
      abort: async () => {
        await file.close();
        await rm(part);
      },
    };
  },
};

function isMissing(thrown: unknown): boolean {
  return (thrown as { code?: unknown }).code === 'ENOENT';
}

/** The model's files if it is a path or a `file:` URL. Hub names and other URLs are none. */
async function localFiles(model: Model): Promise<File[] | undefined> {
  if (typeof model !== 'string' && !(model instanceof URL)) return undefined;
  const path = await localPath(model);
  if (path === undefined) return undefined;
  const { openAsBlob } = await load('node:fs');
  const { readdir, stat } = await load('node:fs/promises');
  const { basename, join } = await load('node:path');
  const open = async (path: string) => new File([await openAsBlob(path)], basename(path));
  try {
    if (!(await stat(path)).isDirectory()) return await Promise.all(ggufParts(path).map(open));
    const files = (await readdir(path, { withFileTypes: true })).filter((entry) => !entry.isDirectory());
    return await Promise.all(files.map(({ name }) => open(join(path, name))));
  } catch (thrown) {
    throw new Lfm2Error(isMissing(thrown) ? 'not_found' : 'read_failed', `model: ${String(thrown)}`, { cause: thrown });
  }
}

async function localPath(model: string | URL): Promise<string | undefined> {
  const text = String(model);
  if (/^file:/i.test(text)) return (await load('node:url')).fileURLToPath(text);
  // Other paths could be hub names.
  return /^(?:\.{0,2}[/\\]|[a-z]:[/\\])/i.test(text) ? text : undefined;
}
