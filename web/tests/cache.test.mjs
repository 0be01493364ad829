// The cache in the browser's private file system. The tests only read files; no model runs.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';

import { launch, openPage } from './browser.mjs';
import { packageOf, serve, sha256 } from './server.mjs';

const CHUNK = 4 << 20;
const BIG = randomBytes(5.5 * CHUNK);
const MODEL = packageOf({ 'config.json': Buffer.from('{}'), 'model.safetensors': BIG });
const TOTAL = BIG.length + 2;
let server, browser, context, page;

before(async () => {
  server = await serve();
  browser = await launch();
  // All pages of a context belong to one visitor.
  context = await browser.newContext();
});
after(async () => {
  await browser?.close();
  await server?.close();
});
beforeEach(async () => {
  server.model = MODEL;
  server.send();
  await page?.close();
  page = await newPage();
  await page.evaluate(async () => {
    for (const { model } of await lfm2.listModels()) await lfm2.deleteModel(model);
  });
});

/** A page with `fetchModel(options)`, which reads all of the model as the engine would. */
async function newPage() {
  const page = await openPage(context, server.address);
  await page.evaluate(async () => {
    const { openModel } = await import('/dist/loader/open.js');
    const { Reporter } = await import('/dist/progress.js');
    const { default: init, Sha256 } = await import('/dist/wasm/lfm2.js');
    await init();
    globalThis.controller = new AbortController();
    globalThis.fetchModel = async (options, abortAt = Infinity) => {
      const report = ({ phase, loaded }) => phase === 'download' && loaded >= abortAt && controller.abort();
      const where = { model: '/model/', cache: 'opfs', ...options };
      try {
        const model = await openModel(where, controller.signal, () => new Sha256(), new Reporter(report));
        const hashes = {};
        try {
          for (const file of model.files) {
            const hasher = new Sha256();
            // Pieces that are not aligned to chunks, the second half first.
            const half = file.size >> 1;
            const second = await file.read(half, file.size - half);
            hasher.update(await file.read(0, half));
            hasher.update(second);
            hashes[file.name] = hasher.finish();
          }
          await model.finish();
        } catch (thrown) {
          await model.close();
          throw thrown;
        }
        return { hashes, fromCache: model.fromCache };
      } catch (thrown) {
        return { code: thrown.code ?? String(thrown) };
      }
    };
  });
  return page;
}

const EXPECTED = { 'config.json': sha256(Buffer.from('{}')), 'model.safetensors': sha256(BIG) };
const fetchModel = (options, abortAt) => page.evaluate(([o, a]) => fetchModel(o, a ?? undefined), [options ?? {}, abortAt]);
const list = () => page.evaluate(() => lfm2.listModels());
/** Number of requested bytes of the big file. */
const asked = () =>
  server.log.reduce((sum, { pathname, range }) => {
    const [, start, end] = (pathname.endsWith('model.safetensors') && /(\d+)-(\d+)/.exec(range ?? '')) || [];
    return start === undefined ? sum : sum + Number(end) - Number(start) + 1;
  }, 0);

test('the second visit needs no network, until the model is deleted', async () => {
  assert.deepEqual(await fetchModel(), { hashes: EXPECTED, fromCache: false });
  assert.equal(asked(), BIG.length, 'no byte is fetched twice');
  const [entry, ...others] = await list();
  assert.deepEqual([entry.model, entry.complete, others], [`${server.address}/model/`, true, []]);
  assert.ok(entry.bytes >= TOTAL);

  server.send({ down: true });
  await page.close();
  page = await newPage();
  assert.deepEqual(await fetchModel(), { hashes: EXPECTED, fromCache: true });
  assert.deepEqual(server.log, []);

  assert.equal(await page.evaluate(() => lfm2.deleteModel('/model/')), true);
  assert.equal(await page.evaluate(() => lfm2.deleteModel('/model/')), false);
  assert.deepEqual(await list(), []);
  assert.deepEqual(await fetchModel(), { code: 'network' });
});

