// The chat page that `lfm2 serve` sends, used like a visitor.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import { launch } from './browser.mjs';
import { LFM2 } from './native.mjs';
import { answered, ask, openChatPage, setField } from './page.mjs';

let browser;

before(async () => (browser = await launch()));
after(() => browser?.close());

/** Starts a server with the demonstration model, and returns its address as soon as it listens. */
async function serve(...options) {
  const child = spawn(LFM2, ['serve', '--port', '0', ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
  const deadline = Date.now() + 120_000;
  let log = '';
  child.stderr.on('data', (data) => (log += data));
  for (;;) {
    const address = /^listening on (http:\/\/[^ ]+): /m.exec(log)?.[1];
    if (address !== undefined) return { address, child };
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the server has ended: ${log}`);
    if (Date.now() > deadline) {
      await stop(child);
      throw new Error(`the server did not listen within 120 s: ${log}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

test('the page of the server answers with the server\'s model, calls tools, stops, and keeps conversations', async () => {
  const { address, child } = await serve();
  try {
    const { page, seen } = await openChatPage(await browser.newContext(), `${address}/`);
    await page.locator('#chat').waitFor();
    assert.match(await page.locator('#model-line').innerText(), /^demo · .*, on the server$/);
    assert.match(await page.locator('#welcome-note').innerText(), /^demo · 3\.4 M parameters in BF16 · 2,048 tokens of context · on /);
    await setField(page, 'temperature', '0');
    assert.match(await ask(page, 'What is lfm2-wgpu?'), /^lfm2-wgpu is an engine written in Rust and WebGPU/);
    // A tool's call arrives in pieces, and the page runs it.
    await ask(page, 'What time is it in Rome?');
    assert.match(await page.locator('.call').last().innerText(), /get_time\(\{"city": ?"Rome"\}\)[^]*"time":"\d\d:\d\d"/);
    assert.match(await answered(page), /\d\d:\d\d/);
    // The server computes no turn again.
    const told = await page.locator('.stats p').last().textContent();
    assert.match(told, /prompt \d+ \+ \d+ reused/);
    await page.reload();
    await page.locator('.turn.model').nth(1).waitFor();
    assert.match(await ask(page, 'What is 2 + 3?'), /5/);
    assert.deepEqual([seen.errors, seen.violations], [[], []]);
    assert.deepEqual(seen.requests.filter(({ url }) => !url.startsWith(address)), [], 'nothing is asked elsewhere');
    assert.deepEqual(seen.requests.filter(({ url }) => url.includes('wasm')), [], 'no engine is downloaded');
    // The server ends.
    await stop(child);
    await page.locator('#question').fill('Are you there?');
    await page.locator('#question').press('Enter');
    assert.equal(await page.locator('.problem p').innerText(), 'The server does not answer. Check that it is running.');
    assert.equal(await page.locator('.problem .button').innerText(), 'Try again');
  } finally {
    await stop(child);
  }
});

test('the page asks for the server\'s key, again if it is wrong, and keeps it for the tab', async () => {
  const { address, child } = await serve('--api-key', 'right');
  try {
    const { page } = await openChatPage(await browser.newContext(), `${address}/`);
    for (const key of ['wrong', 'right']) {
      await page.locator('#key').waitFor();
      await page.locator('#key-text').fill(key);
      await page.locator('#key-text').press('Enter');
    }
    await page.locator('#chat').waitFor();
    assert.match(await ask(page, 'What is 2 + 3?'), /5/);
    await page.reload();
    await page.locator('#chat').waitFor();
    assert.ok(await page.locator('#key').isHidden());
  } finally {
    await stop(child);
  }
});
