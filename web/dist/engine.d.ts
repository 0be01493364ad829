import type { Answerer } from './chat.js';
import type { Counters, Engine, EngineInfo, EngineOptions } from './types.js';
/** Loads a model onto the visitor's GPU, in this thread. */
export declare function createEngine(options: EngineOptions): Promise<Engine>;
/** A model on the GPU, for an engine in this thread or the page's side of one. */
export interface Loaded {
    info: EngineInfo;
    answerer: Answerer;
    counters(): Counters;
    destroy(): void;
}
/** Does what `createEngine` says, up to the API. */
export declare function load(options: EngineOptions): Promise<Loaded>;
