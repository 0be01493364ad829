import { Lfm2Error } from '../errors.js';
import type { RemoteDescription, Resolved } from './files.js';
import { fetchSize, fetchSmall, ifThere, needed } from './http.js';
import type { HttpOptions } from './http.js';
import { resolveHub } from './hub.js';
import type { HubOptions } from './hub.js';
import { readManifest } from './manifest.js';
import { ggufParts, parseHubName, shown } from './name.js';
import { CONFIG, INDEX, SINGLE, SMALL } from './select.js';

/** A model's key in the cache: a hub name (also from a hub URL), otherwise an absolute URL. */
export function absolute(model: string | URL): string {
  const name = parseHubName(String(model));
  if (name !== undefined) return shown(name);
  try {
    return new URL(model, globalThis.location?.href).href;
  } catch (thrown) {
    throw new Lfm2Error('invalid_request', `model: ${String(model)} is neither a URL nor a hub name`, { cause: thrown });
  }
}

/** Finds the names and lengths of a model's files with as few requests as possible. */
export async function resolveModel(model: string, hub: HubOptions, http: HttpOptions): Promise<Resolved> {
  const name = parseHubName(model);
  if (name !== undefined) return resolveHub(name, hub, http);
  const url = new URL(model);
  if (/\.gguf$/i.test(url.pathname)) return { place: url.href, files: await ggufFiles(url, http) };
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  const files = (await packageFiles(url, http)) ?? (await checkpointFiles(url, http));
  return { place: url.href, files };
}

/** A file at a URL; its length is fetched. */
async function sized(url: URL, http: HttpOptions): Promise<RemoteDescription> {
  const size = await fetchSize(url.href, http);
  return { name: decodeURIComponent(url.pathname.split('/').at(-1) ?? ''), url: url.href, size };
}

/** A GGUF file, or all parts of a split one, by the URL of the first part. */
function ggufFiles(url: URL, http: HttpOptions): Promise<RemoteDescription[]> {
  const part = (path: string) => {
    const next = new URL(url);
    next.pathname = path;
    return sized(next, http);
  };
  return Promise.all(ggufParts(url.pathname).map(part));
}

async function packageFiles(base: URL, http: HttpOptions): Promise<RemoteDescription[] | undefined> {
  const address = new URL('manifest.json', base);
  const bytes = await ifThere(fetchSmall(address.href, http));
  const manifest = bytes && readManifest(address.href, bytes);
  return manifest?.files.map(({ name, bytes, sha256 }) => {
    return { name, url: new URL(encodeURIComponent(name), base).href, size: bytes, sha256 };
  });
}

async function checkpointFiles(base: URL, http: HttpOptions): Promise<RemoteDescription[]> {
  const at = (name: string) => new URL(encodeURIComponent(name), base);
  const [single, ...small] = await Promise.all(
    [SINGLE, ...SMALL].map((name) => {
      const file = sized(at(name), http);
      return name === CONFIG ? needed(file, 'the folder has neither manifest.json nor config.json') : ifThere(file);
    }),
  );
  const files = small.filter((file) => file !== undefined);
  if (single !== undefined) return [...files, single];
  const index = await needed(fetchSmall(at(INDEX).href, http), `the folder has neither ${SINGLE} nor ${INDEX}`);
  const shards = await Promise.all(shardNames(at(INDEX).href, index).map((name) => sized(at(name), http)));
  return [...files, { name: INDEX, url: at(INDEX).href, size: index.length }, ...shards];
}

function shardNames(place: string, index: Uint8Array): string[] {
  try {
    const { weight_map } = JSON.parse(new TextDecoder().decode(index)) as { weight_map: Record<string, string> };
    return [...new Set(Object.values(weight_map))].filter((name) => /^[^/\\:]{1,255}$/.test(name)).sort();
  } catch (thrown) {
    throw new Lfm2Error('wrong_content', `${place}: ${String(thrown)}`, { cause: thrown });
  }
}
