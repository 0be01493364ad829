// A small web server for tests, with the package, a blank page, and a model that it sends as a test requires.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const WEB = fileURLToPath(new URL('..', import.meta.url));
/** Folders that are served unchanged. */
const FOLDERS = { dist: 'dist', demo: 'demo/model', 'web-tests': '../target/web-tests', fixtures: '../tests/fixtures' };
const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json' };
// The strictest policy that the package must support.
const POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; object-src 'none'";
const COMMIT = '0123456789abcdef0123456789abcdef01234567';

/** Faults of the server for the files of `/model/`; by default there are none. */
const WELL = {
  /** Whether it supports Range. */
  ranges: true,
  /** Every connection is cut before a response. */
  down: false,
  /** Responds with this instead. */
  status: undefined,
  /** This many of the next responses end early. */
  truncate: 0,
  /** This file has a wrong byte. */
  corrupt: undefined,
  /** Milliseconds before each 64 KiB. */
  slow: 0,
  /** Missing files are answered with a page, as by many development servers. */
  pages: false,
};

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** A package: these files and their manifest. */
export function packageOf({ 'manifest.json': _, ...files }) {
  const entries = Object.entries(files).map(([name, bytes]) => ({ name, bytes: bytes.length, sha256: sha256(bytes) }));
  const manifest = { format: 'lfm2-wgpu package', version: 1, source: 'test', recipe: { weights: 'q4' }, files: entries };
  return { ...files, 'manifest.json': Buffer.from(JSON.stringify(manifest)) };
}

/** The demonstration model's files. */
export async function demoFiles() {
  const names = ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja', 'model.safetensors'];
  const folder = path.join(WEB, '../assets/demo');
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(path.join(folder, name))])));
}

/**
 * Serves `FOLDERS`, a blank page at `/`, `model` under `/model/` and as `test/model` on a hub at `/hub`.
 * `log` has every request for the model, `sent` the bytes of slow answers.
 */
export async function serve() {
  const site = { model: {}, way: { ...WELL }, log: [], sent: 0 };
  const server = createServer((request, response) => {
    answer(site, request, response).catch(() => response.destroy());
  });
  await new Promise((resolve) => server.listen(0, 'localhost', resolve));
  const address = `http://localhost:${server.address().port}`;
  return Object.assign(site, {
    address,
    /** Sets other faults, and clears the log. */
    send(way = {}) {
      site.way = { ...WELL, ...way };
      site.log.length = 0;
      site.sent = 0;
    },
    close: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  });
}

async function answer(site, request, response) {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname === '/') {
    response.writeHead(200, { 'content-type': 'text/html', 'content-security-policy': POLICY });
    return response.end('<!doctype html><title>test</title>');
  }
  if (pathname === '/favicon.ico') return response.writeHead(204).end();
  const [, folder, file] = /^\/([\w-]+)\/(.+)$/.exec(path.normalize(pathname)) ?? [];
  if (Object.hasOwn(FOLDERS, folder ?? '')) {
    const bytes = await readFile(path.join(WEB, FOLDERS[folder], file)).catch(() => undefined);
    if (bytes === undefined) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': TYPES[path.extname(pathname)] ?? 'application/octet-stream' });
    return response.end(bytes);
  }
  site.log.push({ method: request.method, pathname, range: request.headers.range });
  const { way } = site;
  if (way.down) return response.destroy();
  if (way.status !== undefined) return response.writeHead(way.status).end();
  if (pathname === '/hub/api/models/test/model/revision/main') {
    const siblings = Object.entries(site.model).map(([rfilename, bytes]) => ({
      rfilename,
      size: bytes.length,
      ...(/safetensors$|gguf$/.test(rfilename) ? { lfs: { sha256: sha256(bytes), size: bytes.length } } : {}),
    }));
    return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ sha: COMMIT, siblings }));
  }
  const name = /^\/(?:model|hub\/test\/model\/resolve\/\w+)\/(.+)$/.exec(pathname)?.[1];
  return sendFile(site, request, response, name && decodeURIComponent(name));
}

async function sendFile(site, request, response, name) {
  const { way, model } = site;
  let bytes = Object.hasOwn(model, name ?? '') ? model[name] : undefined;
  if (bytes === undefined) {
    if (way.pages) return response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>');
    return response.writeHead(404).end();
  }
  if (name === way.corrupt) {
    bytes = Buffer.from(bytes);
    bytes[bytes.length >> 1] ^= 1;
  }
  const [, start, end] = (way.ranges && /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')) || [];
  const part = start === undefined ? bytes : bytes.subarray(Number(start), Number(end) + 1);
  response.writeHead(start === undefined ? 200 : 206, {
    'content-type': 'application/octet-stream',
    'content-length': part.length,
    ...(start === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${bytes.length}` }),
  });
  if (request.method === 'HEAD') return response.end();
  if (way.truncate > 0 && part.length > 1000) {
    way.truncate -= 1;
    response.write(part.subarray(0, part.length >> 1), () => response.destroy());
    return undefined;
  }
  if (way.slow === 0) return response.end(part);
  for (let at = 0; at < part.length && !response.destroyed; at += 65536) {
    await sleep(way.slow);
    response.write(part.subarray(at, at + 65536));
    site.sent += 65536;
  }
  return response.end();
}
