// Failures between the first request and the last token; the page stays usable.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import { launch, openPage } from './browser.mjs';
import { demoFiles, packageOf, serve } from './server.mjs';

let server, browser, context, page, model;

before(async () => {
  server = await serve();
  browser = await launch();
  context = await browser.newContext();
  model = packageOf(await demoFiles());
});
after(async () => {
  await browser?.close();
  await server?.close();
});
beforeEach(async () => {
  server.model = model;
  server.send();
  await page?.close();
  page = await openPage(context, server.address);
  await page.evaluate(() => {
    /** The code and sentence of the rejection. */
    globalThis.failure = async (make, options) => {
      const began = performance.now();
      try {
        await (await lfm2[make]({ model: '/model/', cache: 'none', ...options })).dispose();
        return { code: 'no error' };
      } catch (error) {
        if (!(error instanceof lfm2.Lfm2Error)) throw error;
        return { code: error.code, sentence: error.forVisitor, message: error.message, ms: performance.now() - began };
      }
    };
  });
});

const MAKES = ['createEngine', 'createWorkerEngine'];
const failure = (make, options) => page.evaluate(([make, options]) => failure(make, options), [make, options]);

for (const make of MAKES) {
  test(`${make}: a model that does not come is told by its kind`, async () => {
    const cases = [
      ['not_found', () => (server.model = {})],
      ['wrong_content', () => (server.model = {}), { pages: true }],
      ['http_status', () => undefined, { status: 403 }],
      ['network', () => undefined, { down: true }],
      ['integrity', () => undefined, { corrupt: 'tokenizer_config.json' }],
      ['bad_model', () => (server.model = packageOf({ ...model, 'config.json': Buffer.from('{}') }))],
      ['bad_model', () => (server.model = packageOf({ 'x.gguf': Buffer.from('GGUF, or not') }))],
      ['wrong_content', () => (server.model = { 'manifest.json': Buffer.from('<html>') })],
    ];
    // Without a cache a wrong hash is found at the end of loading, so this takes a complete load.
    for (const [code, prepare, way] of cases.filter(([code]) => code !== 'integrity' || make === 'createEngine')) {
      server.model = model;
      server.send(way);
      prepare();
      const told = await failure(make, {});
      assert.equal(told.code, code, JSON.stringify(told));
      assert.match(told.sentence, /^[A-Z].*\.$/);
      assert.match(told.message, /^[^\n]+$/);
    }
  });
}

test('loading can be stopped in every phase without delay', async () => {
  for (const make of MAKES) {
    for (const phase of ['before', 'download', 'upload', 'compile', 'warmup']) {
      server.send({ slow: phase === 'download' ? 20 : 0 });
      const told = await page.evaluate(
        async ([make, phase]) => {
          const controller = new AbortController();
          let stopped = performance.now();
          const stop = () => ((stopped = performance.now()), controller.abort());
          if (phase === 'before') stop();
          // The first byte of a slow download comes late: it is stopped before any byte.
          if (phase === 'download') setTimeout(stop, 200);
          const onProgress = (progress) => progress.phase === phase && phase !== 'download' && stop();
          const told = await failure(make, { signal: controller.signal, onProgress });
          return { ...told, after: performance.now() - stopped };
        },
        [make, phase],
      );
      assert.equal(told.code, 'aborted', `${make}, ${phase}: ${JSON.stringify(told)}`);
      assert.ok(told.after < 3000, `${make}, ${phase}: stopped after ${told.after} ms`);
    }
  }
});

