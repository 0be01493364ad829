// LoRA adapters: from files, a URL and the hub; chosen by requests; there again after a lost device.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launch, openPage } from './browser.mjs';
import { serve } from './server.mjs';

let server, browser;

before(async () => {
  server = await serve();
  server.model = adapter(1);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** The files that PEFT would write for an adapter of two matrices of the demonstration model, with random values. */
function adapter(seed) {
  let state = seed;
  const random = () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1) * 0.3;
  const shapes = { 'conv.in_proj.lora_A': [4, 192], 'conv.in_proj.lora_B': [576, 4], 'feed_forward.w2.lora_A': [4, 448], 'feed_forward.w2.lora_B': [192, 4] };
  const header = {};
  const values = [];
  for (const [name, shape] of Object.entries(shapes)) {
    const begin = 4 * values.length;
    for (let i = 0; i < shape[0] * shape[1]; i++) values.push(random());
    header[`base_model.model.model.layers.0.${name}.weight`] = { dtype: 'F32', shape, data_offsets: [begin, 4 * values.length] };
  }
  const json = Buffer.from(JSON.stringify(header).padEnd(Math.ceil(JSON.stringify(header).length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeUInt32LE(json.length);
  const config = { peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: ['in_proj', 'w2'], layers_to_transform: [0], bias: 'none' };
  return {
    'adapter_config.json': Buffer.from(JSON.stringify(config)),
    'adapter_model.safetensors': Buffer.concat([length, json, Buffer.from(new Float32Array(values).buffer)]),
  };
}

for (const make of ['createEngine', 'createWorkerEngine']) {
  describe(make, () => {
    let page;

    before(async () => {
      page = await openPage(browser, server.address);
      const files = Object.entries(adapter(1)).map(([name, bytes]) => [name, [...bytes]]);
      await page.evaluate(async ([make, files]) => {
        globalThis.engine = await lfm2[make]({ model: '/demo/', parallel: 3, contextLength: 256, hub: { endpoint: `${location.origin}/hub` } });
        globalThis.files = files.map(([name, bytes]) => new File([new Uint8Array(bytes)], name));
        globalThis.ask = async (how = {}) => {
          const request = { messages: [{ role: 'user', content: 'Who are you?' }], temperature: 0, max_tokens: 12, ...how };
          const answer = await engine.chat.completions.create(request);
          return [answer.choices[0].message.content, answer.model];
        };
        globalThis.refused = (promise) => promise.then(() => 'no error', ({ code, message }) => `${code}: ${message}`);
      }, [make, files]);
    });
    after(() => page?.close());

    test('adapters of three sources change the answers of the requests that choose them', async () => {
      const seen = await page.evaluate(async () => {
        const [alone] = await ask();
        await engine.loadLora({ name: 'picked', lora: files });
        await engine.loadLora({ name: 'fetched', lora: '/model/' });
        await engine.loadLora({ name: 'hub', lora: 'test/model', scale: 0.5 });
        const asked = [{}, { lora: 'picked' }, { model: 'fetched' }, { lora: { name: 'hub', scale: 1 } }, { lora: { name: 'picked', scale: 0 } }];
        const answers = await Promise.all(asked.map((how) => ask(how)));
        return { alone, answers, loras: await engine.loras() };
      });
      const texts = seen.answers.map(([text]) => text);
      assert.equal(texts[0], seen.alone);
      assert.notEqual(texts[1], seen.alone);
      assert.deepEqual(texts.slice(2), [texts[1], texts[1], seen.alone]);
      assert.equal(seen.answers[2][1], 'fetched');
      assert.deepEqual(seen.loras, [
        { name: 'picked', rank: 4, scale: 1 },
        { name: 'fetched', rank: 4, scale: 1 },
        { name: 'hub', rank: 4, scale: 0.5 },
      ]);
    });

    test('a bad adapter is refused and changes nothing', async () => {
      const seen = await page.evaluate(async () => {
        const cut = new File([await files[1].slice(0, 20_000).arrayBuffer()], files[1].name);
        const refusals = [
          await refused(engine.loadLora({ name: 'cut', lora: [files[0], cut] })),
          await refused(engine.loadLora({ name: 'picked', lora: files })),
          await refused(engine.loadLora({ name: 'nowhere', lora: '/nothing/' })),
          await refused(ask({ lora: 'cut' })),
          await refused(engine.unloadLora('cut')),
        ];
        return { refusals, names: (await engine.loras()).map(({ name }) => name) };
      });
      assert.deepEqual(seen.names, ['picked', 'fetched', 'hub']);
      const expected = [/adapter_model\.safetensors/, /picked: is loaded already/, /not_found.*no such file/, /invalid_request.*cut/, /cut: is not loaded/];
      seen.refusals.forEach((refusal, i) => assert.match(refusal, expected[i]));
    });

    test('a removed adapter is gone, the others are there after a recovery', async () => {
      const before = await page.evaluate(async () => {
        await engine.unloadLora('hub');
        return ask({ lora: 'picked' });
      });
      const seen = await page.evaluate(async () => {
        await engine.recover();
        return { names: (await engine.loras()).map(({ name }) => name), answer: await ask({ lora: 'picked' }), gone: await refused(ask({ lora: 'hub' })) };
      });
      assert.deepEqual(seen.names, ['picked', 'fetched']);
      assert.deepEqual(seen.answer, before);
      assert.match(seen.gone, /invalid_request/);
    });
  });
}
