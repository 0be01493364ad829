// Speed of the package in Node, on Dawn: reading a prompt and decoding, as rows like those of `lfm2 bench -o json`.
//
//   node web/tools/measure_node.mjs MODEL [-p TOKENS] [-n TOKENS]    MODEL: a GGUF file or a folder
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { createEngine } from '../dist/node.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { p: { type: 'string', short: 'p', default: '512' }, n: { type: 'string', short: 'n', default: '128' } },
});
const [prompt, decoded] = [Number(values.p), Number(values.n)];
if (positionals.length !== 1) throw new Error('usage: node web/tools/measure_node.mjs MODEL [-p TOKENS] [-n TOKENS]');

const began = performance.now();
const engine = await createEngine({ model: pathToFileURL(positionals[0]), contextLength: prompt + decoded + 256 });
const loaded = performance.now() - began;

/** Timings of a greedy answer. */
async function answer(content, max_tokens) {
  const request = { messages: [{ role: 'user', content }], temperature: 0, repetition_penalty: 1, min_p: 0, max_tokens };
  return (await engine.chat.completions.create(request)).timings;
}
await answer('Hi', 8);
// Another beginning than the last conversation's, so that the whole prompt is computed.
const read = await answer(`Prompt${' the'.repeat(prompt)}`, 1);
const told = await answer('Tell me a very long story.', decoded);
await engine.dispose();
const row = (n_prompt, n_gen, avg_ts) => ({ n_prompt, n_gen, n_depth: 0, avg_ts, stddev_ts: 0 });
const rows = [row(read.prompt_n, 0, read.prompt_per_second), row(0, told.predicted_n, told.predicted_per_second)];
const about = { backend: 'Dawn in Node', gpu: engine.info.gpu, load_ms: Math.round(loaded) };
console.log(JSON.stringify(rows.map((row) => ({ ...about, ...row }))));
