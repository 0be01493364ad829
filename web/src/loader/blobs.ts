import { Lfm2Error } from '../errors.js';
import type { OpenModel } from './files.js';

/** A model of files that the visitor picked or dropped. */
export function openBlobs(blobs: readonly Blob[]): OpenModel {
  const files = blobs.map((blob) => {
    // What is dropped without a name can only be a model by itself.
    const name = blob instanceof File ? blob.name : 'model.gguf';
    return { name, size: blob.size, read: (offset: number, length: number) => readBlob(name, blob, offset, length) };
  });
  if (files.length === 0) throw new Lfm2Error('bad_model', 'no files were given as the model');
  return { place: 'files', files, fromCache: true, finish: async () => false, close: async () => undefined };
}

/** A piece of a Blob; a file that was changed or removed since it was picked cannot be read. */
export async function readBlob(name: string, blob: Blob, offset: number, length: number): Promise<Uint8Array> {
  try {
    return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
  } catch (thrown) {
    throw new Lfm2Error('read_failed', `${name}: ${String(thrown)}`, { cause: thrown });
  }
}
