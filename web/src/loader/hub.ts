import { Lfm2Error } from '../errors.js';
import type { RemoteDescription, Resolved } from './files.js';
import { fetchSmall, needed } from './http.js';
import type { HttpOptions } from './http.js';

const DEFAULT_ENDPOINT = 'https://huggingface.co';
/** Owner, repository, quantisation and revision of `owner/repo[:QUANT][@revision]`. */
const NAME = /^([\w.-]{1,96})\/([\w.-]{1,96})(?::([\w.-]{1,200}))?(?:@([\w./-]{1,200}))?$/;
/** What a model without a named quantisation is, if it is there. */
const DEFAULTS = ['q4_0', 'q4_k_m'];
export const CONFIG = 'config.json';
/** Files of a checkpoint beside its weights. */
export const SMALL = [
  CONFIG,
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
];
export const SINGLE = 'model.safetensors';
export const INDEX = 'model.safetensors.index.json';

/** Where names of models are looked up. */
export interface HubOptions {
  /** Default: https://huggingface.co */
  endpoint?: string;
  /** For private repositories; it is sent to the endpoint only. */
  token?: string;
}

interface Sibling {
  rfilename: string;
  size?: number;
  lfs?: { sha256?: string; size?: number };
}

/** Whether it is the name of a model on the hub, and not an address. */
export function isHubName(model: string): boolean {
  return NAME.test(model) && !model.startsWith('.');
}

/** The files of a model on the hub, at the revision's present commit. */
export async function resolveHub(name: string, hub: HubOptions, http: HttpOptions): Promise<Resolved> {
  const [, owner, repo, quant, revision = 'main'] = NAME.exec(name) ?? [];
  const base = (hub.endpoint ?? DEFAULT_ENDPOINT).replace(/\/+$/, '');
  const id = `${owner}/${repo}`;
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
    throw wrong('is not a listing of files');
  }
  const byName = new Map(siblings.map((sibling) => [sibling.rfilename, sibling]));
  const files = select(id, quant, [...byName.keys()]).map((path): RemoteDescription => {
    const sibling = byName.get(path);
    const size = sibling?.lfs?.size ?? sibling?.size;
    if (!Number.isSafeInteger(size)) throw wrong(`does not tell the size of ${path}`);
    const url = `${base}/${id}/resolve/${sha}/${path.split('/').map(encodeURIComponent).join('/')}`;
    const sha256 = sibling?.lfs?.sha256;
    const hash = typeof sha256 === 'string' && /^[0-9a-fA-F]{64}$/.test(sha256) ? { sha256 } : {};
    return { name: path.split('/').at(-1) ?? path, url, size: size as number, ...hash };
  });
  return { place: name, files };
}

/** Which files of a repository are the model: the rules of the native program. */
export function select(repo: string, quant: string | undefined, names: string[]): string[] {
  const ggufs = groupGgufs(names);
  if (ggufs.size === 0) {
    const files = folder(names);
    const problem = files === undefined ? 'holds neither a GGUF file nor a checkpoint' : `has no ${quant}`;
    if (files === undefined || quant !== undefined) throw new Lfm2Error('not_found', `${repo}: ${problem}`);
    return files;
  }
  const stems = [...ggufs.keys()];
  const label = (stem: string) => stem.split(/[-./]/).reverse().find(isQuant)?.toLowerCase() ?? stem;
  let found: string[];
  if (quant !== undefined) {
    const word = new RegExp(`(?<![\\p{L}\\p{N}_])${quant.replaceAll('.', '\\.')}(?![\\p{L}\\p{N}_])`, 'iu');
    found = stems.filter((stem) => word.test(stem));
    const exact = found.filter((stem) => stem.split('/').at(-1)?.toLowerCase() === quant.toLowerCase());
    if (exact.length === 1) found = exact;
  } else {
    const preferred = DEFAULTS.map((name) => stems.filter((stem) => label(stem) === name));
    found = preferred.find((stems) => stems.length > 0) ?? stems;
  }
  const [stem, ...others] = found;
  if (stem === undefined || others.length > 0) {
    const problem = stem === undefined ? `has no ${quant}` : 'has several models, name one after a colon';
    throw new Lfm2Error('not_found', `${repo}: ${problem}. There are: ${stems.join(', ')}`);
  }
  const { of, parts } = ggufs.get(stem) as { of: number; parts: Map<number, string> };
  if (parts.size !== of) throw new Lfm2Error('not_found', `${repo}: ${stem} has ${of} parts, ${parts.size} are there`);
  return [...parts].sort(([a], [b]) => a - b).map(([, name]) => name);
}

/** `.gguf` models by name, without projectors of images and importance matrices. */
function groupGgufs(names: string[]): Map<string, { of: number; parts: Map<number, string> }> {
  const all = new Map<string, { of: number; parts: Map<number, string> }>();
  for (const name of names) {
    const stem = /^(.*)\.gguf$/i.exec(name)?.[1];
    if (stem === undefined || /mmproj|imatrix/i.test(stem.split('/').at(-1) ?? '')) continue;
    const [, rest = stem, part = '1', of = '1'] = /^(.*)-(\d{5})-of-(\d{5})$/.exec(stem) ?? [];
    const group = all.get(rest) ?? { of: Number(of), parts: new Map() };
    group.parts.set(Number(part), name);
    all.set(rest, group);
  }
  return all;
}

function isQuant(part: string): boolean {
  return /^((I|T)?Q\d|(MX|NV)FP\d|B?F16$|F32$)/i.test(part);
}

/** The files of a checkpoint folder: a single file of weights goes before shards. */
function folder(names: string[]): string[] | undefined {
  const has = (name: string) => names.includes(name);
  const shards = names.filter((name) => /^model[^/]*\.safetensors$/.test(name));
  const weights = has(SINGLE) ? [SINGLE] : has(INDEX) ? [INDEX, ...shards] : [];
  if (!has(CONFIG) || weights.length === 0) return undefined;
  return [...SMALL.filter(has), ...weights];
}
