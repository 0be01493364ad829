import { isQuantised, plain } from './select.js';

/** A model name on the hub, by the same rules as the native program's `HubName`. */
export interface HubName {
  /** `owner/repo`. */
  id: string;
  quant: string | undefined;
  revision: string | undefined;
}

/** Owner, repository, quantisation and revision of `owner/repo[:QUANT][@revision]`. */
const NAME = /^([\w.-]{1,96})\/([\w.-]{1,96})(?::([\w.-]{1,200}))?(?:@([\w./-]{1,200}))?$/;
const HOSTS = ['huggingface.co', 'www.huggingface.co', 'hf.co', 'www.hf.co'];
/** Path parts after a model's name: with a revision behind them (in FOLDERS a folder may follow), and without. */
const WITH_REVISION = ['tree', 'blob', 'resolve', 'raw', 'blame', 'edit', 'commit', 'commits'];
const FOLDERS = ['tree', 'commit', 'commits'];
const WITHOUT = ['discussions', 'settings', 'community'];
/** First path parts on the hub that are not a model's. */
const OTHERS = ['datasets', 'spaces', 'collections', 'papers', 'docs', 'blog', 'organizations', 'settings'];

/**
 * Reads the name of a model on the hub, or a URL that names one: of a page or a file on the hub,
 * `hf.co/owner/repo:QUANT`, `hf://owner/repo`, `owner/repo/file.gguf`. Undefined for any other URL. A relative URL
 * begins with `./`, `../` or `/`.
 */
export function parseHubName(text: string): HubName | undefined {
  const name = fromAddress(text) ?? fromPath(text) ?? text;
  const [, owner, repository, quant, revision] = NAME.exec(name) ?? [];
  // A URL for `git clone`.
  const repo = repository?.replace(/\.git$/, '');
  const parts = [owner, repo, quant, ...(revision?.split('/') ?? [])];
  const bad = (part: string | undefined) => part !== undefined && (part === '' || /^\.|\.\.|\.$/.test(part));
  if (owner === undefined || parts.some(bad)) return undefined;
  return { id: `${owner}/${repo}`, quant, revision };
}

/** The canonical name, which is the key in the cache. */
export function shown({ id, quant, revision }: HubName): string {
  return `${id}${quant === undefined ? '' : `:${quant}`}${revision === undefined ? '' : `@${revision}`}`;
}

/** The plain name in a URL; undefined if it is not a URL of the hub. */
function fromAddress(text: string): string | undefined {
  const [, scheme, rest = ''] = /^(hf:\/\/|https?:\/\/)?(.*)$/is.exec(text) ?? [];
  const bare = scheme?.toLowerCase() === 'hf://';
  let path = bare ? rest : undefined;
  const slash = rest.indexOf('/');
  if (!bare && slash > 0 && HOSTS.includes(rest.slice(0, slash).toLowerCase())) path = rest.slice(slash + 1);
  if (path === undefined && scheme === undefined) {
    const parts = text.split('/');
    // Only the path of a URL.
    if (parts.length > 3 && WITH_REVISION.includes(parts[2] as string) && !/^[./]/.test(text)) path = text;
  }
  let parts: string[];
  let shownFile: string | undefined;
  try {
    // A file shown beside the list.
    const [, asked] = /^[^?#]*\?(?:[^#]*&)?show_file_info=([^&#]*)/.exec(path ?? '') ?? [];
    shownFile = asked && decodeURIComponent(asked);
    parts = path?.split(/[?#]/)[0]?.split('/').map(decodeURIComponent).filter((part) => part !== '') ?? [];
  } catch {
    return undefined;
  }
  if (parts[0] === 'api' && parts[1] === 'models') parts.splice(0, 2);
  const [owner, repository, ...more] = parts;
  if (owner === undefined || repository === undefined || OTHERS.includes(owner)) return undefined;
  const at = repository.indexOf('@');
  let revision = at < 0 ? undefined : repository.slice(at + 1);
  const [repo, tag] = (at < 0 ? repository : repository.slice(0, at)).split(':');
  // ollama's name of the default.
  let quant = tag?.toLowerCase() === 'latest' ? undefined : tag;
  let file = bare ? more.at(-1) : undefined;
  if (!bare && more.length > 0 && !WITHOUT.includes(more[0] as string)) {
    if (!WITH_REVISION.includes(more[0] as string)) return undefined;
    // A revision with slashes that are not written as %2F.
    const length = more[1] === 'refs' ? 4 : 2;
    if (more.length < length) return undefined;
    revision = more.slice(1, length).join('/');
    if (revision === 'main') revision = undefined;
    file = more.slice(length).at(-1);
    if (file !== undefined && FOLDERS.includes(more[0] as string) && ggufStem(file) === undefined) {
      // A folder named after its quantisation; any other may be the end of a branch's name.
      quant = plain(file);
      if (!isQuantised(quant)) return undefined;
    }
  }
  const stem = ggufStem(file) ?? ggufStem(shownFile?.split('/').at(-1));
  if (stem !== undefined) quant = plain(stem);
  return shown({ id: `${owner}/${repo}`, quant, revision });
}

/** The name in `owner/repo/` and `owner/repo/folder/file.gguf`. */
function fromPath(text: string): string | undefined {
  const [, id, path = ''] = /^([\w.-]+\/[\w.-]+)\/((?:[^/]+\/)*[^/]+)?$/.exec(text) ?? [];
  if (id === undefined || path === '') return id;
  const stem = ggufStem(path.split('/').at(-1));
  return stem === undefined ? undefined : `${id}:${plain(stem)}`;
}

/** The paths of a GGUF file's parts, by the path of the first: of a file that is not split, its own. */
export function ggufParts(path: string): string[] {
  const [, stem, of] = /^(.*)-00001-of-(\d{5})\.gguf$/i.exec(path) ?? [];
  if (of === undefined) return [path];
  return Array.from({ length: Number(of) }, (_, i) => `${stem}-${String(i + 1).padStart(5, '0')}-of-${of}.gguf`);
}

/** `NAME` of `NAME.gguf` and of `NAME-00001-of-00003.gguf`. */
function ggufStem(file: string | undefined): string | undefined {
  return /^(.*?)(-\d{5}-of-\d{5})?\.gguf$/i.exec(file ?? '')?.[1];
}