test('preflight reports a model\'s memory, and downloads almost nothing', async () => {
  const told = await page.evaluate(() => lfm2.preflight({ model: '/model/', contextLength: 512 }));
  const total = Object.values(model).reduce((sum, bytes) => sum + bytes.length, 0) - model['manifest.json'].length;
  assert.deepEqual(told.bytes, { total, cached: 0 });
  assert.equal(told.verdict, 'risky', 'on a software adapter');
  assert.deepEqual(told.reasons, ['This browser has no real GPU: the model answers slowly.']);
  assert.equal(told.contextLength, 512);
  assert.ok(told.memory.weights > 6e6 && told.memory.total > told.memory.weights);
  assert.ok(told.storage > 1e9 && told.gpu.limits.maxBufferSize >= 2 ** 28);
  const asked = server.log.map(({ range }) => /(\d+)-(\d+)/.exec(range ?? '') ?? [0, 0, 0]);
  const bytes = asked.reduce((sum, [, start, end]) => sum + Number(end) - Number(start) + 1, 0);
  assert.ok(bytes < 200_000, `${bytes} bytes were asked for`);
  // On a server without ranges only the beginnings of files are read.
  server.send({ ranges: false, slow: 20 });
  assert.deepEqual(await page.evaluate(() => lfm2.preflight({ model: '/model/', contextLength: 512 })), told);
  const weights = model['model.safetensors'].length;
  assert.ok(server.sent < total - weights / 2, `${server.sent} of ${total} bytes were sent`);
  const { verdict, reasons } = await page.evaluate(() => lfm2.preflight({ model: new File(['GGUF'], 'x.gguf') }));
  assert.equal(verdict, 'no');
  assert.equal(reasons.length, 1);
  const code = await page.evaluate(() => lfm2.preflight({ model: '/nowhere/' }).catch((error) => error.code));
  assert.equal(code, 'not_found');
});

test('a lost device ends the answer, and the conversation continues with a new engine', async () => {
  const told = await page.evaluate(async () => {
    const { requestDevice } = GPUAdapter.prototype;
    const devices = [];
    GPUAdapter.prototype.requestDevice = async function (...options) {
      devices.push(await requestDevice.apply(this, options));
      return devices.at(-1);
    };
    const first = await lfm2.createEngine({ model: '/model/' });
    const messages = [{ role: 'user', content: 'My name is Ada.' }];
    const ask = (engine) => engine.chat.completions.create({ messages, temperature: 0, stream: true });
    const codes = [];
    let text = '';
    try {
      for await (const chunk of await ask(first)) {
        text += chunk.choices[0].delta.content ?? '';
        if (text !== '') devices[0].destroy();
      }
    } catch (error) {
      codes.push(error.code);
    }
    codes.push(await first.chat.completions.create({ messages }).catch((error) => error.code));
    await first.dispose();
    const phases = new Set();
    const second = await lfm2.createEngine({ model: '/model/', onProgress: ({ phase, fromCache }) => phases.add(`${phase} ${fromCache}`) });
    let answer = '';
    for await (const chunk of await ask(second)) answer += chunk.choices[0].delta.content ?? '';
    await second.dispose();
    return { text, codes, answer, phases: [...phases] };
  });
  assert.deepEqual(told.codes, ['device_lost', 'device_lost']);
  assert.ok(told.text.length > 0 && told.answer.startsWith(told.text), JSON.stringify(told));
  assert.deepEqual(told.phases, ['compile true', 'upload true', 'warmup true', 'ready true']);
});

test('a page\'s own device is used, is not visible elsewhere, and survives', async () => {
  const told = await page.evaluate(async () => {
    const adapter = await navigator.gpu.requestAdapter();
    const device = await adapter.requestDevice({ label: 'the page\'s' });
    const made = [];
    const { createBuffer } = device;
    device.createBuffer = (about) => (made.push(about.label), createBuffer.call(device, about));
    const engine = await lfm2.createEngine({ model: '/model/', device });
    const asked = { messages: [{ role: 'user', content: 'What is 3 + 4?' }], temperature: 0 };
    const answer = (await engine.chat.completions.create(asked)).choices[0].message.content;
    await engine.dispose();
    const buffer = device.createBuffer({ size: 4, usage: GPUBufferUsage.COPY_DST, mappedAtCreation: true });
    const refused = await failure('createWorkerEngine', { device });
    return {
      answer,
      made: made.length,
      alive: buffer.mapState === 'mapped',
      handler: device.onuncapturederror,
      refused: refused.code,
      ours: navigator.gpu instanceof GPU,
    };
  });
  assert.match(told.answer, /7/);
  assert.ok(told.made > 50, `${told.made} buffers`);
  assert.deepEqual([told.alive, told.handler, told.refused, told.ours], [true, null, 'invalid_request', true]);
});
