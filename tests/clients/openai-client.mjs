// Checks a running `lfm2 serve` with OpenAI's client for JavaScript. tools/clients.sh runs it.
//
// LFM2_URL is the server's address. LFM2_PROGRAM is the program `lfm2`, with which one check starts a server of its
// own. Both serve the demonstration model. The first check that fails ends the script with status 1.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import OpenAI from 'openai';

const { equal, deepEqual, notEqual, ok } = assert;
const URL_OF_SERVER = process.env.LFM2_URL.replace(/\/$/, '');
const model = 'demo';
// A LoRA adapter of random numbers.
const adapter = 'tuned';
const SUM = [{ role: 'user', content: 'What is 2 + 3?' }];
const ANSWER = '2 + 3 = 5.';
// These options give a long text that differs from seed to seed. The client sends fields that it does not know.
const WILD = { temperature: 2, top_p: 1, max_tokens: 24, ignore_eos: true, top_k: -1, min_p: 0 };
// An answer that takes many seconds.
const LONG = { model, messages: SUM, max_tokens: 1900, ignore_eos: true };

const client = new OpenAI({ baseURL: `${URL_OF_SERVER}/v1`, apiKey: 'any', maxRetries: 0, timeout: 60_000 });

const chat = (options = {}) =>
  client.chat.completions.create({ model, messages: SUM, temperature: 0, ...options });
const text = (options) => client.completions.create({ model, temperature: 0, ...options });
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** The items of a stream, as a list. */
async function all(stream) {
  const items = [];
  for await (const item of await stream) items.push(item);
  return items;
}

/** Runs a request that the server must refuse with this class of error, and returns the error. */
async function refused(kind, request, { code, param } = {}) {
  const error = await request().then(
    (answer) => assert.fail(`wanted ${kind.name}, got an answer: ${JSON.stringify(answer)}`),
    (error) => error,
  );
  ok(error instanceof kind, `wanted ${kind.name}, got ${error}`);
  ok(error.error.message, 'the error has no message');
  ok(error.requestID, 'the error has no x-request-id');
  if (code) equal(error.code, code);
  if (param) equal(error.param, param);
  return error;
}

async function ask(path, body, url = URL_OF_SERVER) {
  const headers = { 'content-type': 'application/json' };
  const post = { method: 'POST', headers, body: JSON.stringify(body) };
  return (await fetch(url + path, body && post)).json();
}

async function becomesIdle(url) {
  for (const end = Date.now() + 2000; ; await sleep(20)) {
    const running = (await ask('/health', undefined, url)).in_flight;
    if (running === 0) return;
    ok(Date.now() < end, `${running} answers still run 2 s after the client has left`);
  }
}

const objectOf = (properties) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});
const tool = (name, description, properties) => ({
  type: 'function',
  function: { name, description, strict: true, parameters: objectOf(properties) },
});
const TOOLS = [
  tool('set_volume', 'Set the volume', { level: { type: 'integer' } }),
  tool('set_timer', 'Start a timer', { minutes: { type: 'integer' } }),
];
const VOLUME = [{ role: 'user', content: 'Set the volume to 36' }];
const TIMER = { role: 'user', content: 'start a timer for 15 minutes' };

/** Checks that a choice is one call of a tool, and returns the call. */
function isCall(choice, name, args) {
  equal(choice.finish_reason, 'tool_calls');
  ok(!choice.message.content, `the call comes with a text: ${choice.message.content}`);
  equal(choice.message.tool_calls.length, 1, 'number of calls');
  const [call] = choice.message.tool_calls;
  deepEqual([call.type, call.function.name], ['function', name]);
  deepEqual(JSON.parse(call.function.arguments), args);
  return call;
}

const resultOf = (call, result) => ({ role: 'tool', tool_call_id: call.id, content: JSON.stringify(result) });