test('an interrupted download resumes in a later visit', async () => {
  server.send({ slow: 5 });
  assert.deepEqual(await fetchModel({}, CHUNK), { code: 'aborted' });
  const [{ complete, bytes }] = await list();
  // The last chunk may arrive first, so `complete` decides and not the length.
  assert.ok(!complete && bytes >= CHUNK, `${bytes} bytes`);
  await page.close();
  page = await newPage();
  server.send();
  assert.deepEqual(await fetchModel(), { hashes: EXPECTED, fromCache: false });
  assert.ok(asked() <= BIG.length - CHUNK, `${asked()} bytes were asked for again`);
  assert.ok((await list())[0].complete);
});

test('a page that is closed during the download leaves no partial chunk', async () => {
  server.send({ slow: 5 });
  await page.evaluate(() => {
    globalThis.running = fetchModel();
    return new Promise((resolve) => setTimeout(resolve, 400));
  });
  await page.close();
  page = await newPage();
  server.send();
  assert.equal((await list())[0]?.complete, false);
  assert.deepEqual(await fetchModel(), { hashes: EXPECTED, fromCache: false });
});

test('a damaged download is deleted, and the next one is complete', async () => {
  server.send({ corrupt: 'model.safetensors' });
  assert.deepEqual(await fetchModel(), { code: 'integrity' });
  assert.equal((await list())[0].complete, false);
  server.send();
  assert.deepEqual(await fetchModel(), { hashes: EXPECTED, fromCache: false });
});

test('files that have changed at their source are fetched again', async () => {
  server.send({ slow: 5 });
  assert.deepEqual(await fetchModel({}, CHUNK), { code: 'aborted' });
  const other = Buffer.from(BIG).reverse();
  server.model = packageOf({ 'config.json': Buffer.from('{}'), 'model.safetensors': other });
  server.send();
  await page.evaluate(() => (globalThis.controller = new AbortController()));
  const { hashes, code } = await fetchModel();
  assert.equal(hashes?.['model.safetensors'], sha256(other), code);
});

test('a chunk that the browser has removed is fetched again', async () => {
  await fetchModel();
  await page.evaluate(async () => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle('lfm2-wgpu');
    for await (const [, folder] of root.entries()) await folder.removeEntry('1.1');
  });
  server.send();
  assert.deepEqual(await fetchModel(), { hashes: EXPECTED, fromCache: false });
  assert.equal(asked(), CHUNK);
});

test('a server without ranges, with and without the cache', async () => {
  for (const cache of ['opfs', 'none']) {
    server.send({ ranges: false });
    assert.deepEqual(await fetchModel({ cache }), { hashes: EXPECTED, fromCache: false });
    assert.equal((await list()).length, 1);
  }
});

test('without the file system, or if the model does not fit, it is read uncached', async () => {
  for (const obstacle of ['estimate', 'getDirectory', 'createWritable']) {
    await page.evaluate((obstacle) => {
      const { estimate, getDirectory } = StorageManager.prototype;
      globalThis.undo = () => Object.assign(StorageManager.prototype, { estimate, getDirectory });
      if (obstacle === 'estimate') StorageManager.prototype.estimate = async () => ({ quota: 1e6, usage: 0 });
      if (obstacle === 'getDirectory') StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException('no', 'SecurityError'));
      if (obstacle === 'createWritable') {
        // The disk becomes full during the download.
        FileSystemFileHandle.prototype.createWritable = () => Promise.reject(new DOMException('full', 'QuotaExceededError'));
      }
    }, obstacle);
    assert.deepEqual(await fetchModel(), { hashes: EXPECTED, fromCache: false }, obstacle);
    await page.evaluate(() => undo());
    assert.ok((await list()).every((entry) => !entry.complete), obstacle);
  }
});

test('files that the visitor picked', async () => {
  const hashes = await page.evaluate(async () => {
    const bytes = new Uint8Array(3000).map((_, i) => i);
    const files = [new File(['{}'], 'config.json'), new File([bytes], 'model.safetensors')];
    return (await fetchModel({ model: files })).hashes;
  });
  assert.equal(hashes['model.safetensors'], sha256(Buffer.from(Uint8Array.from({ length: 3000 }, (_, i) => i))));
  assert.deepEqual(await list(), []);
});
