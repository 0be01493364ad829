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
  const stop = () => remote.abort();
  signal?.addEventListener('abort', stop);
  try {
    return {
      info: await remote.call('load', rest),
      answerer: remote,
      counters: () => remote.call('counters', undefined),
      destroy: () => remote.destroy(),
    };
  } catch (thrown) {
    remote.end(thrown);
    throw signal?.aborted ? aborted(signal) : thrown;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

interface Pending {
  resolve: (result: never) => void;
  reject: (thrown: unknown) => void;
  onPiece: ((piece: string) => Promise<boolean>) | undefined;
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
        const goOn = pending?.onPiece?.(data.piece) ?? Promise.resolve(false);
        void goOn.then((goOn) => this.#send({ call: 'taken', id: data.id, goOn }));
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

  call<K extends keyof Calls>(
    call: K,
    argument: Calls[K]['argument'],
    onPiece?: (piece: string) => Promise<boolean>,
  ): Promise<Calls[K]['result']> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) return reject(this.#over);
      const id = this.#next++;
      this.#pending.set(id, { resolve, reject, onPiece });
      this.#send({ call, id, argument } as ToWorker);
    });
  }

  check(request: string): Promise<void> {
    return this.call('check', request);
  }

  answer(request: string, onPiece: (piece: string) => Promise<boolean>): Promise<Summary> {
    return this.call('answer', request, onPiece);
  }

  abort(): void {
    this.#send({ call: 'abort' });
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