/** Starts a server, runs `use` with its address and process, and checks that the server ends with status 0. */
async function withServer(options, use) {
  const server = spawn(process.env.LFM2_PROGRAM, ['serve', '--port', '0', ...options], {
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  const ended = once(server, 'exit');
  try {
    const log = createInterface({ input: server.stderr });
    const address = await new Promise((resolve, reject) => {
      log.on('line', (line) => {
        const found = /^listening on (http:\/\/[\d.]+:\d+)/.exec(line);
        if (found) resolve(found[1]);
      });
      log.on('close', () => reject(new Error('the server did not start')));
    });
    await use(address, server);
    const [status] = await ended;
    equal(status, 0, "the server's exit status");
  } finally {
    server.kill('SIGKILL');
  }
}

async function models() {
  const listed = await all(client.models.list());
  deepEqual(listed.map((one) => one.id), [model, adapter]);
  equal((await client.models.retrieve(model)).id, model);
  await refused(OpenAI.NotFoundError, () => client.models.retrieve('gpt-9'), { code: 'model_not_found' });
  const other = () => chat({ model: 'gpt-9' });
  await refused(OpenAI.NotFoundError, other, { code: 'model_not_found', param: 'model' });
}

async function adapters() {
  const text = async (options) => (await chat({ max_tokens: 24, ...options })).choices[0].message.content;
  const own = await text({ model: adapter });
  ok(own !== ANSWER, 'the adapter changes nothing');
  equal(await text({ lora: [{ id: 0, scale: 5 }] }), own);
  equal(await text({}), ANSWER);
}

async function chatWhole() {
  const answers = [await chat(), await chat()];
  for (const answer of answers) {
    deepEqual([answer.object, answer.model], ['chat.completion', model]);
    const { choices: [choice], usage } = answer;
    deepEqual([choice.message.role, choice.message.content], ['assistant', ANSWER]);
    deepEqual([choice.index, choice.finish_reason, choice.message.tool_calls], [0, 'stop', undefined]);
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
    equal(usage.completion_tokens_details.reasoning_tokens, 0);
  }
  notEqual(answers[0].id, answers[1].id, 'two answers have one id');
  const { prompt_tokens, prompt_tokens_details: { cached_tokens } } = answers[1].usage;
  ok(cached_tokens > 0 && cached_tokens < prompt_tokens, `cached_tokens of the second answer is ${cached_tokens}`);
}

async function chatStream() {
  const whole = await chat();
  const chunks = await all(chat({ stream: true, stream_options: { include_usage: true } }));
  const last = chunks.pop();
  deepEqual([last.choices, last.usage.total_tokens], [[], whole.usage.total_tokens]);
  ok(chunks.every((chunk) => chunk.id === last.id && chunk.object === 'chat.completion.chunk'));
  const choices = chunks.map((chunk) => chunk.choices[0]);
  equal(choices[0].delta.role, 'assistant');
  deepEqual(choices.map((choice) => choice.finish_reason).filter(Boolean), ['stop']);
  equal(choices.at(-1).finish_reason, 'stop', 'finish_reason of the last chunk');
  equal(choices.map((choice) => choice.delta.content ?? '').join(''), ANSWER);
  const plain = await all(chat({ stream: true }));
  ok(plain.every((chunk) => chunk.choices.length === 1 && !chunk.usage), 'a chunk of usage that nobody asked for');
}

async function streamHelper() {
  const pieces = [];
  const stream = client.chat.completions.stream({ model, messages: SUM, temperature: 0, logprobs: true });
  stream.on('content', (delta) => pieces.push(delta));
  const { choices: [choice] } = await stream.finalChatCompletion();
  deepEqual([choice.message.content, choice.finish_reason, pieces.join('')], [ANSWER, 'stop', ANSWER]);
  equal(choice.logprobs.content.map((one) => one.token).join(''), ANSWER);
}

async function severalAnswers() {
  const textsOf = (answer) => answer.choices.map((choice) => choice.message.content);
  const one = await chat({ n: 3, seed: 11, ...WILD });
  deepEqual(one.choices.map((choice) => choice.index), [0, 1, 2]);
  const texts = textsOf(one);
  equal(new Set(texts).size, 3, `number of different answers in ${JSON.stringify(texts)}`);
  equal(one.usage.completion_tokens, 3 * WILD.max_tokens);
  deepEqual(textsOf(await chat({ n: 3, seed: 11, ...WILD })), texts, 'the texts of the same seed differ');
  const stream = client.chat.completions.stream({ model, messages: SUM, n: 3, seed: 11, ...WILD });
  const streamed = ['', '', ''];
  for await (const { choices: [choice] } of stream) streamed[choice.index] += choice.delta.content ?? '';
  deepEqual(streamed, texts, 'the streamed texts of the same seed differ');
}

async function limitsAndBiases() {
  for (const stop of [' =', [' =', 'never']]) {
    const [choice] = (await chat({ stop })).choices;
    deepEqual([choice.message.content, choice.finish_reason], ['2 + 3', 'stop']);
  }
  const cut = await chat({ max_completion_tokens: 3 });
  deepEqual([cut.choices[0].finish_reason, cut.usage.completion_tokens], ['length', 3]);
  const [five] = (await ask('/tokenize', { content: '5' })).tokens;
  const without = (await chat({ logit_bias: { [five]: -100 }, max_tokens: 12 })).choices[0].message.content;
  ok(!without.includes('5'), `a forbidden token is in ${without}`);
}

async function logprobs() {
  const [choice] = (await chat({ logprobs: true, top_logprobs: 5 })).choices;
  const scored = choice.logprobs.content;
  equal(scored.map((one) => one.token).join(''), ANSWER);
  for (const one of scored) {
    equal(Buffer.from(one.bytes).toString(), one.token);
    equal(one.top_logprobs.length, 5);
    equal(one.top_logprobs.find((other) => other.token === one.token)?.logprob, one.logprob);
    const total = sum(one.top_logprobs.map((other) => Math.exp(other.logprob)));
    ok(total <= 1 + 1e-5, `the probabilities at ${one.token} add up to ${total}`);
  }
}

async function toolsInTurns() {
  const [none] = (await chat({ messages: VOLUME, tools: TOOLS, tool_choice: 'none' })).choices;
  deepEqual([none.message.tool_calls, none.finish_reason], [undefined, 'stop']);
  const messages = [...VOLUME];
  let [answer] = (await chat({ messages, tools: TOOLS })).choices;
  const first = isCall(answer, 'set_volume', { level: 36 });
  messages.push(answer.message, resultOf(first, { result: 'ok' }));
  [answer] = (await chat({ messages, tools: TOOLS })).choices;
  equal(answer.message.content, 'The volume is set to 36.');
  messages.push(answer.message, TIMER);
  // The helper assembles the call from chunks, and its message goes back to the server as it is.
  const stream = client.chat.completions.stream({ model, messages, tools: TOOLS, temperature: 0 });
  [answer] = (await stream.finalChatCompletion()).choices;
  const second = isCall(answer, 'set_timer', { minutes: 15 });
  deepEqual(second.function.parsed_arguments, { minutes: 15 });
  ok(first.id && second.id && first.id !== second.id, `the ids are ${first.id} and ${second.id}`);
  messages.push(answer.message, resultOf(second, { status: 'ok' }));
  equal((await chat({ messages, tools: TOOLS })).choices[0].message.content, 'The timer is set to 15 minutes.');
}

/** The helper that runs functions, whole and streamed. */
async function toolRunner() {
  for (const stream of [false, true]) {
    const levels = [];
    const setVolume = ({ level }) => (levels.push(level), { result: 'ok' });
    const tools = [structuredClone(TOOLS[0])];
    Object.assign(tools[0].function, { function: setVolume, parse: JSON.parse });
    const runner = client.chat.completions.runTools({ model, messages: VOLUME, tools, temperature: 0, stream });
    equal(await runner.finalContent(), 'The volume is set to 36.');
    deepEqual(levels, [36]);
  }
}

async function messagesAndFields() {
  const content = [{ type: 'text', text: 'What is ' }, { type: 'text', text: '2 + 3?' }];
  equal((await chat({ messages: [{ role: 'user', content }] })).choices[0].message.content, ANSWER);
  const developer = { role: 'developer', content: 'Answer briefly.' };
  equal((await chat({ messages: [developer, ...SUM] })).choices[0].message.content, ANSWER);
  const call = { id: 'call_1', type: 'function', function: { name: 'set_volume', arguments: '{"level": 36}' } };
  const turns = [...VOLUME, { role: 'assistant', content: null, tool_calls: [call] }, resultOf(call, { result: 'ok' })];
  equal((await chat({ messages: turns, tools: TOOLS })).choices[0].message.content, 'The volume is set to 36.');
  // Fields that change no answer are accepted.
  const without = { store: true, metadata: { a: 'b' }, user: 'u', service_tier: 'auto', prompt_cache_key: 'k' };
  const more = { safety_identifier: 's', logprobs: false, response_format: { type: 'text' }, stop: null, seed: null };
  equal((await chat({ ...without, ...more })).choices[0].message.content, ANSWER);
}

async function badRequests() {
  const wrong = { temperature: 'hot', max_tokens: 1.5, n: 0, stop: [1], tools: 'all', top_logprobs: 3, colour: 'red' };
  for (const [param, value] of Object.entries(wrong)) {
    await refused(OpenAI.BadRequestError, () => chat({ [param]: value }), { code: 'invalid_request', param });
  }
  for (const messages of ['Hi', [], [{ role: 'cook', content: 'Hi' }], [{ role: 'user', content: 5 }]]) {
    await refused(OpenAI.BadRequestError, () => chat({ messages }), { code: 'invalid_request' });
  }
  const messages = [{ role: 'user', content: 'What is 2 + 3? '.repeat(600) }];
  for (const stream of [false, true]) {
    await refused(OpenAI.BadRequestError, () => chat({ messages, stream }), { code: 'context_length_exceeded' });
  }
  const embed = () => client.embeddings.create({ model, input: 'Hi' });
  const error = await refused(OpenAI.NotFoundError, embed);
  ok(error.message.includes('embeddings'), `the error does not name embeddings: ${error.message}`);
}

async function completions() {
  const { tokens } = await ask('/tokenize', { messages: SUM });
  const lists = await text({ prompt: [tokens, tokens], max_tokens: 16 });
  deepEqual(lists.choices.map((choice) => [choice.index, choice.text]), [[0, ANSWER], [1, ANSWER]]);
  const whole = await text({ prompt: 'What is', max_tokens: 6 });
  deepEqual([whole.object, whole.usage.completion_tokens], ['text_completion', 6]);
  const [first] = (await text({ prompt: ['What is', '2 + 3 ='], max_tokens: 6 })).choices;
  equal(first.text, whole.choices[0].text);
  const chunks = await all(text({ prompt: 'What is', max_tokens: 6, stream: true }));
  equal(chunks.map((chunk) => chunk.choices[0].text).join(''), whole.choices[0].text);
  equal(chunks.at(-1).choices[0].finish_reason, 'length');
}

async function echo() {
  const prompt = 'What is 2 + 3? 2 +';
  const options = { prompt, max_tokens: 1, logprobs: 1, echo: true };
  const [choice] = (await text(options)).choices;
  ok(choice.text.startsWith(prompt), `the echo is ${choice.text}`);
  const { tokens, token_logprobs, top_logprobs, text_offset } = choice.logprobs;
  const lengths = [tokens, token_logprobs, top_logprobs, text_offset].map((list) => list.length);
  const { tokens: ids } = await ask('/tokenize', { prompt });
  deepEqual(lengths, Array(4).fill(ids.length + 1));
  deepEqual([token_logprobs[0], top_logprobs[0]], [null, null]);
  ok(token_logprobs.slice(1).every((score, at) => score <= Math.max(...Object.values(top_logprobs[at + 1]))));
  const chunks = await all(text({ ...options, stream: true }));
  equal(chunks.map((chunk) => chunk.choices[0].text).join(''), choice.text);
}

async function cancel() {
  let seen = 0;
  for await (const _ of await client.chat.completions.create({ ...LONG, stream: true })) {
    if (++seen === 2) break;
  }
  await becomesIdle();
  const signal = AbortSignal.timeout(500);
  await assert.rejects(client.chat.completions.create(LONG, { signal }), OpenAI.APIUserAbortError);
  await becomesIdle();
}

/** A server with a key and no queue: it refuses wrong keys, and a second answer until the first has ended. */
async function keysRetriesAndEnd() {
  await withServer(['--api-key', 'k', '--parallel', '1', '--max-queue', '0'], async (url, server) => {
    const wrong = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'wrong', maxRetries: 0 });
    const request = { model, messages: SUM, temperature: 0 };
    const locked = () => wrong.chat.completions.create(request);
    await refused(OpenAI.AuthenticationError, locked, { code: 'invalid_api_key' });
    let tries = 0;
    const counted = (...of) => (tries++, fetch(...of));
    const right = wrong.withOptions({ apiKey: 'k', fetch: counted });
    const stream = await right.chat.completions.create({ ...LONG, stream: true });
    const busy = await refused(OpenAI.RateLimitError, () => right.chat.completions.create(request));
    ok(Number(busy.headers.get('retry-after')) > 0, 'the refusal has no retry-after');
    tries = 0;
    const waiting = right.chat.completions.create(request, { maxRetries: 5 });
    await sleep(500);
    stream.controller.abort();
    equal((await waiting).choices[0].message.content, ANSWER);
    ok(tries > 1, 'the client did not have to try again');
    await becomesIdle(url);
    // The server ends, but not before an answer in progress.
    const last = await right.chat.completions.create({ ...LONG, max_tokens: 60, stream: true });
    server.kill('SIGTERM');
    equal((await all(last)).at(-1).choices[0].finish_reason, 'length');
  });
}

