import type { OpenModel } from './files.js';
/** A model of files that the visitor picked or dropped. */
export declare function openBlobs(blobs: readonly Blob[]): OpenModel;
/** A piece of a Blob; a file that was changed or removed since it was picked cannot be read. */
export declare function readBlob(name: string, blob: Blob, offset: number, length: number): Promise<Uint8Array>;
