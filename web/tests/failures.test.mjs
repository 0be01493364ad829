// Failures of the browser or the network: the result is a typed error, or the model runs anyway, and the page
// stays usable.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import { launch, openPage } from './browser.mjs';
import { demoFiles, packageOf, serve } from './server.mjs';

const CHUNK = 4 << 20;
let server, browser, context, page, model;

before(async () => {
  server = await serve();
  browser = await launch();
  model = packageOf(await demoFiles());
});
after(async () => {
  await browser?.close();
  await server?.close();
});
beforeEach(async () => {
  server.model = model;
  server.send();
  await context?.close();
  context = await browser.newContext();
  page = await visit();
});

/** A page with `attempt(options)`, which loads the model, asks it, disposes of it, and returns the result. */
async function visit() {
  const page = await openPage(context, server.address);
  await page.evaluate(() => {
    globalThis.attempt = async (options, make = 'createEngine') => {
      try {
        const engine = await lfm2[make]({ model: '/model/', cache: 'opfs', ...options });
        const messages = [{ role: 'user', content: 'What is 3 + 4?' }];
        const { choices } = await engine.chat.completions.create({ messages, temperature: 0 });
        await engine.dispose();
        const { message, finish_reason } = choices[0];
        return { answer: message.content, finish_reason, cached: engine.info.cached };
      } catch (error) {
        if (!(error instanceof lfm2.Lfm2Error)) throw error;
        return { code: error.code, sentence: error.forVisitor };
      }
    };
  });
  return page;
}

const attempt = (options, make) => page.evaluate(([options, make]) => attempt(options, make ?? undefined), [options ?? {}, make]);
const list = () => page.evaluate(() => lfm2.listModels());
const size = () => Object.values(model).reduce((sum, bytes) => sum + bytes.length, 0) - model['manifest.json'].length;
/** Number of requested bytes. */
const asked = () =>
  server.log.reduce((sum, { range }) => {
    const [, start, end] = /(\d+)-(\d+)/.exec(range ?? '') ?? [];
    return start === undefined ? sum : sum + Number(end) - Number(start) + 1;
  }, 0);

function assertAnswer(told, cached) {
  assert.match(told.answer ?? '', /7/, JSON.stringify(told));
  assert.equal(told.finish_reason, 'stop');
  assert.equal(told.cached, cached);
}

test('after no adapter, no memory and no WebGPU the same page works once they are back', async () => {
  const told = await page.evaluate(async () => {
    const told = [];
    const fail = async () => told.push(await attempt({ cache: 'none' }), await lfm2.preflight({ model: '/model/' }));
    const { requestAdapter } = GPU.prototype;
    GPU.prototype.requestAdapter = async () => null;
    await fail();
    GPU.prototype.requestAdapter = requestAdapter;
    const { popErrorScope } = GPUDevice.prototype;
    let scopes = 0;
    GPUDevice.prototype.popErrorScope = async function () {
      const error = await popErrorScope.call(this);
      // While buffers are created.
      return ++scopes === 40 ? new GPUOutOfMemoryError('full') : error;
    };
    told.push(await attempt({ cache: 'none' }));
    GPUDevice.prototype.popErrorScope = popErrorScope;
    const gpu = Object.getOwnPropertyDescriptor(Navigator.prototype, 'gpu');
    delete Navigator.prototype.gpu;
    await fail();
    Object.defineProperty(Navigator.prototype, 'gpu', gpu);
    return { told, last: await attempt({ cache: 'none' }) };
  });
  assert.deepEqual(told.told.map((t) => t.code ?? t.verdict), ['no_adapter', 'no', 'out_of_memory', 'no_webgpu', 'no']);
  for (const { sentence, reasons } of told.told) assert.match(sentence ?? reasons[0], /^[A-Z].*\.$/);
  assertAnswer(told.last, false);
});

