// The chat page of examples/web, as it is built, in a browser.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const BUILT = fileURLToPath(new URL('../../examples/web/dist', import.meta.url));
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
};

/** Serves the built page, as any server of files would, with nothing but its own policy. */
export async function servePage() {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const file = path.join(BUILT, path.normalize(pathname === '/' ? '/index.html' : decodeURIComponent(pathname)));
    const bytes = await readFile(file).catch(() => undefined);
    if (bytes === undefined) return response.writeHead(404).end();
    const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const part = start === undefined ? bytes : bytes.subarray(Number(start), Number(end) + 1);
    response.writeHead(start === undefined ? 200 : 206, {
      'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream',
      'content-length': part.length,
      ...(start === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${bytes.length}` }),
    });
    return response.end(request.method === 'HEAD' ? undefined : part);
  });
  await new Promise((resolve) => server.listen(0, 'localhost', resolve));
  return {
    address: `http://localhost:${server.address().port}/`,
    close: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  };
}

/** Loads the demonstration model by the keyboard's Enter on the page's button. */
export async function loadDemo(page) {
  await page.locator('#load').waitFor({ timeout: 60_000 });
  await page.locator('#load').press('Enter');
  await page.locator('#chat').waitFor({ timeout: 120_000 });
}

/** Waits until the model has answered, and gives its last answer. */
export async function answered(page) {
  await page.locator('#send').waitFor();
  return page.locator('.turn.model .body').last().innerText();
}
