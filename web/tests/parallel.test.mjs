// Several conversations at once on one engine.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { openPage } from './browser.mjs';
import { serverAndBrowser } from './setup.mjs';

const both = serverAndBrowser();

for (const make of ['createEngine', 'createWorkerEngine']) {
  describe(make, () => {
    let page, alone;

    before(async () => {
      page = await openPage(both.browser, both.server.address);
      alone = await page.evaluate(async (make) => {
        globalThis.engine = await lfm2[make]({ model: '/demo/', parallel: 3, contextLength: 256 });
        globalThis.questions = ['What is lfm2-wgpu?', 'Count from 1 to 100.', 'Who are you?'];
        /** Asks, and notes in `events` when the first text and the end come. `onText` is awaited after each text. */
        globalThis.ask = async (content, { events = [], signal, onText } = {}) => {
          const request = { messages: [{ role: 'user', content }], temperature: 0, max_tokens: 24, stream: true };
          let [text, finish] = ['', null];
          for await (const { choices: [{ delta, finish_reason }] } of await engine.chat.completions.create(request, { signal })) {
            if (delta.content && text === '') events.push(`first ${content}`);
            text += delta.content ?? '';
            finish = finish_reason ?? finish;
            if (delta.content) await onText?.(text);
          }
          events.push(`end ${content}`);
          return { text, finish };
        };
        const alone = [];
        for (const question of questions) alone.push(await ask(question));
        return alone;
      }, make);
      assert.equal(new Set(alone.map(({ text }) => text)).size, 3, JSON.stringify(alone));
    });
    after(() => page?.close());

    test('three streams at once give the texts that each gives alone; a fourth waits', async () => {
      const { together, fourth, events } = await page.evaluate(async () => {
        const events = [];
        const running = questions.map((question) => ask(question, { events }));
        const fourth = ask('Hi', { events });
        return { together: await Promise.all(running), fourth: await fourth, events };
      });
      assert.deepEqual(together, alone);
      assert.ok(fourth.text.length > 0);
      const kinds = events.map((event) => event.split(' ')[0]);
      assert.deepEqual(kinds.slice(0, 3), ['first', 'first', 'first'], `all begin before one ends: ${events}`);
      const ended = kinds.indexOf('end');
      assert.ok(events.indexOf('first Hi') > ended, `the fourth begins when another has ended: ${events}`);
    });

    test('errors name the options as this package does', async () => {
      const errors = await page.evaluate(async (make) => {
        const refused = (option) => lfm2[make]({ model: '/demo/', ...option }).then(() => 'none', ({ code, message }) => `${code} ${message}`);
        return [await refused({ parallel: 0 }), await refused({ contextLength: 1_000_000 })];
      }, make);
      assert.match(errors[0], /^invalid_request parallel: got 0, need 1 to \d+$/);
      assert.match(errors[1], /^invalid_request contextLength: got 1000000, need 1 to \d+( \(this model was made for \d+\))?( on this device)?$/);
    });

    test('neither a reader that waits nor an abort disturbs the others', async () => {
      const told = await page.evaluate(async () => {
        const events = [];
        let goOn;
        const pause = new Promise((resolve) => (goOn = resolve));
        const slow = ask(questions[0], { events, onText: () => pause });
        const stop = new AbortController();
        const stopped = ask(questions[1], { events, signal: stop.signal, onText: () => stop.abort() });
        const third = await ask(questions[2], { events });
        const whole = await ask(questions[1], { events });
        goOn();
        return { events, slow: await slow, stopped: await stopped, third, whole };
      });
      assert.deepEqual([told.third, told.whole], [alone[2], alone[1]], 'while the first waits for its reader');
      assert.deepEqual(told.slow, alone[0]);
      assert.equal(told.stopped.finish, 'abort');
      assert.ok(alone[1].text.startsWith(told.stopped.text) && told.stopped.text !== alone[1].text, JSON.stringify(told.stopped));
      assert.equal(told.events.at(-1), `end ${questionOf(0)}`);
    });

    test('a request that waits for its turn is stopped at once', async () => {
      const { events, waiting } = await page.evaluate(async () => {
        const events = [];
        const running = questions.map((question) => ask(question, { events }));
        const stop = new AbortController();
        const waiting = ask('Hi', { events, signal: stop.signal });
        await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 50))]);
        stop.abort();
        await Promise.all([waiting, ...running]);
        return { events, waiting: await waiting };
      });
      assert.deepEqual(waiting, { text: '', finish: 'abort' });
      assert.ok(events.indexOf('end Hi') < events.length - 3, `before the others: ${events}`);
    });

    test('dispose stops all', async () => {
      const told = await page.evaluate(async () => {
        let disposal;
        const onText = () => (disposal ??= engine.dispose());
        const whole = { messages: [{ role: 'user', content: 'Hi' }] };
        const all = [...questions.map((question) => ask(question, { onText })), engine.chat.completions.create(whole)];
        const ends = await Promise.all(all);
        await disposal;
        const refused = async (work) => work().then(() => 'done', ({ code }) => code);
        const codes = [await refused(() => ask('Hi')), await refused(() => engine.restore('x')), await refused(() => engine.save(whole, 'x'))];
        return { finishes: ends.map((end) => end.finish ?? end.choices[0].finish_reason), codes };
      });
      assert.deepEqual(told.finishes, ['abort', 'abort', 'abort', 'abort']);
      assert.deepEqual(told.codes, ['disposed', 'disposed', 'disposed']);
    });
  });
}

/** The question with this number, as in the page. */
function questionOf(n) {
  return ['What is lfm2-wgpu?', 'Count from 1 to 100.', 'Who are you?'][n];
}
