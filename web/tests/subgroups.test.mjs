// Subgroups, which wgpu does not request in browsers: they are used if the adapter has them, and the answers are
// the same without them. The first test presents SwiftShader as a GPU, since no kernel for a software adapter has
// a use for its subgroups of four lanes. GPUs' kernels are slow there, so answers are short.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch, openPage } from './browser.mjs';
import { nativeAnswers, questions } from './native.mjs';
import { serve } from './server.mjs';

let server, browser, page;

before(async () => {
  server = await serve();
  browser = await launch();
  page = await openPage(browser, server.address);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

test('with and without subgroups the answers are the native program\'s', async () => {
  const conversations = await questions(1);
  const native = await nativeAnswers(conversations, 8);
  let drawn;
  for (const has of [true, false]) {
    const told = await page.evaluate(
      async ([has, conversations]) => {
        const { requestAdapter } = GPU.prototype;
        const { requestDevice } = GPUAdapter.prototype;
        const fallback = Object.getOwnPropertyDescriptor(GPUAdapterInfo.prototype, 'isFallbackAdapter');
        Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { ...fallback, get: () => false });
        const programs = [];
        const { createShaderModule } = GPUDevice.prototype;
        GPUDevice.prototype.createShaderModule = function (about) {
          programs.push(about.code);
          return createShaderModule.call(this, about);
        };
        const asked = [];
        GPUAdapter.prototype.requestDevice = function (about) {
          asked.push(...(about?.requiredFeatures ?? []));
          return requestDevice.call(this, about);
        };
        if (!has) {
          GPU.prototype.requestAdapter = async function (options) {
            const adapter = await requestAdapter.call(this, options);
            const features = new Set([...adapter.features].filter((name) => name !== 'subgroups'));
            return Object.defineProperty(adapter, 'features', { value: features });
          };
        }
        try {
          const engine = await lfm2.createEngine({ model: '/demo/' });
          const answers = [];
          for (const conversation of conversations) {
            const request = { ...conversation, temperature: 0, repetition_penalty: 1, min_p: 0, max_tokens: 8 };
            answers.push((await engine.chat.completions.create(request)).choices[0].message.content);
          }
          // Sampling forms sums with subgroups on every adapter that has them.
          const sampled = { messages: [{ role: 'user', content: 'Hi' }], temperature: 1, top_p: 0.9, seed: 7, max_tokens: 8 };
          const drawn = (await engine.chat.completions.create(sampled)).choices[0].message.content;
          await engine.dispose();
          const enabled = programs.filter((code) => /^enable subgroups;$/m.test(code)).length;
          return { answers, drawn, enabled, asked: asked.includes('subgroups'), features: engine.info.features };
        } finally {
          Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', fallback);
          Object.assign(GPU.prototype, { requestAdapter });
          Object.assign(GPUAdapter.prototype, { requestDevice });
          Object.assign(GPUDevice.prototype, { createShaderModule });
        }
      },
      [has, conversations],
    );
    assert.deepEqual(told.answers, native);
    assert.equal(told.asked, has);
    assert.equal(told.features.includes('subgroups'), has, told.features.join());
    assert.equal(told.enabled > 0, has, `${told.enabled} programs`);
    assert.ok(told.drawn.length > 0);
    drawn ??= told.drawn;
    assert.equal(told.drawn, drawn);
  }
});

test('a page\'s own device has subgroups if it was created with them', async () => {
  const told = await page.evaluate(async () => {
    const features = [];
    for (const requiredFeatures of [['subgroups'], []]) {
      const device = await (await navigator.gpu.requestAdapter()).requestDevice({ requiredFeatures });
      const engine = await lfm2.createEngine({ model: '/demo/', device });
      features.push(engine.info.features.includes('subgroups'));
      await engine.dispose();
      device.destroy();
    }
    return features;
  });
  assert.deepEqual(told, [true, false]);
});
