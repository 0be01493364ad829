import { Lfm2Error } from '../errors.js';

/** A package's manifest.json (docs/weights.md). */
export interface Manifest {
  files: { name: string; bytes: number; sha256: string }[];
}

/** Reads a manifest; `place` is its name in errors. Undefined if it belongs to another program. */
export function readManifest(place: string, bytes: Uint8Array): Manifest | undefined {
  const wrong = (problem: string) => new Lfm2Error('wrong_content', `${place}: ${problem}`);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (thrown) {
    throw wrong(`not JSON: ${String(thrown)}`);
  }
  const manifest = json as Partial<Manifest> & { format?: unknown; version?: unknown };
  if (typeof json !== 'object' || json === null || manifest.format !== 'lfm2-wgpu package') return undefined;
  if (manifest.version !== 1) throw wrong(`is of version ${String(manifest.version)}, need 1`);
  const files: unknown = manifest.files;
  if (!Array.isArray(files) || files.length === 0) throw wrong('names no files');
  for (const file of files as Partial<Manifest['files'][number]>[]) {
    const named = typeof file?.name === 'string' && /^[^/\\:]{1,255}$/.test(file.name) && !file.name.includes('..');
    const sized = Number.isSafeInteger(file?.bytes) && (file.bytes ?? -1) >= 0;
    const hashed = typeof file?.sha256 === 'string' && /^[0-9a-fA-F]{64}$/.test(file.sha256);
    if (!named || !sized || !hashed) throw wrong(`files: invalid entry ${JSON.stringify(file)}`);
  }
  return { files: files as Manifest['files'] };
}
