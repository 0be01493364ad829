// The worker's side of `createWorkerEngine`.
import { toLfm2Error } from './errors.js';
import { load } from './engine.js';
import type { Loaded } from './model-engine.js';
import type { Progress } from './types.js';
import type { Calls, FromWorker, ToWorker } from './worker-messages.js';

const tell = (message: FromWorker) => postMessage(message);
const abort = new AbortController();
/** By answer id: resolves with whether the piece was taken and the answer continues. */
const taken = new Map<number, (goOn: boolean) => void>();
let loaded: Loaded | undefined;

function engine(): Loaded {
  if (loaded === undefined) throw new Error('the worker has no engine');
  return loaded;
}

const calls: { [K in keyof Calls]: (argument: Calls[K]['argument'], id: number) => Promise<Calls[K]['result']> } = {
  async load(options) {
    const onProgress = (progress: Progress) => tell({ tell: 'progress', progress });
    loaded = await load({ ...options, signal: abort.signal, onProgress });
    return loaded.info;
  },
  check: (request) => engine().answerer.check(request),
  answer: (request, id) =>
    engine().answerer.answer(request, (piece) => {
      tell({ tell: 'piece', id, piece });
      return new Promise((resolve) => taken.set(id, resolve));
    }),
  counters: async () => engine().counters(),
  async dispose() {
    await loaded?.destroy();
    loaded = undefined;
  },
};

async function answerCall<K extends keyof Calls>(call: K, id: number, argument: Calls[K]['argument']) {
  try {
    tell({ tell: 'reply', id, result: await calls[call](argument, id) });
  } catch (thrown) {
    const { code, message } = toLfm2Error(thrown);
    tell({ tell: 'failed', id, code, message });
  }
}

addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.call === 'abort') {
    abort.abort();
  } else if (data.call === 'taken') {
    const resolve = taken.get(data.id);
    taken.delete(data.id);
    resolve?.(data.goOn);
  } else {
    void answerCall(data.call, data.id, data.argument);
  }
});
