import { Lfm2Error } from '../errors.js';
import { fetchSmall, needed } from './http.js';
import type { HttpOptions } from './http.js';
import { endpointOf } from './hub.js';
import type { HubOptions } from './hub.js';
import { parseHubName } from './name.js';
import type { Model } from './open.js';

/** The files that PEFT writes. */
const PEFT = ['adapter_config.json', 'adapter_model.safetensors'];

/** Files of a path, where paths can be read. */
export type LocalFiles = (source: Model) => Promise<Blob[] | undefined>;

let localFiles: LocalFiles = async () => undefined;

/** Lets adapters come from paths. */
export function provideLocalFiles(provided: LocalFiles): void {
  localFiles = provided;
}

/** The files of a LoRA adapter. Those of a URL or on the hub are fetched whole, since they are small beside a model's. */
export async function openLora(source: Model, hub: HubOptions, signal: AbortSignal | undefined): Promise<Blob[]> {
  const local = await localFiles(source);
  if (local !== undefined) return local;
  if (typeof source !== 'string' && !(source instanceof URL)) {
    return source instanceof Blob ? [source] : Array.from(source);
  }
  const name = parseHubName(String(source));
  const http: HttpOptions = { signal, headers: name !== undefined && hub.token ? { Authorization: `Bearer ${hub.token}` } : {} };
  const base = name === undefined ? address(source) : new URL(`${endpointOf(hub)}/${name.id}/resolve/${encodeURIComponent(name.revision ?? 'main')}/`);
  const fetched = async (url: URL) => {
    const bytes = await needed(fetchSmall(url.href, http), 'the LoRA adapter has no such file');
    return new File([bytes as Uint8Array<ArrayBuffer>], decodeURIComponent(url.pathname.split('/').at(-1) ?? ''));
  };
  if (/\.gguf$/i.test(base.pathname)) return [await fetched(base)];
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  return Promise.all(PEFT.map((file) => fetched(new URL(file, base))));
}

function address(source: string | URL): URL {
  try {
    return new URL(source, globalThis.location?.href);
  } catch (thrown) {
    throw new Lfm2Error('invalid_request', `lora: ${String(source)} is neither a URL nor a hub name`, { cause: thrown });
  }
}
