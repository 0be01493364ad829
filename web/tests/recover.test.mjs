// After a lost device the same engine continues on a new one, with the same conversation.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import { launch, openPage } from './browser.mjs';
import { demoFiles, packageOf, serve } from './server.mjs';

let server, browser, context, page;

before(async () => {
  server = await serve();
  server.model = packageOf(await demoFiles());
  browser = await launch();
  context = await browser.newContext();
});
after(async () => {
  await browser?.close();
  await server?.close();
});
beforeEach(async () => {
  server.send();
  await page?.close();
  page = await openPage(context, server.address);
  await page.evaluate(() => {
    globalThis.messages = [{ role: 'user', content: 'My name is Ada.' }];
    globalThis.ask = async (engine, options) => {
      const stream = await engine.chat.completions.create({ messages, temperature: 0, stream: true, max_tokens: 16 }, options);
      let [text, code] = ['', 'no error'];
      try {
        for await (const chunk of stream) text += chunk.choices[0].delta.content ?? '';
      } catch (error) {
        code = error.code;
      }
      return { text, code };
    };
    globalThis.code = (promise) => promise.then(() => 'no error', (error) => error.code ?? String(error));
  });
});

/** Destroys the engine's device, in the page or its worker, at its `n`th use from now. */
async function loseDevice(n) {
  const where = page.workers()[0] ?? page;
  await where.evaluate((n) => {
    const { createCommandEncoder } = GPUDevice.prototype;
    GPUDevice.prototype.createCommandEncoder = function (...about) {
      if (--n === 0) {
        GPUDevice.prototype.createCommandEncoder = createCommandEncoder;
        this.destroy();
      }
      return createCommandEncoder.apply(this, about);
    };
  }, n);
}

for (const [make, cache] of [['createEngine', 'opfs'], ['createWorkerEngine', 'none']]) {
  test(`${make}, cache ${cache}: a device lost in an answer, and the same conversation after it`, async () => {
    const answers = await page.evaluate(async ([make, cache]) => {
      globalThis.engine = await lfm2[make]({ model: '/model/', cache });
      const first = await ask(engine);
      messages.push({ role: 'assistant', content: first.text }, { role: 'user', content: 'What is my name?' });
      return { first, second: await ask(engine) };
    }, [make, cache]);
    assert.match(answers.second.text, /Ada/);
    assert.equal(answers.second.code, 'no error');

    await loseDevice(4);
    const lost = await page.evaluate(async () => [await ask(engine), await ask(engine)]);
    assert.deepEqual(lost.map(({ code }) => code), ['device_lost', 'device_lost']);
    assert.ok(answers.second.text.startsWith(lost[0].text) && lost[0].text !== answers.second.text, JSON.stringify(lost));

    server.send({ down: cache === 'opfs' });
    const told = await page.evaluate(async () => {
      const { contextLength } = engine.info;
      const progress = [];
      const recovery = engine.recover({ onProgress: (p) => progress.push(p) });
      // Requests made meanwhile wait for the recovery.
      const early = ask(engine);
      await recovery;
      const answers = [await early, await ask(engine)];
      const same = engine.info.contextLength === contextLength && (await engine.counters()).dispatches > 0;
      return { answers, same, progress };
    });
    assert.deepEqual(told.answers, [answers.second, answers.second]);
    assert.ok(told.same);
    const phases = new Set(told.progress.map(({ phase }) => phase));
    const expected = cache === 'opfs' ? [] : ['download', 'verify'];
    assert.deepEqual([...phases].sort(), ['compile', ...expected, 'ready', 'upload', 'warmup'].sort());
    assert.equal(told.progress.at(-1).fraction, 1);
    assert.ok(told.progress.every((p) => p.fromCache === (cache === 'opfs')));
  });
}

test('several answers are lost together, and a recovery does not wait for their readers', async () => {
  await page.evaluate(async () => {
    globalThis.engine = await lfm2.createEngine({ model: '/model/', parallel: 3, contextLength: 256 });
    const { create } = engine.chat.completions;
    // One token again and again, so that no answer ends before the device is lost.
    const long = { temperature: 0, stream: true, max_tokens: 200, logit_bias: { 300: 100 } };
    const begin = async (content) => (await create({ messages: [{ role: 'user', content }], ...long }))[Symbol.asyncIterator]();
    globalThis.streams = await Promise.all(['My name is Ada.', 'Count from 1 to 100.', 'What is lfm2-wgpu?'].map(begin));
    // The beginning of each, and one text.
    for (let n = 0; n < 2; n++) await Promise.all(streams.map((stream) => stream.next()));
  });
  await loseDevice(2);
  const told = await page.evaluate(async () => {
    const rest = async (stream) => {
      for (;;) if ((await stream.next()).done) return 'no error';
    };
    const read = streams.slice(1).map((stream) => code(rest(stream)));
    const codes = await Promise.all(read);
    // Nobody reads the first one until the engine has recovered.
    await engine.recover();
    return [...codes, await code(rest(streams[0])), (await ask(engine)).code];
  });
  assert.deepEqual(told, ['device_lost', 'device_lost', 'device_lost', 'no error']);
});

test('a recovery that fails or is stopped can be tried again', async () => {
  await page.evaluate(async () => (globalThis.engine = await lfm2.createWorkerEngine({ model: '/model/', cache: 'none' })));
  server.send({ down: true });
  const failed = await page.evaluate(async () => {
    const codes = [await code(engine.recover()), (await ask(engine).catch((error) => error)).code, await code(engine.counters())];
    const stop = new AbortController();
    stop.abort();
    return [...codes, await code(engine.recover({ signal: stop.signal }))];
  });
  assert.deepEqual(failed, ['network', 'device_lost', 'device_lost', 'aborted']);
  server.send();
  const told = await page.evaluate(async () => {
    const stop = new AbortController();
    const onProgress = ({ phase }) => phase === 'upload' && stop.abort();
    const stopped = await code(engine.recover({ signal: stop.signal, onProgress }));
    await Promise.all([engine.recover(), engine.recover()]);
    const answer = await ask(engine);
    const disposed = code(engine.recover({ onProgress: () => engine.dispose() }));
    return { stopped, answer, codes: [await disposed, await code(engine.recover()), await code(engine.counters())] };
  });
  assert.equal(told.stopped, 'aborted');
  assert.equal(told.answer.code, 'no error');
  assert.ok(told.answer.text.length > 0);
  assert.deepEqual(told.codes, ['disposed', 'disposed', 'disposed']);
});

test('a page\'s own device can only be replaced by another of its own', async () => {
  const told = await page.evaluate(async () => {
    const make = async () => (await navigator.gpu.requestAdapter()).requestDevice();
    const device = await make();
    const engine = await lfm2.createEngine({ model: '/model/', device });
    const before = await ask(engine);
    device.destroy();
    const lost = await ask(engine);
    const codes = [lost.code, await code(engine.recover()), await code(engine.recover({ device }))];
    await engine.recover({ device: await make() });
    const after = await ask(engine);
    await engine.dispose();
    return { before, codes, after };
  });
  assert.deepEqual(told.codes, ['device_lost', 'invalid_request', 'device_lost']);
  assert.equal(told.before.code, 'no error');
  assert.deepEqual(told.after, told.before);
});