test('if the quota is used up during a download, the model runs uncached', async () => {
  await page.evaluate(() => {
    const { write } = FileSystemWritableFileStream.prototype;
    let written = 0;
    FileSystemWritableFileStream.prototype.write = function (bytes) {
      written += bytes.length;
      if (written > 6e6) return Promise.reject(new DOMException('full', 'QuotaExceededError'));
      return write.call(this, bytes);
    };
    globalThis.undo = () => (FileSystemWritableFileStream.prototype.write = write);
  });
  assertAnswer(await attempt(), false);
  const [{ complete, bytes }] = await list();
  assert.ok(!complete && bytes > CHUNK / 8 && bytes < size(), `${bytes} bytes are kept`);

  // Once there is space, the missing chunks are fetched and kept.
  await page.evaluate(() => undo());
  server.send();
  assertAnswer(await attempt(), true);
  // meta.json is also kept.
  assert.ok(asked() > 0 && asked() <= size() - bytes + 4096, `${asked()} bytes were asked for, ${bytes} were kept`);
});

test('a disk that is full at the end of a download leaves no model marked as complete', async () => {
  await page.evaluate(() => {
    const { createWritable } = FileSystemFileHandle.prototype;
    let begun = false;
    FileSystemFileHandle.prototype.createWritable = async function () {
      const writable = await createWritable.call(this);
      // It is written at the beginning of the download, and at its end.
      if (this.name === 'meta.json' && begun) {
        writable.close = async () => {
          await writable.abort();
          throw new DOMException('full', 'QuotaExceededError');
        };
      }
      begun ||= this.name === 'meta.json';
      return writable;
    };
  });
  assertAnswer(await attempt(), false);
  const [{ complete, bytes }] = await list();
  assert.ok(!complete && bytes >= size());
  // The next visit finds every byte, and only checks hashes.
  await page.close();
  page = await visit();
  server.send();
  assertAnswer(await attempt(), true);
  assert.equal(asked(), 0);
  assert.ok((await list())[0].complete);
});

test('a page with status 200 in place of every file, of some files, or from the model\'s own server', async () => {
  server.send({ pages: true });
  server.model = {};
  for (const model of ['/model/', '/model/x.gguf', 'test/model']) {
    const options = { model, hub: { endpoint: `${server.address}/page` } };
    assert.equal((await attempt(options)).code, 'wrong_content', model);
    const code = await page.evaluate((options) => lfm2.preflight(options).catch((error) => error.code), options);
    assert.equal(code, 'wrong_content', model);
  }
  const { 'model.safetensors': _, ...others } = model;
  server.model = others;
  assert.equal((await attempt({}, 'createWorkerEngine')).code, 'wrong_content');
  server.send();
  server.model = model;
  assertAnswer(await attempt(), true);
});

test('offline, the first visit gets an error, and the second needs no network', async () => {
  await context.setOffline(true);
  for (const make of ['createEngine', 'createWorkerEngine']) {
    const { code, sentence } = await attempt({}, make);
    assert.equal(code, 'network', make);
    assert.match(sentence, /connection/);
  }
  await context.setOffline(false);
  const first = await attempt({}, 'createWorkerEngine');
  assertAnswer(first, true);
  await page.close();
  page = await visit();
  server.send({ down: true });
  assert.deepEqual(await attempt({}, 'createWorkerEngine'), first);
  assert.deepEqual(await attempt(), first);
  assert.deepEqual(server.log, []);
});

test('loading that was stopped in any phase resumes', async () => {
  let kept = 0;
  for (const phase of ['download', 'upload', 'compile', 'verify', 'warmup']) {
    const told = await page.evaluate((phase) => {
      const controller = new AbortController();
      const onProgress = (progress) => progress.phase === phase && progress.loaded >= 0 && controller.abort();
      return attempt({ signal: controller.signal, onProgress });
    }, phase);
    assert.equal(told.code, 'aborted', `${phase}: ${JSON.stringify(told)}`);
    // Nothing is stored if the download stopped before its first chunk.
    const [{ bytes, complete } = { bytes: 0, complete: false }] = await list();
    // meta.json is one byte shorter with `true`.
    assert.ok(bytes >= kept - 1, `${phase}: ${bytes} after ${kept}`);
    // A download stopped during the hash check may be complete already.
    if (phase !== 'verify') assert.equal(complete, phase === 'warmup', phase);
    kept = bytes;
  }
  assert.ok(asked() < size() + 4 * CHUNK, `${asked()} bytes were asked for`);
  server.send();
  assertAnswer(await attempt(), true);
  assert.equal(asked(), 0);
});
