import { Lfm2Error } from '../errors.js';

/** Default quantisation of a name without one, if it exists. */
const DEFAULTS = ['q4_0', 'q4_k_m', 'qad-q4_0'];
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
/** Words before a quantisation that say how it was made; the first two mark other weights. */
const MARKS = ['qad', 'qat', 'ud', 'i1', 'imat', 'imatrix'];
const OTHER_WEIGHTS = MARKS.slice(0, 2);
/** Beginnings of the names of supported quantisations. */
const RUN = /^(q4_[01k]|q5_[01k]|q8_0|q6_k|b?f16|f32)/;

/** A word of a file's name; `1.5B` is one. */
const WORD = /(?:[\p{L}\p{N}_]|(?<=\d)\.(?=\d))+/gu;

/** Selects the model's files in a repository, by the same rules as the native program. */
export function select(repo: string, quant: string | undefined, names: string[]): string[] {
  const ggufs = groupGgufs(names);
  const fail = (problem: string) => new Lfm2Error('not_found', `${repo}: ${problem}`);
  if (ggufs.size === 0) {
    const files = folder(names);
    if (files === undefined) throw fail('holds neither a GGUF file nor a checkpoint');
    if (quant !== undefined) throw fail(`has no ${quant}`);
    return files;
  }
  const stems = [...ggufs.keys()];
  const there = () => stems.map((stem) => label(stems, stem)).join(', ');
  const preferred = DEFAULTS.map((name) => meant(stems, name)).find((found) => found.length > 0);
  const [stem, ...others] = quant === undefined ? (preferred ?? stems) : meant(stems, quant);
  if (stem === undefined) throw fail(`has no ${quant}. There are: ${there()}`);
  if (others.length > 0) throw fail(`has several models, name one after a colon. There are: ${there()}`);
  if (quants(stem).some((word) => !RUN.test(word))) {
    const running = stems.map((other) => label(stems, other)).filter((name) => {
      const words = quants(name);
      return words.length > 0 && words.every((word) => RUN.test(word));
    });
    const advice = running.length === 0 ? '' : `. By their names these run: ${running.join(', ')}`;
    const problem = `${repo}: ${label(stems, stem)} is of a type that is not supported, and was not downloaded`;
    throw new Lfm2Error('bad_model', problem + advice);
  }
  const { of, parts } = ggufs.get(stem) as { of: number; parts: Map<number, string> };
  if (parts.size !== of) throw fail(`${stem} has ${of} parts, ${parts.size} are there`);
  return [...parts].sort(([a], [b]) => a - b).map(([, name]) => name);
}

/** The file that a quantisation or a whole file name selects; of several, the plain one. */
export function meant(stems: string[], quant: string): string[] {
  const same = (name: string | undefined) => name?.toLowerCase() === quant.toLowerCase();
  const exact = stems.filter((stem) => same(plain(stem)) || same(stem.split('/').at(-1)));
  if (exact.length > 0) return exact;
  const wanted = words(quant);
  const found = stems.filter((stem) => hasWords(words(stem), wanted));
  // The file whose words all other candidates also have.
  const within = (a: string[], b: string[]) => {
    let at = 0;
    for (const word of b) if (word === a[at]) at++;
    return a.length < b.length && at === a.length;
  };
  const one = found.find((stem) => found.every((other) => other === stem || within(words(stem), words(other))));
  return one === undefined ? found : [one];
}

/** Whether a name has these words in sequence, without a neighbour that makes it another model. */
function hasWords(name: string[], wanted: string[]): boolean {
  const other = (at: number) => OTHER_WEIGHTS.includes(name[at] ?? '');
  const ofQuant = wanted.some(isQuant);
  return name.some((_, at) => {
    const same = wanted.length > 0 && wanted.every((word, i) => name[at + i] === word);
    return same && !(ofQuant && (other(at - 1) || other(at + wanted.length)));
  });
}

/** The shortest label that selects a file. */
export function label(stems: string[], stem: string): string {
  const found = [...stem.matchAll(WORD)];
  const word = (at: number) => found[at]?.[0].toLowerCase() ?? '';
  let first = found.length - 1;
  while (first >= 0 && !isQuant(word(first))) first--;
  if (first < 0) return plain(stem.split('/').at(-1) ?? stem);
  while (first > 0 && (MARKS.includes(word(first - 1)) || isQuant(word(first - 1)))) first--;
  for (let at = first; at >= 0; at--) {
    const tail = plain(stem.slice(found[at]?.index));
    const [one, ...more] = meant(stems, tail);
    if (one === stem && more.length === 0) return tail;
  }
  return plain(stem);
}

function words(text: string): string[] {
  return text.toLowerCase().match(WORD) ?? [];
}

function quants(text: string): string[] {
  return words(text).filter(isQuant);
}

/** A name in the characters that are allowed in a quantisation. */
export function plain(stem: string): string {
  return stem.replace(/[^\p{L}\p{N}_.-]/gu, '-').replace(/^[.-]+|[.-]+$/g, '');
}

function isQuant(word: string): boolean {
  return /^((i|t)?q\d|(mx|nv)fp\d|b?f16$|f32$)/.test(word);
}

/** Whether a name holds a quantisation. */
export function isQuantised(name: string): boolean {
  return quants(name).length > 0;
}

/** Whether it is an image projector or an importance matrix. `x-imatrix-Q4_K_M` is neither: it was quantised with one. */
function isCompanion(file: string): boolean {
  if (/mmproj/i.test(file)) return true;
  return /imatrix/i.test(file) && !file.toLowerCase().split(/[^\p{L}\p{N}]+/u).some(isQuant);
}

/** `.gguf` models by name, without image projectors and importance matrices. */
function groupGgufs(names: string[]): Map<string, { of: number; parts: Map<number, string> }> {
  const all = new Map<string, { of: number; parts: Map<number, string> }>();
  for (const name of names) {
    const stem = /^(.*)\.gguf$/i.exec(name)?.[1];
    if (stem === undefined || isCompanion(stem.split('/').at(-1) ?? '')) continue;
    const [, rest = stem, part = '1', of = '1'] = /^(.*)-(\d{5})-of-(\d{5})$/.exec(stem) ?? [];
    const group = all.get(rest) ?? { of: Number(of), parts: new Map() };
    group.parts.set(Number(part), name);
    all.set(rest, group);
  }
  return all;
}

/** The files of a checkpoint folder. A single weight file has precedence over shards. */
function folder(names: string[]): string[] | undefined {
  const has = (name: string) => names.includes(name);
  const shards = names.filter((name) => /^model[^/]*\.safetensors$/.test(name));
  const weights = has(SINGLE) ? [SINGLE] : has(INDEX) ? [INDEX, ...shards] : [];
  if (!has(CONFIG) || weights.length === 0) return undefined;
  return [...SMALL.filter(has), ...weights];
}
