// The built chat page of examples/web in a browser.
import { access, readFile } from 'node:fs/promises';
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

/** Serves the built page in a folder, like any static file server, with only its own policy. */
export async function servePage() {
  await access(path.join(BUILT, 'index.html')).catch(() => {
    throw new Error('the page is not built: npm run build --prefix examples/web');
  });
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const name = /^\/folder(\/.*)$/.exec(decodeURIComponent(pathname))?.[1] ?? '/nothing';
    const file = path.join(BUILT, path.normalize(name === '/' ? '/index.html' : name));
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
    address: `http://localhost:${server.address().port}/folder/`,
    close: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  };
}

/** Opens the page. `seen` collects its requests, errors and policy violations. */
export async function openChatPage(context, address) {
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const seen = { requests: [], errors: [], violations: [] };
  context.on('request', (request) => seen.requests.push({ url: request.url(), range: request.headers().range }));
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  await page.exposeFunction('onViolation', (directive) => seen.violations.push(directive));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => onViolation(`${violatedDirective} ${blockedURI}`));
  });
  await page.goto(address);
  return { page, seen };
}

/** Loads the demonstration model with the page's button. */
export async function loadDemo(page) {
  await page.locator('#load').waitFor();
  await page.locator('#load').press('Enter');
  await page.locator('#chat').waitFor({ timeout: 120_000 });
}

/** Waits until the model has answered, and returns its last answer. */
export async function answered(page) {
  await page.locator('#send').waitFor({ timeout: 120_000 });
  const bodies = await page.locator('.turn.model .body').allInnerTexts();
  return bodies.at(-1) ?? '';
}

/** Sends a message and waits for the answer. */
export async function ask(page, question) {
  await page.locator('#question').fill(question);
  await page.locator('#question').press('Enter');
  return answered(page);
}

/** Starts a new conversation. */
export async function freshConversation(page) {
  await page.locator('#new-conversation').press('Enter');
  await page.locator('#welcome').waitFor();
}

/** Sets a field of the settings like a visitor. */
export async function setField(page, name, value) {
  await page.locator('#open-settings').press('Enter');
  await page.locator(`#settings [name=${name}]`).fill(value);
  await page.locator('#settings button[type=submit]').press('Enter');
  await page.locator('#settings').waitFor({ state: 'hidden' });
}

/** Replaces the model's next answer by these pieces, because the demonstration model writes no Markdown. */
export async function writes(page, pieces) {
  await page.workers()[0].evaluate((pieces) => {
    const post = self.postMessage;
    self.postMessage = (message) => {
      if (message.tell === 'piece') message = { ...message, piece: JSON.stringify({ content: pieces.shift() ?? '' }) };
      else if (pieces.length === 0) self.postMessage = post;
      post.call(self, message);
    };
  }, pieces);
}
