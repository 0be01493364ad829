export { createEngine } from './engine.js';
export { Lfm2Error } from './errors.js';
export type { ErrorCode } from './errors.js';
export type { HubOptions } from './loader/hub.js';
export { deleteModel, listModels } from './loader/open.js';
export type { CachedModel } from './loader/open.js';
export { preflight } from './preflight.js';
export type * from './types.js';
export { createWorkerEngine } from './worker-engine.js';
