// Measures the built package beside wllama and transformers.js in headless Chromium with SwiftShader, on the same
// weights, in turns (docs/performance.md).
//
//   npm install --ignore-scripts --prefix /tmp/compare @wllama/wllama@3.13.0 @huggingface/transformers@4.3.2
//   python3 tools/make_gguf.py assets/demo /tmp/compare/demo.gguf
//   python3 tools/make_onnx.py assets/demo /tmp/compare/demo-onnx
//   node web/tools/compare.mjs /tmp/compare --gguf /tmp/compare/demo.gguf --onnx /tmp/compare/demo-onnx --turns 5
//
// wllama only uses GPUs with shader-f16. `--rewrite-f16` only counts its dispatches, with f32 in place of f16 in its
// shaders. That takes minutes, the tokens are meaningless, and `--onnx` is not needed.
//
// The other engines are not dependencies of this project. `--json FILE` stores every figure of every turn, and
// `--only NAME,NAME` selects engines. Without `--onnx` transformers.js is left out.
import { readFileSync, statSync, createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { cpus, loadavg } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';

import { launch } from '../tests/browser.mjs';
import { count } from './compare_page.mjs';

const WEB = fileURLToPath(new URL('..', import.meta.url));
const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json' };
// With these headers wllama can use threads, and clocks are finer. The package does not need them.
const ISOLATED = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    gguf: { type: 'string' },
    onnx: { type: 'string' },
    turns: { type: 'string', default: '3' },
    only: { type: 'string' },
    json: { type: 'string' },
    'rewrite-f16': { type: 'boolean', default: false },
  },
});
const [installed] = positionals;
if (installed === undefined || options.gguf === undefined) {
  throw new Error('usage: compare.mjs FOLDER --gguf FILE [--onnx DIR] [--turns N] [--only NAMES] [--json FILE]');
}
const modules = path.resolve(installed, 'node_modules');

const ALL = [
  { name: 'lfm2-wgpu', engine: 'lfm2', options: {} },
  { name: 'wllama, 2 threads', engine: 'wllama', options: { threads: 2 } },
  { name: 'wllama, 1 thread', engine: 'wllama', options: { threads: 1 } },
  { name: 'transformers.js, webgpu', engine: 'transformers', options: { device: 'webgpu' } },
  { name: 'transformers.js, wasm', engine: 'transformers', options: { device: 'wasm' } },
];
const wanted = options.only?.split(',');
const engines = ALL.filter(({ name, engine }) => {
  if (engine === 'transformers' && options.onnx === undefined) return false;
  return wanted === undefined || wanted.some((part) => name.includes(part));
});

// A short question with a long answer, and the end of a conversation.
const user = (content) => ({ role: 'user', content });
const assistant = (content) => ({ role: 'assistant', content });
const WARM = [user('Hello!')];
const SHORT = [user('What is lfm2-wgpu?')];
const conversation = (name) => [
  user(`Hello! My name is ${name}`),
  assistant(`Nice to meet you, ${name}!`),
  user('Can you tell me: Which ocean is the largest??'),
  assistant('The largest ocean is the Pacific.'),
  user('How many parameters does LFM2-8B-A1B have'),
  assistant(
    'LFM2-8B-A1B is a mixture-of-experts model by Liquid AI. It has 8.3 billion parameters and uses 1.5 billion of them for each token.',
  ),
  user('How far is the moon'),
  assistant('I am only a small demonstration model, so I cannot help with that. Ask me what I can do.'),
  user('What are experts?'),
  assistant(
    'A mixture of experts has many small networks, called experts. For each token a router picks a few of them, so only a part of the model is computed.',
  ),
  user('What is my name again please?'),
];
const MOST = 64;
// Lengths of two answers to the same prompt, which differ only in decoded tokens.
const LENGTHS = [4, 40];

