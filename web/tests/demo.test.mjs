// The built package with the demonstration model in a real browser.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launch, openPage } from './browser.mjs';
import { nativeAnswers, nativeMessage, questions } from './native.mjs';
import { serve } from './server.mjs';

let server, browser, conversations, native;

before(async () => {
  server = await serve();
  browser = await launch();
  conversations = await questions(20);
  native = await nativeAnswers(conversations, 48);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

for (const [make, most] of [['createEngine', 20], ['createWorkerEngine', 6]]) {
  describe(make, () => {
    let page;

    before(async () => {
      page = await openPage(browser, server.address);
      const { progress, info } = await page.evaluate(async (make) => {
        const progress = [];
        globalThis.engine = await lfm2[make]({ model: '/demo/', onProgress: (p) => progress.push(p) });
        return { progress, info: engine.info };
      }, make);
      const phases = new Set(progress.map(({ phase }) => phase));
      for (const phase of ['download', 'upload', 'compile', 'verify', 'warmup', 'ready']) assert.ok(phases.has(phase), phase);
      assert.equal(progress.at(-1).fraction, 1);
      progress.reduce((a, b) => (assert.ok(a.fraction <= b.fraction), b));
      assert.equal(info.parameters, 3_442_944);
      assert.equal(info.contextLength, 2048);
    });
    after(() => page?.close());

    test('greedy answers are the native program\'s, word for word', async () => {
      assert.ok(new Set(native).size > 10, 'the answers differ from each other');
      for (const [i, conversation] of conversations.slice(0, most).entries()) {
        const message = await page.evaluate(async (conversation) => {
          const request = { ...conversation, temperature: 0, repetition_penalty: 1, min_p: 0, max_tokens: 48 };
          return (await engine.chat.completions.create(request)).choices[0].message;
        }, conversation);
        const calls = ({ tool_calls }) => tool_calls?.map((call) => call.function);
        const wanted = await nativeMessage(native[i]);
        const question = `question ${i}: ${JSON.stringify(conversation.messages.at(-1))}`;
        assert.equal(message.content, wanted.content, question);
        assert.deepEqual(calls(message), calls(wanted), question);
      }
    });

    test('a stream is the whole answer in chunks', async () => {
      const { whole, chunks } = await page.evaluate(async () => {
        const request = { messages: [{ role: 'user', content: 'What is lfm2-wgpu?' }], temperature: 0, seed: 1 };
        const whole = await engine.chat.completions.create(request);
        const stream = { ...request, stream: true, stream_options: { include_usage: true } };
        const chunks = [];
        for await (const chunk of await engine.chat.completions.create(stream)) chunks.push(chunk);
        return { whole, chunks };
      });
      assert.equal(whole.object, 'chat.completion');
      assert.equal(whole.choices[0].finish_reason, 'stop');
      const { usage, timings } = whole;
      assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
      assert.ok(timings.prompt_n > 0 && timings.predicted_n === usage.completion_tokens);
      assert.ok(timings.predicted_per_second > 0 && timings.first_token_ms > 0);

      const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');
      assert.equal(text, whole.choices[0].message.content);
      assert.ok(chunks.length > 5, `${chunks.length} chunks`);
      assert.deepEqual(chunks[0].choices[0].delta, { role: 'assistant', content: '' });
      assert.ok(chunks.every((chunk) => chunk.id === chunks[0].id && chunk.object === 'chat.completion.chunk'));
      assert.equal(chunks.at(-2).choices[0].finish_reason, 'stop');
      assert.deepEqual(chunks.at(-1).choices, []);
      assert.deepEqual(chunks.at(-1).usage.total_tokens, usage.total_tokens);
    });

    test('leaving the loop, the signal and a dispose stop an answer', async () => {
      const told = await page.evaluate(async () => {
        const request = { messages: [{ role: 'user', content: 'Count from 1 to 100.' }], temperature: 0, stream: true };
        const { create } = engine.chat.completions;
        let left = 0;
        for await (const chunk of await create(request)) if (chunk.choices[0].delta.content && ++left === 2) break;

        const controller = new AbortController();
        let [chunks, last] = [0, null];
        for await (const chunk of await create(request, { signal: controller.signal })) {
          if (chunk.choices[0].delta.content && ++chunks === 2) controller.abort();
          last = chunk;
        }
        const early = new AbortController();
        early.abort();
        const none = await create({ ...request, stream: false }, { signal: early.signal });
        return { left, chunks, last, none };
      });
      assert.equal(told.left, 2);
      assert.equal(told.chunks, 2);
      assert.equal(told.last.choices[0].finish_reason, 'abort');
      assert.ok(told.last.timings.predicted_n <= 4, JSON.stringify(told.last.timings));
      assert.equal(told.none.choices[0].finish_reason, 'abort');
      assert.equal(told.none.usage.completion_tokens, 0);
    });

    test('a second turn computes only what is new', async () => {
      const turns = await page.evaluate(async () => {
        const messages = [{ role: 'user', content: 'My name is Ada.' }];
        const options = { temperature: 0, seed: 1 };
        const first = await engine.chat.completions.create({ messages, ...options });
        messages.push(first.choices[0].message, { role: 'user', content: 'What is my name?' });
        const second = await engine.chat.completions.create({ messages, ...options });
        return [first, second];
      });
      const [first, second] = turns.map((turn) => turn.timings);
      assert.ok(second.cache_n >= first.prompt_n + first.predicted_n - 2, JSON.stringify([first, second]));
      assert.ok(second.prompt_n < 16, JSON.stringify(second));
      assert.match(turns[1].choices[0].message.content, /Ada/);
    });

    test('a tool is called, answered, and spoken of', async () => {
      const tool = {
        name: 'get_time',
        description: 'Tells the time',
        parameters: { type: 'object', properties: { location: { type: 'string' } }, required: ['location'] },
      };
      const told = await page.evaluate(async (tool) => {
        const messages = [{ role: 'user', content: 'What time is it in Rome?' }];
        const request = { tools: [tool], temperature: 0, seed: 1 };
        const { create } = engine.chat.completions;
        const first = await create({ messages, ...request });
        const chunks = [];
        for await (const chunk of await create({ messages, ...request, stream: true })) chunks.push(chunk);
        messages.push(first.choices[0].message, { role: 'tool', content: '{"time": "12:30"}' });
        return { first, chunks, second: await create({ messages, ...request }) };
      }, tool);
      const { message, finish_reason } = told.first.choices[0];
      assert.equal(finish_reason, 'tool_calls');
      assert.equal(message.content, null);
      const [{ id, ...call }] = message.tool_calls;
      assert.match(id, /^call_/);
      assert.deepEqual(call, { type: 'function', function: { name: 'get_time', arguments: '{"location":"Rome"}' } });
      const deltas = told.chunks.map((chunk) => chunk.choices[0].delta);
      const [streamed, ...more] = deltas.flatMap((delta) => delta.tool_calls ?? []);
      assert.deepEqual([streamed.index, streamed.type, streamed.function], [0, call.type, call.function]);
      assert.match(streamed.id, /^call_/);
      assert.equal(more.length, 0);
      assert.equal(deltas.map((delta) => delta.content ?? '').join(''), '');
      assert.equal(told.chunks.at(-1).choices[0].finish_reason, 'tool_calls');
      assert.match(told.second.choices[0].message.content, /12:30/);
      assert.ok(told.second.timings.cache_n > 0, 'the turn before is used again');
    });

    test('a biased token is forced or banned', async () => {
      const [forced, banned] = await page.evaluate(async () => {
        const ask = async (logit_bias) => {
          const request = { messages: [{ role: 'user', content: 'Hi' }], temperature: 0, max_tokens: 3, logit_bias };
          return (await engine.chat.completions.create(request)).choices[0].message.content;
        };
        return [await ask({ 300: 100, 301: -100 }), await ask({ 300: -100, 301: 100 })];
      });
      assert.equal(forced, forced.slice(0, forced.length / 3).repeat(3));
      assert.ok(forced.length > 0 && banned.length > 0 && forced !== banned, JSON.stringify([forced, banned]));
    });

    test('requests wait for each other and keep their order', async () => {
      const answers = await page.evaluate(async () => {
        const ask = (content) =>
          engine.chat.completions.create({ messages: [{ role: 'user', content }], temperature: 0, max_tokens: 4 });
        const done = [];
        await Promise.all(['a', 'b', 'c'].map((name) => ask(name).then(() => done.push(name))));
        return done;
      });
      assert.deepEqual(answers, ['a', 'b', 'c']);
    });

    test('log-probabilities come with each token, whole and streamed', async () => {
      const [whole, chunks] = await page.evaluate(async () => {
        const messages = [{ role: 'user', content: 'Hello!' }];
        const request = { messages, temperature: 0, max_tokens: 6, logprobs: true, top_logprobs: 2 };
        const whole = await engine.chat.completions.create(request);
        const chunks = [];
        for await (const chunk of await engine.chat.completions.create({ ...request, stream: true })) chunks.push(chunk);
        return [whole.choices[0], chunks.map((chunk) => chunk.choices[0])];
      });
      const { content } = whole.logprobs;
      const text = new TextDecoder().decode(Uint8Array.from(content.flatMap((one) => one.bytes)));
      assert.equal(text, whole.message.content);
      for (const one of content) {
        assert.equal(one.top_logprobs.length, 2);
        assert.equal(one.top_logprobs[0].token, one.token);
        assert.ok(one.logprob <= 0);
      }
      const streamed = chunks.flatMap((choice) => choice.logprobs?.content ?? []);
      assert.deepEqual(streamed.map(({ bytes }) => bytes), content.map(({ bytes }) => bytes));
      // The second answer begins behind a cached prompt, which other kernels computed.
      for (const [i, one] of content.entries()) assert.ok(Math.abs(streamed[i].logprob - one.logprob) < 1e-3);
      assert.ok(chunks.every((choice) => !('logprobs' in choice.delta)));
    });

    test('what is not supported is refused by a typed error', async () => {
      const cases = [
        [{ logit_bias: { a: 1 } }, /logit_bias/],
        [{ logit_bias: { 999999: 1 } }, /logit_bias/],
        [{ logprobs: true, top_logprobs: 21 }, /top_logprobs/],
        [{ best_of: 2 }, /best_of/],
        [{ n: 2, stream: true }, /^n: /],
        [{ tool_choice: 'required' }, /^tool_choice: /],
        [{ response_format: { type: 'yaml' } }, /^response_format: /],
        [{ temperature: -1 }, /temperature/],
        [{ messages: [] }, /messages: empty/],
        [{ messages: [{ role: 'user', content: 'x '.repeat(3000) }] }, /context/, 'context_full'],
      ];
      for (const [fields, message, code = 'invalid_request'] of cases) {
        const error = await page.evaluate(async (fields) => {
          const request = { messages: [{ role: 'user', content: 'Hi' }], ...fields };
          try {
            await engine.chat.completions.create(request);
            return null;
          } catch (error) {
            const { code, message, forVisitor } = error;
            return { ours: error instanceof lfm2.Lfm2Error, code, message, forVisitor };
          }
        }, fields);
        assert.ok(error?.ours, JSON.stringify(fields));
        assert.equal(error.code, code);
        assert.match(error.message, message);
        assert.match(error.forVisitor, /\.$/);
      }
    });

    test('dispose stops what runs, frees the GPU, and may be called twice', async () => {
      const told = await page.evaluate(async () => {
        const request = { messages: [{ role: 'user', content: 'Hi' }], stream: true };
        const chunks = [];
        for await (const chunk of await engine.chat.completions.create(request)) {
          if (chunks.push(chunk) === 2) await Promise.all([engine.dispose(), engine.dispose()]);
        }
        await engine.dispose();
        const code = await engine.chat.completions.create(request).catch((error) => error.code);
        return { last: chunks.at(-1), code };
      });
      assert.equal(told.last.choices[0].finish_reason, 'abort');
      assert.equal(told.code, 'disposed');
    });
  });
}
