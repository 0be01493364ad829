import type { ModelOptions, Preflight } from './types.js';
/**
 * Tells what a model would take and whether it would run, before it is downloaded: of its files only
 * configuration, tokenizer and tables of contents are read. Rejects if there is no such model.
 */
export declare function preflight(options: ModelOptions): Promise<Preflight>;
