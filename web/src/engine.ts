import type { Answerer, Summary } from './chat.js';
import { checkAborted, toLfm2Error } from './errors.js';
import { describeGpu, gpuName, withGpu } from './gpu.js';
import { openBlobs } from './loader/blobs.js';
import type { ModelFile, OpenModel } from './loader/files.js';
import { openModel, raceAbort } from './loader/open.js';
import { restoreState, saveState } from './loader/states.js';
import { ModelEngine } from './model-engine.js';
import type { Loaded } from './model-engine.js';
import { Reporter } from './progress.js';
import { loadStructure } from './structure.js';
import type { Engine, EngineInfo, EngineOptions } from './types.js';
import { initWasm } from './wasm.js';
import { Gpu, Sha256, WebEngine } from './wasm/lfm2.js';

/** Loads a model onto the visitor's GPU, in this thread. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  return ModelEngine.start(options, load);
}

/** Loads a model onto a device of this thread. */
export async function load(options: EngineOptions): Promise<Loaded> {
  const { signal } = options;
  const reporter = new Reporter(options.onProgress);
  let model: OpenModel | undefined;
  let engine: WebEngine | undefined;
  let gpu: string;
  let cached: boolean;
  const destroy = () => {
    engine?.destroy();
    engine?.free();
    engine = undefined;
  };
  const free = (late: WebEngine) => ((engine = late), destroy());
  // The first failure of a read says more than the engine's error about it.
  const reads = { failure: undefined as unknown };
  try {
    checkAborted(signal);
    gpu = options.device ? gpuName(options.device.adapterInfo) : (await describeGpu()).name;
    await initWasm();
    model = await openModel(options, signal, () => new Sha256(), reporter);
    const { fromCache } = model;
    if (fromCache) reporter.skip('download', 'verify');
    const total = model.files.reduce((sum, file) => sum + file.size, 0);
    const onProgress = (phase: 'compile' | 'upload', loaded: number, total: number) => {
      reporter.report({ phase, loaded, total, fromCache });
      return signal?.aborted !== true;
    };
    const files = model.files.map((file) => watched(file, signal, reads));
    const own = options.device === undefined;
    const from = withGpu(options.device, () => new Gpu());
    const { contextLength, parallel, chatTemplate, activations } = options;
    const loading = WebEngine.load(
      model.place, files, contextLength, parallel, chatTemplate, activations, onProgress, from, own,
    );
    engine = await raceAbort(loading, signal, free);
    if (!fromCache) reporter.report({ phase: 'verify', loaded: 0, total, fromCache });
    cached = await raceAbort(model.finish(), signal, () => undefined);
    if (!fromCache) reporter.report({ phase: 'verify', loaded: total, total, fromCache });
    reporter.report({ phase: 'warmup', loaded: 0, total: 0, fromCache });
    await warmUp(engine, signal);
    reporter.report({ phase: 'ready', loaded: total, total, fromCache });
  } catch (thrown) {
    await model?.close();
    destroy();
    throw toLfm2Error(signal?.aborted ? thrown : (reads.failure ?? thrown));
  }
  return loaded(engine, { gpu, cached });
}

/** Runs the warm-up. A cancelled warm-up ends when its device is destroyed. */
async function warmUp(engine: WebEngine, signal: AbortSignal | undefined): Promise<void> {
  const warming = engine.warmUp();
  try {
    await raceAbort(warming, signal, () => undefined);
  } catch (thrown) {
    engine.destroy();
    await warming.catch(() => undefined);
    throw thrown;
  }
}

/** The file with cancellable reads, whose first failure is kept in `reads`. */
function watched(file: ModelFile, signal: AbortSignal | undefined, reads: { failure: unknown }): ModelFile {
  const { name, size } = file;
  const read = async (offset: number, length: number) => {
    try {
      checkAborted(signal);
      return await file.read(offset, length);
    } catch (thrown) {
      reads.failure ??= thrown;
      throw thrown;
    }
  };
  return { name, size, read };
}

/** A loaded engine of this thread. */
function loaded(engine: WebEngine, about: Pick<EngineInfo, 'gpu' | 'cached'>): Loaded {
  return {
    info: { ...about, ...JSON.parse(engine.info()) },
    answerer: {
      check: (request) =>
        typed(async () => {
          await loadRules(engine, request);
          engine.check(request);
        }),
      answer: (request, onPiece, signal) => answer(engine, request, onPiece, signal),
    },
    save: (request, name) => saveState(engine, request, name),
    restore: (name) => restoreState(engine, name),
    counters: async () => JSON.parse(engine.counters()),
    loadLora: ({ name, files, scale }) => typed(async () => engine.loadLora(name, openBlobs(files).files as ModelFile[], scale)),
    unloadLora: (name) => typed(async () => engine.unloadLora(name)),
    loras: async () => JSON.parse(engine.loras()),
    destroy: async () => {
      engine.destroy();
      engine.free();
    },
  };
}

/** Loads the library that parses grammars, if the request needs it and the engine has none. */
async function loadRules(engine: WebEngine, request: string): Promise<void> {
  if (engine.needsStructure(request)) engine.useStructure(await loadStructure());
}

/** The result of a call; its failure has the package's type. */
async function typed<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (thrown) {
    throw toLfm2Error(thrown);
  }
}

async function answer(engine: WebEngine, ...[request, onPiece, signal]: Parameters<Answerer['answer']>): Promise<Summary> {
  let end = () => {};
  // It must settle in any case: the engine keeps its handlers until then.
  const stop = new Promise<void>((resolve) => (end = resolve));
  signal.addEventListener('abort', end);
  if (signal.aborted) end();
  const onJson = async (piece: string) => {
    await onPiece(piece);
    return !signal.aborted;
  };
  try {
    await loadRules(engine, request);
    return JSON.parse(await engine.chat(request, onJson, stop)) as Summary;
  } finally {
    end();
  }
}
