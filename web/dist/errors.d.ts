/** What kind of error it is; the same word from version to version. */
export type ErrorCode = 'no_webgpu' | 'no_adapter' | 'out_of_memory' | 'device_lost' | 'gpu_error' | 'read_failed' | 'bad_model' | 'invalid_request' | 'context_full' | 'busy' | 'network' | 'not_found' | 'http_status' | 'wrong_content' | 'integrity' | 'aborted' | 'disposed' | 'internal';
/** Every error of this package. */
export declare class Lfm2Error extends Error {
    readonly name = "Lfm2Error";
    /** What kind of error it is. */
    readonly code: ErrorCode;
    /** A sentence to show to the visitor. */
    readonly forVisitor: string;
    constructor(code: ErrorCode, message: string, options?: ErrorOptions);
}
/** Any thrown value as an `Lfm2Error`: the engine's own carry a `code`. */
export declare function toLfm2Error(thrown: unknown): Lfm2Error;
/** Throws `aborted` if the signal says so. */
export declare function checkAborted(signal: AbortSignal | undefined): void;
export declare function aborted(signal: AbortSignal | undefined): Lfm2Error;
