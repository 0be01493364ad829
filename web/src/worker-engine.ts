import type { Answerer, Summary } from './chat.js';
import { Lfm2Error, aborted, checkAborted } from './errors.js';
import { ModelEngine } from './model-engine.js';
import { CURE, packageFolder } from './place.js';
import type { Loaded } from './model-engine.js';
import type { Engine, EngineOptions } from './types.js';
import type { Calls, FromWorker, ToWorker } from './worker-messages.js';

/** Like `createEngine`, but in its own worker, so that the page stays responsive. */
export async function createWorkerEngine(options: Omit<EngineOptions, 'device'>): Promise<Engine> {
  if ('device' in options) throw new Lfm2Error('invalid_request', 'device: a worker cannot use the page\'s device');
  return ModelEngine.start(options, loadInWorker);
}

/** Loads a model onto a device in a new worker. */
async function loadInWorker(options: EngineOptions): Promise<Loaded> {
  const { signal, onProgress, ...rest } = options;
  checkAborted(signal);
  const remote = new Remote(onProgress);
  try {
    return {
      info: await remote.call('load', rest, { signal }),
      answerer: remote,
      save: (request, name) => remote.call('save', { request, name }),
      restore: (name) => remote.call('restore', name),
      counters: () => remote.call('counters', undefined),
      loadLora: (lora) => remote.call('loadLora', lora),
      unloadLora: (name) => remote.call('unloadLora', name),
      loras: () => remote.call('loras', undefined),
      destroy: () => remote.destroy(),
    };
  } catch (thrown) {
    remote.end(thrown);
    throw signal?.aborted ? aborted(signal) : thrown;
  }
}

interface CallOptions {
  /** Stops the call. */
  signal?: AbortSignal | undefined;
  onPiece?: (piece: string) => Promise<void>;
}

interface Pending extends Pick<CallOptions, 'onPiece'> {
  resolve: (result: never) => void;
  reject: (thrown: unknown) => void;
}

function startWorker(): Worker {
  const folder = packageFolder();
  if (folder) return new Worker(new URL('worker.js', folder), { type: 'module' });
  // Bundlers recognise a worker by exactly this expression.
  return new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
}

/** Calls to the worker and their replies. */
class Remote implements Answerer {
  readonly #worker = startWorker();
  readonly #pending = new Map<number, Pending>();
  #next = 0;
  /** Why no more calls are possible. */
  #over: unknown;

  constructor(onProgress: EngineOptions['onProgress']) {
    this.#worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
      if (data.tell === 'progress') {
        onProgress?.(data.progress);
        return;
      }
      const pending = this.#pending.get(data.id);
      if (data.tell === 'piece') {
        const { id } = data;
        void pending?.onPiece?.(data.piece).then(() => this.#send({ call: 'taken', id }));
        return;
      }
      this.#pending.delete(data.id);
      if (data.tell === 'reply') pending?.resolve(data.result as never);
      else pending?.reject(new Lfm2Error(data.code, data.message));
    });
    this.#worker.addEventListener('error', (event) => {
      // The event has no message if the script did not load.
      const [code, problem] = event.message ? (['internal', event.message] as const) : (['network', `its script did not load; ${CURE}`] as const);
      this.end(new Lfm2Error(code, `the worker failed: ${problem}`));
    });
  }

  async call<K extends keyof Calls>(
    call: K,
    argument: Calls[K]['argument'],
    { signal, ...options }: CallOptions = {},
  ): Promise<Calls[K]['result']> {
    if (this.#over !== undefined) throw this.#over;
    const id = this.#next++;
    const stop = () => this.#send({ call: 'stop', id });
    signal?.addEventListener('abort', stop);
    try {
      return await new Promise<Calls[K]['result']>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject, ...options });
        this.#send({ call, id, argument } as ToWorker);
        if (signal?.aborted) stop();
      });
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  check(request: string): Promise<void> {
    return this.call('check', request);
  }

  answer(request: string, onPiece: (piece: string) => Promise<void>, signal: AbortSignal): Promise<Summary> {
    return this.call('answer', request, { onPiece, signal });
  }

  /** Ends the worker after it has freed the GPU. A failed worker frees the GPU by ending. */
  async destroy(): Promise<void> {
    await this.call('dispose', undefined).catch(() => undefined);
    this.end(new Lfm2Error('disposed', 'the engine was disposed'));
  }

  /** Ends the worker; pending calls fail with `reason`. */
  end(reason: unknown): void {
    this.#over ??= reason;
    this.#worker.terminate();
    for (const pending of this.#pending.values()) pending.reject(reason);
    this.#pending.clear();
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }
}
