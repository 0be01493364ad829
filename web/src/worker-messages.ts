import type { Lfm2Error } from './errors.js';
import type { LoadedLora } from './model-engine.js';
import type { Counters, EngineInfo, EngineOptions, LoraInfo, Progress } from './types.js';
import type { Summary } from './chat.js';

/** The page's calls to the worker; each gets one `reply` or `failed`. */
export interface Calls {
  load: { argument: Omit<EngineOptions, 'signal' | 'onProgress' | 'device'>; result: Omit<EngineInfo, 'model'> };
  check: { argument: string; result: void };
  answer: { argument: string; result: Summary };
  save: { argument: { request: string; name: string }; result: number };
  restore: { argument: string; result: number };
  counters: { argument: undefined; result: Counters };
  loadLora: { argument: LoadedLora; result: void };
  unloadLora: { argument: string; result: void };
  loras: { argument: undefined; result: LoraInfo[] };
  dispose: { argument: undefined; result: void };
}

export type ToWorker =
  | { [K in keyof Calls]: { call: K; id: number; argument: Calls[K]['argument'] } }[keyof Calls]
  /** Stops the call `id`, if it is `load` or `answer`. */
  | { call: 'stop'; id: number }
  /** The piece of answer `id` was taken. */
  | { call: 'taken'; id: number };

export type FromWorker =
  | { tell: 'reply'; id: number; result: unknown }
  | { tell: 'failed'; id: number; code: Lfm2Error['code']; message: string }
  | { tell: 'progress'; progress: Progress }
  | { tell: 'piece'; id: number; piece: string };
