// The worker's side of `createWorkerEngine`.
import { toLfm2Error } from './errors.js';
import { load } from './engine.js';
import type { Loaded } from './model-engine.js';
import type { Progress } from './types.js';
import type { Calls, FromWorker, ToWorker } from './worker-messages.js';

const tell = (message: FromWorker) => postMessage(message);
/** Stop the calls that run, by id. */
const stops = new Map<number, AbortController>();
/** Called when an answer's piece was taken, by the answer's id. */
const taken = new Map<number, () => void>();
let loaded: Loaded | undefined;

function engine(): Loaded {
  if (loaded === undefined) throw new Error('the worker has no engine');
  return loaded;
}

type Handler<K extends keyof Calls> = (argument: Calls[K]['argument'], signal: AbortSignal, id: number) => Promise<Calls[K]['result']>;

const calls: { [K in keyof Calls]: Handler<K> } = {
  async load(options, signal) {
    const onProgress = (progress: Progress) => tell({ tell: 'progress', progress });
    loaded = await load({ ...options, signal, onProgress });
    return loaded.info;
  },
  check: (request) => engine().answerer.check(request),
  answer: (request, signal, id) => {
    const onPiece = (piece: string) => {
      tell({ tell: 'piece', id, piece });
      return new Promise<void>((resolve) => taken.set(id, resolve));
    };
    return engine().answerer.answer(request, onPiece, signal);
  },
  save: ({ request, name }) => engine().save(request, name),
  restore: (name) => engine().restore(name),
  counters: async () => engine().counters(),
  loadLora: (lora) => engine().loadLora(lora),
  unloadLora: (name) => engine().unloadLora(name),
  loras: () => engine().loras(),
  async dispose() {
    await loaded?.destroy();
    loaded = undefined;
  },
};

async function answerCall<K extends keyof Calls>(call: K, id: number, argument: Calls[K]['argument']) {
  const stop = new AbortController();
  stops.set(id, stop);
  try {
    tell({ tell: 'reply', id, result: await calls[call](argument, stop.signal, id) });
  } catch (thrown) {
    const { code, message } = toLfm2Error(thrown);
    tell({ tell: 'failed', id, code, message });
  } finally {
    stops.delete(id);
    taken.delete(id);
  }
}

addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.call === 'stop') {
    stops.get(data.id)?.abort();
  } else if (data.call === 'taken') {
    taken.get(data.id)?.();
  } else {
    void answerCall(data.call, data.id, data.argument);
  }
});
