import { Lfm2Error, toLfm2Error } from './errors.js';
import { describeGpu, withGpu } from './gpu.js';
import { Beginning } from './loader/beginning.js';
import { openBlobs } from './loader/blobs.js';
import { freeBytes } from './loader/cache.js';
import type { ModelFile } from './loader/files.js';
import { fetchRange } from './loader/http.js';
import { asBlobs, findModel, raceAbort } from './loader/open.js';
import type { GpuReport, ModelOptions, Preflight } from './types.js';
import { initWasm } from './wasm.js';
import { Gpu, inspect } from './wasm/lfm2.js';

/** Most parameters with which a software adapter still answers in acceptable time. */
const SLOW_PARAMETERS = 100e6;
/** Bytes that most GPUs can provide to a page, including GPUs that share the machine's memory. */
const LARGE_BYTES = 2 * 2 ** 30;

/**
 * Tells before a download whether a model would run, and its memory. It reads only the configuration, the tokenizer
 * and the headers of the weight files. Rejects if the model does not exist.
 */
export async function preflight(options: ModelOptions): Promise<Preflight> {
  const { signal } = options;
  let gpu: GpuReport;
  try {
    gpu = await describeGpu();
  } catch (thrown) {
    return { verdict: 'no', reasons: [toLfm2Error(thrown).forVisitor] };
  }
  await initWasm();
  const looked = await look(options).catch((thrown: unknown) => toLfm2Error(thrown));
  if (looked instanceof Lfm2Error) {
    // Its name shows a weight type that is not supported.
    if (looked.code !== 'bad_model') throw looked;
    return { verdict: 'no', reasons: [looked.forVisitor], gpu };
  }
  const { place, files, cached, close } = looked;
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const free = cached === total ? undefined : await freeBytes();
  const told = { gpu, bytes: { total, cached }, ...(free === undefined ? {} : { storage: free }) };
  let plan: Pick<Required<Preflight>, 'memory' | 'contextLength' | 'parameters'>;
  try {
    const inspected = inspect(place, [...files], options.contextLength, options.parallel, withGpu(undefined, () => new Gpu()));
    plan = JSON.parse(await raceAbort(inspected, signal, () => undefined));
  } catch (thrown) {
    const error = toLfm2Error(thrown);
    // A model that cannot run here is a verdict; a model that could not be read is an error.
    if (!['bad_model', 'out_of_memory', 'no_adapter'].includes(error.code)) throw error;
    return { verdict: 'no', reasons: [error.forVisitor], ...told };
  } finally {
    await close();
  }
  const reasons: string[] = [];
  if (gpu.software) {
    const slowly = plan.parameters > SLOW_PARAMETERS ? 'very slowly' : 'slowly';
    reasons.push(`This browser has no real GPU: the model answers ${slowly}.`);
  }
  if (plan.memory.total > LARGE_BYTES) {
    const gigabytes = (plan.memory.total / 1e9).toFixed(1);
    reasons.push(`The model needs ${gigabytes} GB of GPU memory. Browsers do not reveal whether this GPU has that much.`);
  }
  const verdict = reasons.length > 0 ? 'risky' : 'ok';
  if (options.cache !== 'none' && free !== undefined && free < total - cached) {
    reasons.push('The browser has no space to keep the model: every visit downloads it again.');
  }
  return { verdict, reasons, ...told, ...plan };
}

/** A model's files, read from their source, and the number of their bytes in the cache. */
interface Look {
  place: string;
  files: readonly ModelFile[];
  cached: number;
  /** Cancels pending downloads. */
  close(): Promise<unknown>;
}

async function look(options: ModelOptions): Promise<Look> {
  const blobs = asBlobs(options.model);
  if (blobs !== undefined) {
    const opened = openBlobs(blobs);
    return { ...opened, cached: opened.files.reduce((sum, file) => sum + file.size, 0) };
  }
  const { place, files, entry, http } = await findModel(options, options.signal);
  const stores = await entry?.stores();
  /** Beginnings of files on a server without ranges. */
  const beginnings = new Map<string, Beginning>();
  const readable = files.map(({ name, url, size }, i): ModelFile => {
    const read = async (offset: number, length: number) => {
      const stored = await stores?.[i]?.read(offset, length);
      if (stored !== undefined || length === 0) return stored ?? new Uint8Array(0);
      const beginning = beginnings.get(url);
      const bytes = beginning ? undefined : await fetchRange(url, size, offset, length, http);
      if (bytes !== undefined) return bytes;
      const whole = beginnings.get(url) ?? new Beginning(url, size, http);
      beginnings.set(url, whole);
      return whole.read(offset, length);
    };
    return { name, size, read };
  });
  const cached = stores?.reduce((sum, store) => sum + store.bytes, 0) ?? 0;
  const close = () => Promise.all([...beginnings.values()].map((beginning) => beginning.close()));
  return { place, files: readable, cached, close };
}
