import { Completions } from './chat.js';
import type { Answerer } from './chat.js';
import { Lfm2Error, checkAborted, toLfm2Error } from './errors.js';
import { Gate } from './gate.js';
import { asBlobs, raceAbort } from './loader/open.js';
import type { Model } from './loader/open.js';
import { openLora } from './loader/lora.js';
import { absolute } from './loader/resolve.js';
import type { ChatRequest, Counters, Engine, EngineInfo, EngineOptions, LoraInfo, LoraOptions, RecoverOptions } from './types.js';

/** A model on a device, in this thread or in a worker. */
export interface Loaded {
  info: Omit<EngineInfo, 'model'>;
  answerer: Answerer;
  /** As the methods of `Engine`; the request is JSON. */
  save(request: string, name: string): Promise<number>;
  restore(name: string): Promise<number>;
  counters(): Promise<Counters>;
  loadLora(lora: LoadedLora): Promise<void>;
  unloadLora(name: string): Promise<void>;
  loras(): Promise<LoraInfo[]>;
  /** Frees the GPU. No other method may be called afterwards. */
  destroy(): Promise<void>;
}

/** A LoRA adapter whose files were found. */
export interface LoadedLora {
  name: string;
  files: Blob[];
  scale: number;
}

/** Loads a model onto a device. */
export type Load = (options: EngineOptions) => Promise<Loaded>;

/** A model that survives the loss of its device. */
export class ModelEngine implements Engine {
  readonly chat: { readonly completions: Completions };
  /** A new device is loaded alone in it, everything else together. */
  readonly #gate = new Gate();
  readonly #disposed = new AbortController();
  readonly #load: Load;
  /** The options of the engine, without those of the first load only. */
  readonly #options: Omit<EngineOptions, 'signal' | 'onProgress'>;
  /** The adapters, by name: a new device needs them again. */
  readonly #loras = new Map<string, LoadedLora>();
  #info: EngineInfo;
  /** Absent during a recovery, and after a failed one. */
  #loaded: Loaded | undefined;
  #recovery: Promise<void> | undefined;
  #disposal: Promise<void> | undefined;

  private constructor(load: Load, options: EngineOptions, loaded: Loaded, name: string) {
    const { signal: _signal, onProgress: _onProgress, ...kept } = options;
    this.#load = load;
    this.#info = { model: name, ...loaded.info };
    // The next device keeps the context length, so that conversations still fit.
    this.#options = { ...kept, contextLength: loaded.info.contextLength };
    this.#loaded = loaded;
    const answerer: Answerer = {
      // It may wait for a download, for which dispose does not wait.
      check: (request) =>
        this.#gate.together(() => raceAbort(this.#check(request), this.#disposed.signal, () => undefined)),
      answer: async (request, onPiece, signal) => this.#current().answerer.answer(request, onPiece, signal),
    };
    this.chat = { completions: new Completions(answerer, name, this.#gate, this.#disposed.signal) };
  }

  /** Loads a model for the first time. */
  static async start(options: EngineOptions, load: Load): Promise<ModelEngine> {
    checkAborted(options.signal);
    // The page's URL may change, and an iterable of files may be consumed by its first use.
    const model = asBlobs(options.model) ?? absolute(options.model as string | URL);
    const pinned = { ...options, model };
    return new ModelEngine(load, pinned, await load(pinned), nameOf(model, options.model));
  }

  get info(): EngineInfo {
    return this.#info;
  }

  async counters(): Promise<Counters> {
    this.#checkDisposed();
    return this.#current().counters();
  }

  async save(request: ChatRequest, name: string): Promise<number> {
    this.#checkDisposed();
    const json = JSON.stringify(request);
    return this.#gate.together(async () => this.#current().save(json, name));
  }

  async restore(name: string): Promise<number> {
    this.#checkDisposed();
    return this.#gate.together(async () => this.#current().restore(name));
  }

  async loadLora({ name, lora, scale = 1, signal }: LoraOptions): Promise<void> {
    this.#checkDisposed();
    checkAborted(signal);
    const stop = AbortSignal.any([this.#disposed.signal, ...(signal ? [signal] : [])]);
    const loaded = { name, files: await openLora(lora, this.#options.hub ?? {}, stop), scale };
    await this.#gate.together(() => this.#current().loadLora(loaded));
    this.#loras.set(name, loaded);
  }

  async unloadLora(name: string): Promise<void> {
    this.#checkDisposed();
    await this.#gate.together(async () => this.#current().unloadLora(name));
    this.#loras.delete(name);
  }

  async loras(): Promise<LoraInfo[]> {
    this.#checkDisposed();
    return this.#gate.together(async () => this.#current().loras());
  }

  recover(options: RecoverOptions = {}): Promise<void> {
    this.#recovery ??= this.#recover(options).finally(() => (this.#recovery = undefined));
    return this.#recovery;
  }

  dispose(): Promise<void> {
    this.#disposed.abort();
    this.#disposal ??= this.#gate.alone(async () => this.#loaded?.destroy());
    return this.#disposal;
  }

  async #recover({ device, signal, onProgress }: RecoverOptions): Promise<void> {
    this.#checkDisposed();
    if ((device === undefined) !== (this.#options.device === undefined)) {
      const problem = device === undefined ? 'device: is missing; the engine runs on the page\'s own device' : 'device: is not allowed; the engine requests its own device';
      throw new Lfm2Error('invalid_request', `recover: ${problem}`);
    }
    checkAborted(signal);
    const turn = this.#gate.alone(async () => {
      const old = this.#loaded;
      this.#loaded = undefined;
      await old?.destroy();
      const stop = AbortSignal.any([this.#disposed.signal, ...(signal ? [signal] : [])]);
      const how = { signal: stop, ...(onProgress ? { onProgress } : {}), ...(device ? { device } : {}) };
      try {
        this.#loaded = await this.#load({ ...this.#options, ...how });
        for (const lora of this.#loras.values()) await this.#loaded.loadLora(lora);
      } catch (thrown) {
        this.#checkDisposed();
        throw toLfm2Error(thrown);
      }
      this.#info = { model: this.#info.model, ...this.#loaded.info };
    });
    this.chat.completions.runAhead();
    await raceAbort(turn, signal, () => undefined);
  }

  async #check(request: string): Promise<void> {
    await this.#current().answerer.check(request);
  }

  #current(): Loaded {
    if (this.#loaded === undefined) {
      throw new Lfm2Error('device_lost', 'the engine has no device until recover() has succeeded');
    }
    return this.#loaded;
  }

  #checkDisposed(): void {
    if (this.#disposal) throw new Lfm2Error('disposed', 'the engine was disposed');
  }
}

/** The caller's model, as a name to show. */
function nameOf(model: Blob[] | string, given: Model): string {
  if (typeof model === 'string') return String(given);
  const [first] = model;
  return first instanceof File ? first.name : 'file';
}
