// The package in Node, on Dawn with Chromium's SwiftShader: Dawn refuses Debian's lavapipe.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { nativeAnswers, questions } from './native.mjs';
import { serve } from './server.mjs';

const WEB = fileURLToPath(new URL('..', import.meta.url));
const MODEL = path.join(WEB, 'demo/model');
const DRIVER = process.env.VK_DRIVER_FILES ?? '/usr/lib/chromium/vk_swiftshader_icd.json';

let server;
before(async () => (server = await serve()));
after(() => server?.close());

/**
 * Runs a program that can use `lfm2` (the package's exports as Node finds them), `given` and `tell`. Returns the value that it
 * told. The program must end by itself.
 */
async function program(text, given, lfm2 = 'lfm2-wgpu') {
  const head = `import * as lfm2 from ${JSON.stringify(lfm2)}; const given = ${JSON.stringify(given)}; let told;\n`;
  const tail = '\nprocess.stdout.write(JSON.stringify(told));';
  const args = ['--input-type=module', '--eval', head + text + tail];
  const env = { ...process.env, VK_ICD_FILENAMES: DRIVER, VK_DRIVER_FILES: DRIVER };
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: WEB, env, timeout: 300_000 });
  return JSON.parse(stdout);
}

test('answers are the native program\'s, from a folder and from a server, by two engines in one process', async () => {
  const conversations = await questions(2);
  const told = await program(
    `
    const before = Object.getOwnPropertyNames(globalThis);
    const answers = async (engine) => {
      const texts = [];
      for (const conversation of given.conversations) {
        const request = { ...conversation, temperature: 0, repetition_penalty: 1, min_p: 0, max_tokens: 32 };
        texts.push((await engine.chat.completions.create(request)).choices[0].message.content);
      }
      return texts;
    };
    const engines = await Promise.all(given.models.map((model) => lfm2.createEngine({ model })));
    const both = await Promise.all(engines.map(answers));
    await engines[0].dispose();
    const again = await answers(engines[1]);
    await engines[1].dispose();
    const added = Object.getOwnPropertyNames(globalThis).filter((name) => !before.includes(name));
    told = { both, again, gpu: engines[0].info.gpu, added: added.filter((name) => !/^(GPU|WGSL)/.test(name)) };
    `,
    { conversations, models: [MODEL, `${server.address}/demo/`] },
  );
  const native = await nativeAnswers(conversations, 32);
  assert.deepEqual(told.both, [native, native]);
  assert.deepEqual(told.again, native);
  assert.match(told.gpu, /SwiftShader/i);
  assert.deepEqual(told.added, [], 'the global object gains only the classes of WebGPU');
});

test('two answers at once, and a state in a file that another engine continues', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'lfm2-node-'));
  try {
    const told = await program(
      `
      const code = (promise) => promise.then(() => 'none', (error) => error.code);
      let engine = await lfm2.createEngine({ model: given.model, parallel: 2, contextLength: 256 });
      const ask = async (messages) => (await engine.chat.completions.create({ messages, temperature: 0, max_tokens: 16 }));
      const events = [];
      const stream = async (content) => {
        let text = '';
        for await (const chunk of await engine.chat.completions.create({ messages: [{ role: 'user', content }], temperature: 0, max_tokens: 16, stream: true })) {
          if (text === '' && chunk.choices[0].delta.content) events.push('first');
          text += chunk.choices[0].delta.content ?? '';
        }
        events.push('end');
        return text;
      };
      const questions = ['My name is Ada.', 'What is lfm2-wgpu?'];
      const alone = [await stream(questions[0]), await stream(questions[1])];
      events.length = 0;
      const together = await Promise.all(questions.map(stream));
      const messages = [{ role: 'user', content: questions[0] }, { role: 'assistant', content: alone[0] }, { role: 'user', content: 'What is my name?' }];
      const saved = await engine.save({ messages: messages.slice(0, 2) }, given.file);
      const before = await ask(messages);
      await engine.dispose();
      engine = await lfm2.createEngine({ model: given.model, contextLength: 256 });
      const restored = await engine.restore(given.file);
      const after = await ask(messages);
      told = {
        alone, together, events, saved, restored, cached: after.usage.prompt_tokens_details.cached_tokens,
        texts: [before, after].map(({ choices }) => choices[0].message.content),
        missing: await engine.restore(given.file + '.not'),
        foreign: await code(engine.restore(given.model + '/config.json')),
        nowhere: await code(engine.save({ messages }, '/nowhere/at/all')),
      };
      await engine.dispose();
      `,
      { model: MODEL, file: path.join(folder, 'ada.state') },
    );
    assert.deepEqual(told.together, told.alone);
    assert.deepEqual(told.events.slice(0, 2), ['first', 'first']);
    assert.ok(told.saved > 10 && told.restored === told.saved && told.cached === told.saved, JSON.stringify(told));
    assert.equal(told.texts[0], told.texts[1]);
    assert.deepEqual([told.missing, told.foreign, told.nowhere], [0, 'saved_state', 'saved_state']);
    assert.deepEqual(await readdir(folder), ['ada.state']);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('paths, file URLs and preflight; errors name their kind', async () => {
  const folder = pathToFileURL(MODEL).href;
  const told = await program(
    `
    const code = (promise) => promise.then(() => 'none', (error) => error.code);
    const { verdict, parameters } = await lfm2.preflight({ model: given.folder });
    told = {
      verdict, parameters,
      missing: await code(lfm2.createEngine({ model: './missing.gguf' })),
      text: await code(lfm2.createEngine({ model: './package.json' })),
      worker: await code(lfm2.createWorkerEngine({ model: given.folder })),
    };
    `,
    { folder },
  );
  assert.deepEqual(told, {
    verdict: 'risky', parameters: told.parameters, missing: 'not_found', text: 'bad_model', worker: 'invalid_request',
  });
  assert.ok(told.parameters > 3e6);
});

test('answers follow a schema', async () => {
  const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'], additionalProperties: false };
  const told = await program(
    `
    const engine = await lfm2.createEngine({ model: given.model });
    const messages = [{ role: 'user', content: 'Who are you?' }];
    const response_format = { type: 'json_schema', json_schema: { schema: given.schema } };
    const answer = await engine.chat.completions.create({ messages, response_format });
    await engine.dispose();
    told = JSON.parse(answer.choices[0].message.content);
    `,
    { model: MODEL, schema },
  );
  assert.deepEqual(Object.keys(told), ['ok']);
  assert.equal(typeof told.ok, 'boolean');
});

test('without the package webgpu, the error says how to install it', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'lfm2-node-'));
  try {
    await cp(path.join(WEB, 'dist'), folder, { recursive: true });
    await cp(path.join(WEB, 'package.json'), path.join(folder, 'package.json'));
    const told = await program(
      'told = await lfm2.createEngine({ model: given }).catch(({ code, message }) => ({ code, message }));',
      MODEL,
      pathToFileURL(path.join(folder, 'node.js')).href,
    );
    assert.equal(told.code, 'no_webgpu');
    assert.match(told.message, /npm install webgpu/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