// The engine's own files that the page of a turn has requested.
const CODE = /^\/(dist|installed)\/.*\.(js|mjs|wasm)$/;
const fetched = new Set();

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  const file = fileOf(decodeURIComponent(path.normalize(pathname)));
  const stat = file && statSync(file, { throwIfNoEntry: false });
  if (pathname === '/favicon.ico') return response.writeHead(204).end();
  if (pathname === '/') {
    response.writeHead(200, { 'content-type': 'text/html', ...ISOLATED });
    return response.end('<!doctype html>');
  }
  if (!stat?.isFile()) return response.writeHead(404, ISOLATED).end();
  const [, start = 0, end = stat.size - 1] = /(\d+)-(\d+)/.exec(request.headers.range ?? '')?.map(Number) ?? [];
  const range = request.headers.range === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${stat.size}` };
  if (CODE.test(pathname)) fetched.add(file);
  const type = TYPES[path.extname(file)] ?? 'application/octet-stream';
  const headers = { 'content-type': type, 'content-length': end - start + 1, ...range, ...ISOLATED };
  response.writeHead(request.headers.range === undefined ? 200 : 206, headers);
  if (request.method === 'HEAD') return response.end();
  return createReadStream(file, { start, end }).pipe(response);
});

/** The file behind a path of the server. */
function fileOf(pathname) {
  if (pathname === '/model.gguf') return options.gguf;
  if (pathname === '/page.mjs') return path.join(WEB, 'tools/compare_page.mjs');
  if (pathname.startsWith('/dist/')) return path.join(WEB, pathname);
  if (pathname.startsWith('/installed/')) return path.join(modules, pathname.slice('/installed/'.length));
  if (pathname.startsWith('/onnx/') && options.onnx) return path.join(options.onnx, pathname.slice('/onnx/'.length));
  return undefined;
}

await new Promise((resolve) => server.listen(0, 'localhost', resolve));
const address = `http://localhost:${server.address().port}/`;

/** CPU seconds and MB of memory of a browser's processes of a type. */
async function processes(session, type) {
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  const own = processInfo.filter((one) => type === undefined || one.type === type);
  const status = own.map(({ id }) => readFileSync(`/proc/${id}/status`, 'utf8'));
  const kilobytes = status.map((text) => Number(/VmRSS:\s+(\d+)/.exec(text)[1]));
  return {
    seconds: own.reduce((sum, { cpuTime }) => sum + cpuTime, 0),
    // A page's process is the largest of its type: Chromium keeps a spare one.
    megabytes: Math.max(0, ...kilobytes) / 1024,
  };
}

/** The sum of objects of numbers. */
function sum(objects) {
  const all = {};
  for (const one of objects) for (const [key, value] of Object.entries(one)) all[key] = (all[key] ?? 0) + value;
  return all;
}

/** Starts a browser with a loaded engine. `use` gets functions to ask it and to read the counts. */
async function withEngine({ engine, options: how }, rewriteF16, use) {
  fetched.clear();
  const browser = await launch();
  try {
    const session = await browser.newBrowserCDPSession();
    const page = await browser.newPage();
    page.setDefaultTimeout(300_000);
    // Only the first worker: the others are llama.cpp's threads, which share its memory and do not call WebGPU.
    let worker;
    page.once('worker', (first) => (worker = first));
    await page.goto(address);
    await page.evaluate(count, rewriteF16);
    const loaded = await page.evaluate(
      async ([engine, how]) => (await import('/page.mjs')).load(engine, { gguf: '/model.gguf', onnx: 'onnx' }, how),
      [engine, how],
    );
    const everywhere = async (read) => {
      const threads = worker === undefined ? [page] : [page, worker];
      return sum(await Promise.all(threads.map((one) => one.evaluate(read))));
    };
    const ask = (...asked) => page.evaluate((asked) => globalThis.ask(...asked), asked);
    const counts = async () => {
      const { seconds } = await processes(session);
      return { seconds, ...(await everywhere(() => globalThis.gpuCounts)) };
    };
    return await use({ session, page, loaded, ask, everywhere, counts });
  } finally {
    await browser.close();
  }
}

/** Counts per decoded token: the difference of two answers to one prompt, divided by the tokens between them. */
async function eachToken({ ask, counts }, [few, more]) {
  await ask(SHORT, few);
  const spent = [];
  for (const most of [few, more]) {
    const before = await counts();
    const { tokens } = await ask(SHORT, most);
    const after = await counts();
    for (const key of Object.keys(after)) after[key] -= before[key];
    spent.push({ tokens, ...after });
  }
  const [less, rest] = spent;
  const { seconds, tokens: _, ...gpu } = Object.fromEntries(
    Object.keys(rest).map((key) => [key, (rest[key] - less[key]) / (rest.tokens - less.tokens)]),
  );
  return { cpu: 1000 * seconds, ...gpu };
}

