export { createEngine } from './engine.js';
export { Lfm2Error } from './errors.js';
export { deleteModel, listModels } from './loader/open.js';
export { preflight } from './preflight.js';
export { createWorkerEngine } from './worker-engine.js';
