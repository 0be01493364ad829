import type { Engine, EngineOptions } from './types.js';
/** As `createEngine`, in a worker of its own: the page never waits for it. */
export declare function createWorkerEngine(options: EngineOptions): Promise<Engine>;
