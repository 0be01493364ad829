// Saved states of conversations in the browser's private file system.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch, openPage } from './browser.mjs';
import { serve } from './server.mjs';

let server, browser, context, page;

before(async () => {
  server = await serve();
  browser = await launch();
  context = await browser.newContext();
  page = await newPage();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

async function newPage() {
  const page = await openPage(context, server.address);
  await page.evaluate(() => {
    globalThis.start = async (make) => (globalThis.engine = await lfm2[make]({ model: '/demo/', parallel: 2, contextLength: 512 }));
    globalThis.ask = async (messages) => {
      const { choices, timings } = await engine.chat.completions.create({ messages, temperature: 0, max_tokens: 24 });
      return { message: choices[0].message, timings };
    };
    globalThis.failure = (promise) => promise.then((done) => `done: ${done}`, ({ code, message }) => `${code}: ${message}`);
    /** Replaces a state's file, or a byte of it. */
    globalThis.spoil = async (name, change) => {
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('lfm2-wgpu');
      const handle = await (await root.getDirectoryHandle('states')).getFileHandle(`${name}.state`);
      const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
      const writable = await handle.createWritable();
      await writable.write(change === 'byte' ? bytes.with(bytes.length - 100, bytes[bytes.length - 100] ^ 1) : bytes.slice(0, change));
      await writable.close();
    };
  });
  return page;
}

const FIRST = [{ role: 'user', content: 'My name is Ada.' }];
let conversation, last, saved;

test('a conversation is saved while others run', async () => {
  const told = await page.evaluate(async (messages) => {
    await start('createEngine');
    const unknown = await engine.save({ messages: [{ role: 'user', content: 'Hi' }] }, 'unknown');
    messages.push((await ask(messages)).message, { role: 'user', content: 'What is 3 + 4?' });
    messages.push((await ask(messages)).message);
    const other = ask([{ role: 'user', content: 'Count from 1 to 100.' }]);
    const saved = await Promise.all([engine.save({ messages }, 'a/ä'), engine.save({ messages }, '..'), other]);
    messages.push({ role: 'user', content: 'What is my name?' });
    return { unknown, saved, listed: await lfm2.listStates(), models: (await lfm2.listModels()).length, messages, last: await ask(messages) };
  }, FIRST);
  ({ messages: conversation, last } = told);
  saved = told.saved[0];
  assert.equal(told.unknown, 0, 'nothing of it was computed');
  assert.ok(saved > 30 && saved === told.saved[1], `${told.saved}`);
  assert.deepEqual(told.listed.map(({ name }) => name).sort(), ['..', 'a/ä']);
  for (const { bytes, saved: time } of told.listed) assert.ok(bytes > 1000 && Math.abs(Date.now() - time) < 60_000);
  assert.equal(told.models, 1, 'states are no models');
  assert.match(last.message.content, /Ada/);
});

test('without a file system, or without space, conversations go on', async () => {
  const told = await page.evaluate(async (messages) => {
    const { getDirectory } = StorageManager.prototype;
    const { write } = FileSystemWritableFileStream.prototype;
    FileSystemWritableFileStream.prototype.write = () => Promise.reject(new DOMException('full', 'QuotaExceededError'));
    const before = (await lfm2.listStates()).length;
    const answer = await ask(messages);
    const full = await failure(engine.save({ messages }, 'full'));
    FileSystemWritableFileStream.prototype.write = write;
    const listed = (await lfm2.listStates()).length - before;
    StorageManager.prototype.getDirectory = () => Promise.reject(new Error('private window'));
    const none = [await failure(engine.save({ messages }, 'none')), await engine.restore('a/ä'), await lfm2.listStates()];
    StorageManager.prototype.getDirectory = getDirectory;
    return { full, listed, none, same: (await ask(messages)).message.content === answer.message.content };
  }, conversation);
  assert.match(told.full, /^saved_state: full: cannot write it: full$/);
  assert.equal(told.listed, 0, 'no part of a file stays');
  assert.match(told.none[0], /^saved_state: none: cannot write it: the browser has no private file system/);
  assert.deepEqual(told.none.slice(1), [0, []]);
  assert.ok(told.same);
});

test('a later visit continues it without computing it again, also in a worker', async () => {
  await page.close();
  page = await newPage();
  const told = await page.evaluate(async (messages) => {
    await start('createWorkerEngine');
    const [missing, restored] = [await engine.restore('unknown'), await engine.restore('a/ä')];
    const last = await ask(messages);
    const again = await engine.save({ messages: [...messages, last.message] }, 'b');
    return { missing, restored, last, again };
  }, conversation);
  assert.deepEqual([told.missing, told.restored], [0, saved]);
  assert.equal(told.last.timings.cache_n, saved);
  assert.deepEqual(told.last.message, last.message);
  assert.ok(told.again > saved);
});

test('a state that is damaged or cut is refused', async () => {
  const told = await page.evaluate(async () => {
    await spoil('b', 'byte');
    const codes = [await failure(engine.restore('b'))];
    await spoil('b', 1000);
    codes.push(await failure(engine.restore('b')));
    await spoil('b', 3);
    codes.push(await failure(engine.restore('b')));
    return { codes, deleted: [await lfm2.deleteState('b'), await lfm2.deleteState('b')] };
  });
  const [damaged, cut, short] = told.codes;
  assert.match(damaged, /^saved_state: b: is damaged: its checksum differs$/);
  assert.match(cut, /^saved_state: b: does not have the length/);
  assert.match(short, /^saved_state: b: is not a saved state$/);
  assert.deepEqual(told.deleted, [true, false]);
});

test('all states together are bounded: the oldest are removed', async () => {
  await page.close();
  page = await newPage();
  const told = await page.evaluate(async () => {
    const { PrivateFiles } = await import('/dist/loader/states.js');
    for (const { name } of await lfm2.listStates()) await lfm2.deleteState(name);
    const files = new PrivateFiles(250);
    const save = async (name, bytes) => {
      const writer = await files.create(name);
      await writer.write(new Uint8Array(bytes)).then(() => writer.close(), async (thrown) => (await writer.abort(), Promise.reject(thrown)));
      // The order of files follows from their times in milliseconds.
      await new Promise((resolve) => setTimeout(resolve, 10));
    };
    const names = async () => (await lfm2.listStates()).map(({ name }) => name).join(' ');
    const seen = [];
    for (const [name, bytes] of [['a', 100], ['b', 100], ['a', 120], ['c', 100]]) {
      await save(name, bytes);
      seen.push(await names());
    }
    return { seen, large: await failure(save('d', 251)), after: await names() };
  });
  assert.deepEqual(told.seen, ['a', 'b a', 'a b', 'c a']);
  assert.match(told.large, /has more than 250 bytes/);
  assert.equal(told.after, 'c a');
});
