// Loads a .gguf file of any size with the built package in headless Chromium, uncached, from its own server, and
// prints times and memory (docs/performance.md).
//
//   node web/tools/measure_load.mjs FILE.gguf
import { execFileSync } from 'node:child_process';
import { createReadStream, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

import { launch } from '../tests/browser.mjs';

const WEB = fileURLToPath(new URL('..', import.meta.url));
const [file] = process.argv.slice(2);
if (file === undefined) throw new Error('usage: node web/tools/measure_load.mjs FILE.gguf');
const { size } = statSync(file);
let sent = 0;

const server = createServer(async (request, response) => {
  if (request.url === '/') {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<!doctype html>');
  } else if (/^\/dist\/[\w./-]+\.(js|wasm)$/.test(request.url)) {
    const type = request.url.endsWith('.js') ? 'text/javascript' : 'application/wasm';
    response.writeHead(200, { 'content-type': type });
    response.end(await readFile(WEB + request.url.slice(1)));
  } else if (request.url === '/model.gguf') {
    const [, start = 0, end = size - 1] = /(\d+)-(\d+)/.exec(request.headers.range ?? '')?.map(Number) ?? [];
    const length = end - start + 1;
    const ranged = request.headers.range !== undefined;
    const headers = ranged ? { 'content-range': `bytes ${start}-${end}/${size}` } : {};
    response.writeHead(ranged ? 206 : 200, { 'content-length': length, ...headers });
    if (request.method === 'HEAD') return response.end();
    sent += length;
    createReadStream(file, { start, end }).pipe(response);
  } else {
    response.writeHead(404);
    response.end();
  }
  return undefined;
});
await new Promise((resolve) => server.listen(0, 'localhost', resolve));

/** Memory in MB of the largest of the browser's processes of a kind. */
function resident(kind) {
  const lines = execFileSync('ps', ['-eo', 'rss,args'], { maxBuffer: 1 << 24 }).toString().split('\n');
  const own = lines.filter((line) => line.includes('chromium') && line.includes(`--type=${kind}`));
  return Math.round(Math.max(0, ...own.map((line) => Number.parseInt(line, 10))) / 1024);
}

const browser = await launch();
const page = await browser.newPage();
await page.goto(`http://localhost:${server.address().port}/`);
const before = await page.evaluate(async () => {
  globalThis.lfm2 = await import('/dist/index.js');
  globalThis.wasm = await (await import('/dist/wasm/lfm2.js')).default();
  return performance.memory.usedJSHeapSize;
});
const most = { wasm: 0, js: before, renderer: resident('renderer'), gpu: 0 };
const idle = most.renderer;
const timer = setInterval(async () => {
  const [wasm, js] = await page
    .evaluate(() => [wasm.memory.buffer.byteLength, performance.memory.usedJSHeapSize])
    .catch(() => [0, 0]);
  const now = { wasm, js, renderer: resident('renderer'), gpu: resident('gpu-process') };
  for (const [key, value] of Object.entries(now)) most[key] = Math.max(most[key], value);
}, 500);
try {
  const phases = await page.evaluate(async () => {
    const began = performance.now();
    const phases = {};
    const onProgress = ({ phase }) => (phases[phase] ??= Math.round(performance.now() - began) / 1000);
    const options = { model: '/model.gguf', cache: 'none', contextLength: 512, onProgress };
    await (await lfm2.createEngine(options)).dispose();
    return phases;
  });
  console.log(`${size} bytes, ${sent} sent; seconds until each phase:`, phases);
  const mb = (bytes) => Math.round(bytes / 1e6);
  console.log(`peak: wasm ${mb(most.wasm)} MB, JavaScript's heap ${mb(most.js)} MB,`);
  console.log(`page's process ${most.renderer} MB (${idle} before), GPU process ${most.gpu} MB`);
} finally {
  clearInterval(timer);
  await browser.close();
  server.closeAllConnections();
  server.close();
}