async function structure() {
  const tools = { messages: VOLUME, tools: TOOLS, max_tokens: 100 };
  isCall((await chat({ ...tools, tool_choice: 'required' })).choices[0], 'set_volume', { level: 36 });
  const named = { type: 'function', function: { name: 'set_timer' } };
  const { finish_reason, message } = (await chat({ ...tools, tool_choice: named })).choices[0];
  deepEqual(message.tool_calls.map((call) => call.function.name), ['set_timer']);
  const args = JSON.parse(message.tool_calls[0].function.arguments);
  ok(Object.keys(args).join() === 'minutes' && Number.isInteger(args.minutes), `the arguments are ${args}`);
  ok(['stop', 'tool_calls'].includes(finish_reason), `finish_reason is ${finish_reason}`);
  const number = { type: 'integer', minimum: 0, maximum: 99 };
  const schema = objectOf({ sum: number, kind: { enum: ['odd', 'even'] } });
  const format = (schema) => ({ type: 'json_schema', json_schema: { name: 'sum', strict: true, schema } });
  const [choice] = (await chat({ response_format: format(schema), max_tokens: 200 })).choices;
  equal(choice.finish_reason, 'stop');
  const value = JSON.parse(choice.message.content);
  deepEqual(Object.keys(value).sort(), ['kind', 'sum']);
  ok(Number.isInteger(value.sum) && value.sum >= 0 && value.sum <= 99, `the sum is ${value.sum}`);
  ok(['odd', 'even'].includes(value.kind), `the kind is ${value.kind}`);
  const invalid = () => chat({ response_format: format({ type: 'objekt' }) });
  await refused(OpenAI.BadRequestError, invalid, { param: 'response_format' });
}

