import { Lfm2Error } from '../errors.js';
import type { OpenModel } from './files.js';

/** A model of files that the visitor picked or dropped. */
export function openBlobs(blobs: readonly Blob[]): OpenModel {
  const files = blobs.map((blob) => {
    // A Blob has no name, so it can only be a model by itself.
    const name = blob instanceof File ? blob.name : 'model.gguf';
    return { name, size: blob.size, read: (offset: number, length: number) => readBlob(name, blob, offset, length) };
  });
  if (files.length === 0) throw new Lfm2Error('bad_model', 'model: the list of files is empty');
  return { place: 'files', files, fromCache: true, finish: async () => false, close: async () => undefined };
}

/** Reads a piece of a Blob. It fails if the file was changed or removed since it was picked. */
export async function readBlob(name: string, blob: Blob, offset: number, length: number): Promise<Uint8Array> {
  try {
    return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
  } catch (thrown) {
    throw new Lfm2Error('read_failed', `${name}: ${String(thrown)}`, { cause: thrown });
  }
}
