// Checks a running `lfm2 serve` with Anthropic's client for JavaScript. tools/clients.sh runs it.
//
// LFM2_URL is the address of a server of the demonstration model. The first check that fails ends the script with
// status 1.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import Anthropic from '@anthropic-ai/sdk';

const { equal, deepEqual, ok } = assert;

const baseURL = process.env.LFM2_URL.replace(/\/$/, '');
const model = 'demo';
// A LoRA adapter of random numbers.
const adapter = 'tuned';
const SUM = [{ role: 'user', content: 'What is 2 + 3?' }];
const ANSWER = '2 + 3 = 5.';
const VOLUME = [{ role: 'user', content: 'Set the volume to 36' }];
const schema = { type: 'object', properties: { level: { type: 'integer' } }, required: ['level'] };
const tools = [{ name: 'set_volume', description: 'Set the volume', input_schema: schema }];

const client = new Anthropic({ baseURL, apiKey: 'any', maxRetries: 0, timeout: 60_000 });

const optionsOf = (more) => ({ model, messages: SUM, max_tokens: 60, temperature: 0, ...more });
const create = (more) => client.messages.create(optionsOf(more));
const count = async (more) => (await client.messages.countTokens({ model, messages: SUM, ...more })).input_tokens;

function textOf(message) {
  deepEqual(message.content.map((block) => block.type), ['text']);
  return message.content[0].text;
}

/** Runs a request that the server must refuse with this class and type of error. */
async function refused(kind, type, request) {
  const error = await request().then(
    (answer) => assert.fail(`wanted ${kind.name}, got an answer: ${JSON.stringify(answer)}`),
    (error) => error,
  );
  ok(error instanceof kind, `wanted ${kind.name}, got ${error}`);
  deepEqual([error.error.type, error.error.error.type], ['error', type]);
  ok(error.error.error.message && error.requestID, 'the error has no message or request-id');
}

async function adapters() {
  const text = async (options) => (await create({ max_tokens: 24, ...options })).content[0].text;
  const own = await text({ model: adapter });
  ok(own !== ANSWER, 'the adapter changes nothing');
  equal(await text({ model: adapter }), own);
  equal(await text({}), ANSWER);
}

async function models() {
  const listed = [];
  for await (const one of client.models.list()) listed.push([one.id, one.type, one.display_name]);
  deepEqual(listed, [model, adapter].map((name) => [name, 'model', name]));
  equal((await client.models.retrieve(model)).id, model);
}

async function whole() {
  const [, answer] = [await create(), await create()];
  deepEqual([answer.type, answer.role, answer.model, textOf(answer)], ['message', 'assistant', model, ANSWER]);
  deepEqual([answer.stop_reason, answer.stop_sequence], ['end_turn', null]);
  const { cache_read_input_tokens, input_tokens, output_tokens } = answer.usage;
  ok(cache_read_input_tokens > 0 && input_tokens > 0 && output_tokens > 0, JSON.stringify(answer.usage));
  equal((await create({ max_tokens: 3 })).stop_reason, 'max_tokens');
  const stopped = await create({ stop_sequences: ['never', ' ='] });
  deepEqual([textOf(stopped), stopped.stop_reason, stopped.stop_sequence], ['2 + 3', 'stop_sequence', ' =']);
}

async function streams() {
  const pieces = [];
  const stream = client.messages.stream(optionsOf()).on('text', (piece) => pieces.push(piece));
  const message = await stream.finalMessage();
  deepEqual([pieces.join(''), textOf(message), message.stop_reason], [ANSWER, ANSWER, 'end_turn']);
  equal(message.usage.input_tokens + message.usage.cache_read_input_tokens, await count());
  ok((await count()) < (await count({ tools })), 'tools have no tokens');
}

function isCall(message) {
  deepEqual([message.stop_reason, message.content.map((block) => block.type)], ['tool_use', ['tool_use']]);
  const [call] = message.content;
  deepEqual([call.name, call.input], ['set_volume', { level: 36 }]);
  return call;
}

async function toolsInTurns() {
  for (const stream of [false, true]) {
    const options = optionsOf({ messages: VOLUME, tools });
    const message = await (stream ? client.messages.stream(options).finalMessage() : client.messages.create(options));
    const call = isCall(message);
    const result = { type: 'tool_result', tool_use_id: call.id, content: [{ type: 'text', text: '{"result": "ok"}' }] };
    // The answer goes back to the server as it is.
    const turns = [{ role: 'assistant', content: message.content }, { role: 'user', content: [result] }];
    equal(textOf(await create({ messages: [...VOLUME, ...turns], tools })), 'The volume is set to 36.');
  }
  isCall(await create({ messages: VOLUME, tools, tool_choice: { type: 'any', disable_parallel_tool_use: true } }));
}

async function badRequests() {
  for (const wrong of [{ temperature: 'hot' }, { tools: 'all' }, { colour: 'red' }, { messages: [] }]) {
    await refused(Anthropic.BadRequestError, 'invalid_request_error', () => create(wrong));
  }
  await refused(Anthropic.NotFoundError, 'not_found_error', () => create({ model: 'claude' }));
}

async function cancel() {
  const stream = await create({ max_tokens: 1900, ignore_eos: true, stream: true });
  for await (const event of stream) {
    equal(event.type, 'message_start');
    break;
  }
  for (const end = Date.now() + 2000; ; await sleep(20)) {
    if ((await (await fetch(`${baseURL}/health`)).json()).in_flight === 0) return;
    ok(Date.now() < end, 'an answer still runs 2 s after the client has left');
  }
}

for (const check of [models, adapters, whole, streams, toolsInTurns, badRequests, cancel]) {
  await check();
  console.log(`ok ${check.name}`);
}