/** One turn of one engine: load, two answers to warm up, then the measured ones. */
function turn(one) {
  return withEngine(one, false, async (browser) => {
    const { session, page, loaded, ask, everywhere } = browser;
    const warm = await ask(WARM, MOST);
    await ask(conversation('wofart'), MOST);
    const short = await ask(SHORT, MOST);
    const long = await ask(conversation('larzirt'), MOST);
    const each = await eachToken(browser, LENGTHS);
    const { wasm } = await everywhere(() => globalThis.wasmBytes());
    const inspector = await page.context().newCDPSession(page);
    await inspector.send('HeapProfiler.collectGarbage');
    const { usedSize } = await inspector.send('Runtime.getHeapUsage');
    return {
      about: loaded.about,
      payload: [...fetched].reduce((sum, file) => sum + gzipSync(readFileSync(file), { level: 9 }).length, 0) / 1e6,
      texts: [warm, short, long].map(({ text }) => text),
      tokens: [short.tokens, long.tokens],
      pieces: [short.pieces, long.pieces],
      load: loaded.ms / 1000,
      firstEver: warm.first,
      first: short.first,
      firstLong: long.first,
      // The time from the first token to the last one with text.
      rate: (1000 * (short.pieces - 1)) / (short.last - short.first),
      ...each,
      heap: usedSize / 1e6,
      wasm: wasm / 1e6,
      renderer: (await processes(session, 'renderer')).megabytes,
      gpuProcess: (await processes(session, 'GPU')).megabytes,
    };
  });
}

if (options['rewrite-f16']) {
  const one = { engine: 'wllama', options: { threads: 1, ignore_eos: true } };
  console.log(await withEngine(one, true, (browser) => eachToken(browser, [3, 9])));
  server.closeAllConnections();
  server.close();
  process.exit();
}

const ROWS = [
  ['code to download, gzipped', 'payload', 'MB', 2],
  ['load, from a server on this machine', 'load', 's', 2],
  ['time to first token, first question after loading', 'firstEver', 'ms', 0],
  ['time to first token, short prompt', 'first', 'ms', 0],
  ['time to first token, conversation', 'firstLong', 'ms', 0],
  ['decode', 'rate', 'tokens/s', 1],
  ['CPU time per decoded token, all processes', 'cpu', 'ms', 1],
  ['dispatches per decoded token', 'dispatches', '', 1],
  ['submissions per decoded token', 'submissions', '', 1],
  ['read-backs from the GPU per decoded token', 'readbacks', '', 1],
  ['bytes read back per decoded token', 'readbackBytes', '', 0],
  ["JavaScript's heap of the page's thread, after a garbage collection", 'heap', 'MB', 1],
  ["wasm's memory", 'wasm', 'MB', 1],
  ["page's process", 'renderer', 'MB', 0],
  ['GPU process', 'gpuProcess', 'MB', 0],
];

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

const loads = [];
const results = new Map(engines.map(({ name }) => [name, []]));
for (let n = 0; n < Number(options.turns); n += 1) {
  for (const one of engines) {
    loads.push(loadavg()[0]);
    const result = await turn(one);
    results.get(one.name).push(result);
    console.error(`turn ${n + 1}, ${one.name}: ${JSON.stringify({ ...result, about: undefined })}`);
  }
}
server.closeAllConnections();
server.close();

const texts = new Set([...results.values()].flat().map((result) => JSON.stringify(result.texts)));
const format = (value, digits) => {
  const fraction = Number.isInteger(value) ? 0 : digits;
  return value.toLocaleString('en', { minimumFractionDigits: fraction, maximumFractionDigits: fraction });
};
console.log(`${cpus().length} processors (${cpus()[0].model}), medians of ${options.turns} turns.`);
console.log(`Load average ${Math.min(...loads)} to ${Math.max(...loads)}.`);
console.log(`Answers: ${texts.size === 1 ? 'the same, word for word' : `${texts.size} different ones`}.`);
console.log(`\n| | ${engines.map(({ name }) => name).join(' | ')} |\n|---|${engines.map(() => '---:|').join('')}`);
for (const [label, key, unit, digits] of ROWS) {
  const cells = engines.map(({ name }) => format(median(results.get(name).map((result) => result[key])), digits));
  console.log(`| ${label}${unit && `, ${unit}`} | ${cells.join(' | ')} |`);
}
for (const text of texts) console.log(`\n${text}`);
if (options.json) await writeFile(options.json, JSON.stringify(Object.fromEntries(results), null, 1));
