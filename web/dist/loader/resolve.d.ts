import type { Resolved } from './files.js';
import type { HttpOptions } from './http.js';
import type { HubOptions } from './hub.js';
/** A model's name as the cache knows it: a name on the hub as it is, else an absolute URL. */
export declare function absolute(model: string | URL): string;
/** Finds the files of a model; reads only what it must to know their names and lengths. */
export declare function resolveModel(model: string, hub: HubOptions, http: HttpOptions): Promise<Resolved>;
