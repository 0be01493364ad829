// Answers of a given form: the library that parses grammars is a module of its own, which only they load.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { openPage } from './browser.mjs';
import { LFM2 } from './native.mjs';
import { serverAndBrowser } from './setup.mjs';

const MODULE = '**/structure_bg.wasm';
const QUESTION = 'Who are you?';
const SCHEMA = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 12 },
    kind: { enum: ['model', 'person'] },
    parts: { type: 'array', items: { type: 'integer', minimum: 0, maximum: 9 }, minItems: 2, maxItems: 3 },
  },
  required: ['name', 'kind', 'parts'],
  additionalProperties: false,
};
const VOLUME = {
  type: 'function',
  function: {
    name: 'set_volume',
    strict: true,
    parameters: { type: 'object', properties: { level: { type: 'integer', minimum: 0, maximum: 99 } }, required: ['level'] },
  },
};

const both = serverAndBrowser();

/** A page with an engine and the function `ask`, which returns a choice, or an error's code and message. */
async function open(make) {
  const page = await openPage(both.browser, both.server.address);
  page.loads = 0;
  page.on('request', (request) => (page.loads += request.url().endsWith('structure_bg.wasm') ? 1 : 0));
  await page.evaluate(
    async ([make, question]) => {
      globalThis.engine = await lfm2[make]({ model: '/demo/', parallel: 3, contextLength: 1024 });
      globalThis.ask = async (how) => {
        const request = { messages: [{ role: 'user', content: question }], temperature: 0, repetition_penalty: 1, min_p: 0, max_tokens: 100, ...how };
        try {
          return (await engine.chat.completions.create(request)).choices[0];
        } catch ({ code, message }) {
          return { code, message };
        }
      };
    },
    [make, QUESTION],
  );
  return page;
}

/** The native program's greedy answer of the schema. */
async function native() {
  const folder = await mkdtemp(path.join(tmpdir(), 'lfm2-web-'));
  try {
    const file = path.join(folder, 'schema.json');
    await writeFile(file, JSON.stringify(SCHEMA));
    const options = ['--limits', 'default', '--activations', 'float', '--quiet', '--skip-selftest', 'generate', QUESTION];
    options.push('--json-schema', file, '--temperature', '0', '--repetition-penalty', '1', '--min-p', '0', '--max-tokens', '100');
    const { stdout } = await promisify(execFile)(LFM2, options, { env: { ...process.env, LFM2_MODEL: '' } });
    return stdout.replace(/\n$/, '');
  } finally {
    await rm(folder, { recursive: true });
  }
}

for (const make of ['createEngine', 'createWorkerEngine']) {
  describe(make, () => {
    let page;

    before(async () => (page = await open(make)));
    after(() => page?.close());

    const ask = (...how) => page.evaluate((how) => Promise.all(how.map((one) => ask(one))), how);
    const format = (schema) => ({ response_format: { type: 'json_schema', json_schema: { schema } } });

    test('only an answer of a given form loads the module', async () => {
      const [plain] = await ask({});
      assert.equal(plain.finish_reason, 'stop');
      // Without tools there is no call to restrict.
      const [one, none] = await ask({ parallel_tool_calls: false, max_tokens: 2 }, { tools: [VOLUME], tool_choice: 'none', max_tokens: 2 });
      assert.deepEqual([one.finish_reason, none.finish_reason], ['length', 'length']);
      assert.equal(page.loads, 0);
      const [answer] = await ask(format(SCHEMA));
      assert.equal(page.loads, 1);
      assert.equal(answer.message.content, await native());
    });

    test('answers follow their forms side by side, however they are drawn', async () => {
      const how = [1, 2, 3].map((seed) => ({ ...format(SCHEMA), temperature: 1.5, seed }));
      const texts = ['red', 'green (dark)'];
      const answers = await ask(
        ...how,
        { structured_outputs: { choice: texts } },
        { structured_outputs: { regex: '[a-f]{3}-[0-9]{2}' } },
        { structured_outputs: { grammar: 'start: "a" NUMBER\nNUMBER: /[0-9]{1,3}/' } },
        { tools: [VOLUME], tool_choice: 'required', temperature: 1.5, seed: 4 },
        { tools: [VOLUME], tool_choice: { type: 'function', function: { name: 'set_volume' } }, parallel_tool_calls: false },
        {},
      );
      const contents = answers.map(({ message, ...other }) => message?.content ?? JSON.stringify(other));
      for (const text of contents.slice(0, 3)) {
        const { name, kind, parts } = JSON.parse(text);
        assert.ok(name.length <= 12 && SCHEMA.properties.kind.enum.includes(kind), text);
        assert.ok([2, 3].includes(parts.length) && parts.every((part) => Number.isInteger(part) && part >= 0 && part <= 9), text);
      }
      assert.ok(texts.includes(contents[3]), contents[3]);
      assert.match(contents[4], /^[a-f]{3}-[0-9]{2}$/);
      assert.match(contents[5], /^a[0-9]{1,3}$/);
      for (const { message, finish_reason } of answers.slice(6, 8)) {
        assert.equal(finish_reason, 'tool_calls');
        for (const { function: call } of message.tool_calls) {
          const { level } = JSON.parse(call.arguments);
          assert.ok(call.name === 'set_volume' && Number.isInteger(level) && level >= 0 && level <= 99, JSON.stringify(call));
        }
      }
      assert.equal(answers[7].message.tool_calls.length, 1);
      assert.ok(answers[8].message.content.length > 0);
      assert.equal(page.loads, 1);
    });

    test('an answer that max_tokens cuts says so', async () => {
      const [cut] = await ask({ ...format(SCHEMA), max_tokens: 3 });
      assert.equal(cut.finish_reason, 'length');
    });

    test('what cannot be enforced is refused by its name, and the next answer is right', async () => {
      const cases = [
        [format({ not: {} }), /^response_format: .*"not"/],
        [format({ type: 'objekt' }), /^response_format: .*objekt/],
        [{ structured_outputs: { regex: '(a' } }, /^structured_outputs: .*unclosed group/],
        [{ structured_outputs: { grammar: 'start: x' } }, /^structured_outputs: .*unknown name/],
        [{ tools: [{ ...VOLUME, function: { ...VOLUME.function, parameters: { not: {} } } }], tool_choice: 'required' }, /^tools: tool "set_volume": .*"not"/],
        [{ tool_choice: 'required' }, /^tool_choice: needs tools/],
      ];
      const errors = await ask(...cases.map(([how]) => how));
      errors.forEach((error, i) => {
        assert.equal(error.code, 'invalid_request', JSON.stringify(error));
        assert.match(error.message, cases[i][1]);
      });
      // The deepest that is allowed: a form, an error, or a module that starts again.
      const deep = (depth, inside, wrap) => (depth === 0 ? inside : wrap(deep(depth - 1, inside, wrap)));
      const schemas = [
        deep(30, { type: 'integer' }, (items) => ({ type: 'array', items })),
        deep(31, { type: 'integer' }, (one) => ({ anyOf: [one, { type: 'null' }] })),
      ];
      const grammars = [
        `start: ${'('.repeat(64)}"a"${')'.repeat(64)}`,
        `start: a0\n${Array.from({ length: 900 }, (_, i) => `a${i}: a${i + 1}`).join('\n')}\na900: "a"`,
        `start: /${'('.repeat(64)}a${')'.repeat(64)}/`,
      ];
      const odd = await ask(...schemas.map(format), ...grammars.map((grammar) => ({ structured_outputs: { grammar } })));
      for (const answer of odd) {
        assert.ok(answer.message?.content !== undefined || answer.code === 'invalid_request', JSON.stringify(answer));
      }
      const [after] = await ask(format(SCHEMA));
      assert.equal(after.message.content, await native());
      assert.equal(page.loads, 1);
    });
  });
}

