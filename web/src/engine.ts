import { Completions } from './chat.js';
import type { Answerer, Summary } from './chat.js';
import { Lfm2Error, checkAborted, toLfm2Error } from './errors.js';
import { describeGpu, gpuName, withDevice } from './gpu.js';
import type { ModelFile, OpenModel } from './loader/files.js';
import { asBlobs, openModel, raceAbort } from './loader/open.js';
import type { Model } from './loader/open.js';
import { Reporter } from './progress.js';
import type { Counters, Engine, EngineInfo, EngineOptions } from './types.js';
import init, { HostDevice, Sha256, WebEngine } from './wasm/lfm2.js';

/** Loads a model onto the visitor's GPU, in this thread. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  return new LocalEngine(await load(options));
}

/** A model on the GPU, for an engine in this thread or the page's side of one. */
export interface Loaded {
  info: EngineInfo;
  answerer: Answerer;
  counters(): Counters;
  destroy(): void;
}

/** Does what `createEngine` says, up to the API. */
export async function load(options: EngineOptions): Promise<Loaded> {
  const { signal } = options;
  const reporter = new Reporter(options.onProgress);
  let model: OpenModel | undefined;
  let engine: WebEngine | undefined;
  let gpu: string;
  const destroy = () => {
    engine?.destroy();
    engine?.free();
    engine = undefined;
  };
  const free = (late: WebEngine) => ((engine = late), destroy());
  // The first failure of a read says more than what the engine makes of it.
  const reads = { failure: undefined as unknown };
  try {
    checkAborted(signal);
    gpu = options.device ? gpuName(options.device.adapterInfo) : (await describeGpu()).name;
    await init();
    model = await openModel(options, signal, () => new Sha256(), reporter);
    const { fromCache } = model;
    if (fromCache) reporter.skip('download', 'verify');
    const total = model.files.reduce((sum, file) => sum + file.size, 0);
    const onWeights = (loaded: number, total: number) => {
      reporter.report({ phase: 'upload', loaded, total, fromCache });
      if (loaded === total) reporter.report({ phase: 'compile', loaded: 0, total: 0, fromCache });
      return signal?.aborted !== true;
    };
    const files = model.files.map((file) => watched(file, signal, reads));
    const host = options.device && withDevice(options.device, () => new HostDevice());
    const loading = WebEngine.load(model.place, files, options.contextLength, onWeights, host);
    engine = await raceAbort(loading, signal, free);
    if (!fromCache) reporter.report({ phase: 'verify', loaded: 0, total, fromCache });
    await raceAbort(model.finish(), signal, () => undefined);
    if (!fromCache) reporter.report({ phase: 'verify', loaded: total, total, fromCache });
    reporter.report({ phase: 'warmup', loaded: 0, total: 0, fromCache });
    await warmUp(engine, signal);
    reporter.report({ phase: 'ready', loaded: total, total, fromCache });
  } catch (thrown) {
    await model?.close();
    destroy();
    throw toLfm2Error(signal?.aborted ? thrown : (reads.failure ?? thrown));
  }
  return loaded(engine, modelName(options.model), gpu);
}

/** A warm-up that is stopped ends when its device has gone. */
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

/** What the caller gave as the model, to show. */
function modelName(model: Model): string {
  return asBlobs(model)?.map((blob) => (blob instanceof File ? blob.name : 'file'))[0] ?? String(model);
}

/** A file as the engine reads it: a read can be stopped, and what it fails with is kept. */
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

/** The engine's answers, in this thread. */
function loaded(engine: WebEngine, model: string, gpu: string): Loaded {
  return {
    info: { model, gpu, ...JSON.parse(engine.info()) },
    answerer: {
      check: async (request) => {
        try {
          engine.check(request);
        } catch (thrown) {
          throw toLfm2Error(thrown);
        }
      },
      answer: async (request, onText) => JSON.parse(await engine.chat(request, onText)) as Summary,
    },
    counters: () => JSON.parse(engine.counters()),
    destroy: () => {
      engine.destroy();
      engine.free();
    },
  };
}

class LocalEngine implements Engine {
  readonly info: EngineInfo;
  readonly chat: { readonly completions: Completions };
  readonly #loaded: Loaded;
  #disposal: Promise<void> | undefined;

  constructor(loaded: Loaded) {
    this.#loaded = loaded;
    this.info = loaded.info;
    this.chat = { completions: new Completions(loaded.answerer, loaded.info.model) };
  }

  async counters(): Promise<Counters> {
    if (this.#disposal) throw new Lfm2Error('disposed', 'the engine has been disposed of');
    return this.#loaded.counters();
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.chat.completions.dispose().then(() => this.#loaded.destroy());
    return this.#disposal;
  }
}
