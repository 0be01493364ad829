import { Lfm2Error } from '../errors.js';
import type { RemoteDescription, Resolved } from './files.js';
import { fetchSmall, needed } from './http.js';
import type { HttpOptions } from './http.js';
import { shown } from './name.js';
import type { HubName } from './name.js';
import { select } from './select.js';

const DEFAULT_ENDPOINT = 'https://huggingface.co';

/** The hub of model names. */
export interface HubOptions {
  /** Default: https://huggingface.co */
  endpoint?: string;
  /** A token for private repositories. It is sent only to the endpoint. */
  token?: string;
}

/** The hub's address without a slash at its end. */
export function endpointOf(hub: HubOptions): string {
  return (hub.endpoint ?? DEFAULT_ENDPOINT).replace(/\/+$/, '');
}

interface Sibling {
  rfilename: string;
  size?: number;
  lfs?: { sha256?: string; size?: number };
}

/** The files of a model on the hub, at the revision's current commit. */
export async function resolveHub(name: HubName, hub: HubOptions, http: HttpOptions): Promise<Resolved> {
  const { id, quant, revision = 'main' } = name;
  const base = endpointOf(hub);
  const address = `${base}/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const bytes = await needed(fetchSmall(address, http), 'the hub has no such model or revision');
  const wrong = (problem: string) => new Lfm2Error('wrong_content', `${address}: ${problem}`);
  let listing: { sha?: unknown; siblings?: Sibling[] };
  try {
    listing = JSON.parse(new TextDecoder().decode(bytes));
  } catch (thrown) {
    throw wrong(String(thrown));
  }
  const { sha, siblings } = listing;
  if (typeof sha !== 'string' || !/^[0-9a-f]{40}$/.test(sha) || !Array.isArray(siblings)) {
    throw wrong('is not a list of files');
  }
  const byName = new Map(siblings.map((sibling) => [sibling.rfilename, sibling]));
  const files = select(id, quant, [...byName.keys()]).map((path): RemoteDescription => {
    const sibling = byName.get(path);
    const size = sibling?.lfs?.size ?? sibling?.size;
    if (!Number.isSafeInteger(size)) throw wrong(`does not give the size of ${path}`);
    const url = `${base}/${id}/resolve/${sha}/${path.split('/').map(encodeURIComponent).join('/')}`;
    const sha256 = sibling?.lfs?.sha256;
    const hash = typeof sha256 === 'string' && /^[0-9a-fA-F]{64}$/.test(sha256) ? { sha256 } : {};
    return { name: path.split('/').at(-1) ?? path, url, size: size as number, ...hash };
  });
  return { place: shown(name), files };
}