test('a module that does not load is an error, and the next request tries again', async () => {
  const page = await open('createEngine');
  try {
    await page.route(MODULE, (route) => route.fulfill({ status: 500 }));
    const form = { structured_outputs: { choice: ['yes'] } };
    const error = await page.evaluate((how) => ask(how), form);
    assert.equal(error.code, 'network', JSON.stringify(error));
    assert.match(error.message, /structure_bg\.wasm: the server answered 500/);
    await page.unroute(MODULE);
    const answer = await page.evaluate((how) => ask(how), form);
    assert.equal(answer.message?.content, 'yes', JSON.stringify(answer));
    // Another engine of the page, and one after a lost device, load nothing again.
    const again = await page.evaluate(async (how) => {
      await engine.recover();
      return ask(how);
    }, form);
    assert.equal(again.message?.content, 'yes', JSON.stringify(again));
    assert.equal(page.loads, 2);
  } finally {
    await page.close();
  }
});

test('after a trap the module starts again: running answers fail, later ones are right', async () => {
  const page = await openPage(both.browser, both.server.address);
  try {
    const told = await page.evaluate(async () => {
      const { loadStructure } = await import('/dist/structure.js');
      const library = await loadStructure();
      const words = ['<end>', 'a', 'b'].map((word) => new TextEncoder().encode(word));
      const bytes = Uint8Array.from(words.flatMap((word) => [...word]));
      const lengths = Uint32Array.from(words, (word) => word.length);
      const ends = Uint32Array.of(0);
      const vocabulary = library.vocabulary(bytes, lengths, ends);
      const sources = JSON.stringify([{ name: null, form: { regex: 'ab' } }]);
      const thrown = (call) => {
        try {
          call();
          return 'nothing';
        } catch (thrown) {
          return thrown;
        }
      };
      const first = vocabulary.compile(sources);
      const masks = [[...first.next(ends)], first.copy().takeForced().length];
      // As an exhausted stack would throw in the middle of a call.
      const exhausted = { valueOf: () => { throw new RangeError('Maximum call stack size exceeded'); } };
      const trapped = thrown(() => first.take(exhausted));
      const lost = [thrown(() => first.next(ends)), thrown(() => first.take(1)), [...first.takeForced()], first.valid(Uint32Array.of(1)), first.complete];
      first.copy().free();
      first.free();
      const second = vocabulary.compile(sources);
      second.take(1);
      const after = [...second.next(ends)];
      second.free();
      vocabulary.free();
      return { masks, trapped, lost, after };
    });
    assert.deepEqual(told.masks[0].map((word) => word & 0b111), [0b010]);
    assert.match(told.trapped, /failed: RangeError/);
    assert.match(told.lost[0], /had to start again/);
    assert.match(told.lost[1], /had to start again/);
    assert.deepEqual(told.lost.slice(2), [[], 0, false]);
    assert.deepEqual(told.after.map((word) => word & 0b111), [0b100]);
  } finally {
    await page.close();
  }
});
