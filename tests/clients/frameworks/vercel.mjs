// Checks `lfm2 serve` with Vercel's AI SDK, through three APIs. tools/clients.sh --all runs it.
import assert from 'node:assert/strict';

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenResponses } from '@ai-sdk/open-responses';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

const URL = process.env.LFM2_URL.replace(/\/$/, '');
const ANSWER = '2 + 3 = 5.';
const QUESTION = 'What is 2 + 3?';
const compatible = { name: 'lfm2', baseURL: `${URL}/v1`, apiKey: 'any', includeUsage: true, supportsStructuredOutputs: true };
const MODELS = {
  chat: createOpenAICompatible(compatible)('demo'),
  responses: createOpenResponses({ name: 'lfm2', url: `${URL}/v1/responses`, apiKey: 'any' })('demo'),
  messages: createAnthropic({ baseURL: `${URL}/v1`, apiKey: 'any' })('demo'),
};
const common = { temperature: 0, maxRetries: 0, maxOutputTokens: 64 };

async function plain(model) {
  const { text, usage, finishReason } = await generateText({ model, prompt: QUESTION, ...common });
  assert.equal(text, ANSWER);
  assert.equal(finishReason, 'stop');
  assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0, JSON.stringify(usage));
}

async function stream(model) {
  const answer = streamText({ model, prompt: QUESTION, ...common, onError: ({ error }) => { throw error; } });
  const pieces = [];
  for await (const piece of answer.textStream) pieces.push(piece);
  assert.equal(pieces.join(''), ANSWER);
  assert.ok(pieces.length > 2, `${pieces.length} pieces`);
  assert.ok((await answer.usage).outputTokens > 0);
}

async function toolsInTurns(model) {
  const levels = [];
  const set_volume = tool({
    description: 'Set the volume',
    inputSchema: z.object({ level: z.number().int() }),
    execute: async ({ level }) => (levels.push(level), { result: 'ok' }),
  });
  const asked = { model, prompt: 'Set the volume to 36', tools: { set_volume }, stopWhen: stepCountIs(3), ...common };
  assert.equal((await generateText(asked)).text, 'The volume is set to 36.');
  const streamed = streamText({ ...asked, onError: ({ error }) => { throw error; } });
  assert.equal(await streamed.text, 'The volume is set to 36.');
  assert.deepEqual(levels, [36, 36]);
}

async function required(model) {
  const set_volume = tool({ description: 'Set the volume', inputSchema: z.object({ level: z.number().int() }) });
  for (const toolChoice of ['required', { type: 'tool', toolName: 'set_volume' }]) {
    const { toolCalls } = await generateText({ model, prompt: QUESTION, tools: { set_volume }, toolChoice, ...common });
    assert.deepEqual(toolCalls.map(({ toolName }) => toolName), ['set_volume']);
    assert.ok(Number.isInteger(toolCalls[0].input.level), JSON.stringify(toolCalls));
  }
}

async function schema(model) {
  const city = z.object({ name: z.string().max(12), people: z.number().int().min(0).max(999) });
  const { object } = await generateObject({ model, schema: city, prompt: 'Describe a city.', ...common, maxOutputTokens: 200 });
  assert.equal(typeof object.name, 'string');
}

async function errors(model) {
  const asked = generateText({ model, prompt: 'What is 2 + 3? '.repeat(600), ...common });
  await assert.rejects(asked, (error) => error.statusCode === 400 && error.isRetryable === false);
}

async function cancel(model) {
  const controller = new AbortController();
  const answer = streamText({ model, prompt: QUESTION, ...common, abortSignal: controller.signal });
  for await (const _ of answer.textStream) controller.abort();
}

for (const [name, model] of Object.entries(MODELS)) {
  for (const check of [plain, stream, toolsInTurns, required, schema, errors, cancel]) {
    const start = performance.now();
    await check(model).catch((error) => {
      console.error(`${name}, ${check.name}: failed`);
      throw error;
    });
    console.error(`${name}, ${check.name}: ${((performance.now() - start) / 1000).toFixed(2)} s`);
  }
}