async function responses() {
  const respond = (options) => client.responses.create({ model, input: SUM, temperature: 0, ...options });
  const answer = await respond();
  deepEqual([answer.object, answer.status, answer.output_text], ['response', 'completed', ANSWER]);
  equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
  equal((await client.responses.retrieve(answer.id)).output_text, ANSWER);
  const events = await all(respond({ stream: true }));
  deepEqual(events.map((event) => event.sequence_number), [...events.keys()]);
  const deltas = events.filter((event) => event.type === 'response.output_text.delta');
  equal(deltas.map((event) => event.delta).join(''), ANSWER);
  equal(events.at(-1).type, 'response.completed');
  await refused(OpenAI.BadRequestError, () => respond({ background: true }), { param: 'background' });
  const tools = TOOLS.map((one) => ({ type: 'function', ...one.function }));
  const stream = client.responses.stream({ model, input: VOLUME, tools, temperature: 0 });
  const { id, output: [call] } = await stream.finalResponse();
  deepEqual([call.type, call.name, JSON.parse(call.arguments)], ['function_call', 'set_volume', { level: 36 }]);
  const result = { type: 'function_call_output', call_id: call.call_id, output: '{"result": "ok"}' };
  const told = await respond({ input: [result], tools, previous_response_id: id });
  equal(told.output_text, 'The volume is set to 36.');
}

const checks = [
  models, adapters, chatWhole, chatStream, streamHelper, severalAnswers, limitsAndBiases, logprobs, toolsInTurns,
  toolRunner, messagesAndFields, badRequests, completions, echo, cancel, keysRetriesAndEnd, structure, responses,
];
for (const check of checks) {
  await check();
  console.log(`ok ${check.name}`);
}
