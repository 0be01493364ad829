import type { Resolved } from './files.js';
import type { HttpOptions } from './http.js';
/** Files of a checkpoint beside its weights. */
export declare const SMALL: string[];
export declare const SINGLE = "model.safetensors";
export declare const INDEX = "model.safetensors.index.json";
/** Where names of models are looked up. */
export interface HubOptions {
    /** Default: https://huggingface.co */
    endpoint?: string;
    /** For private repositories; it is sent to the endpoint only. */
    token?: string;
}
/** Whether it is the name of a model on the hub, and not an address. */
export declare function isHubName(model: string): boolean;
/** The files of a model on the hub, at the revision's present commit. */
export declare function resolveHub(name: string, hub: HubOptions, http: HttpOptions): Promise<Resolved>;
/** Which files of a repository are the model: the rules of the native program. */
export declare function select(repo: string, quant: string | undefined, names: string[]): string[];
