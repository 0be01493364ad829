// The native program's answers to the same questions.
import { execFile } from 'node:child_process';
import { readFile, writeFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const LFM2 = path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target'), 'debug/lfm2');

const GREEDY = { temperature: 0, 'repetition-penalty': 1, 'min-p': 0 };

/** `n` conversations, spread over the demonstration model's held-out questions. */
export async function questions(n) {
  const text = await readFile(path.join(ROOT, 'assets/demo/eval.jsonl'), 'utf8');
  const lines = text.split('\n').filter(Boolean);
  return Array.from({ length: n }, (_, i) => {
    const { messages, tools } = JSON.parse(lines[Math.floor((i * lines.length) / n)]);
    return tools === undefined ? { messages } : { messages, tools };
  });
}

/** The native program's greedy answers, at WebGPU's default limits and with float activations. */
export async function nativeAnswers(conversations, maxTokens) {
  const folder = await mkdtemp(path.join(tmpdir(), 'lfm2-web-'));
  try {
    const answers = [];
    for (const conversation of conversations) {
      const file = path.join(folder, 'conversation.json');
      await writeFile(file, JSON.stringify(conversation));
      const options = ['--limits', 'default', '--activations', 'float', '--quiet', '--skip-selftest', 'generate'];
      for (const [name, value] of Object.entries(GREEDY)) options.push(`--${name}`, String(value));
      options.push('--max-tokens', String(maxTokens), '--messages', file);
      if (conversation.tools !== undefined) options.push('--tool-calls');
      const { stdout } = await promisify(execFile)(LFM2, options, { env: { ...process.env, LFM2_MODEL: '' } });
      // The program adds a newline to its output.
      answers.push(stdout.replace(/\n$/, ''));
    }
    return answers;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** An answer parsed by the native program, as an OpenAI message. */
export async function nativeMessage(answer) {
  const folder = await mkdtemp(path.join(tmpdir(), 'lfm2-web-'));
  try {
    const file = path.join(folder, 'answer.txt');
    await writeFile(file, answer);
    const { stdout } = await promisify(execFile)(LFM2, ['--quiet', 'tokenize', '--parse', `@${file}`]);
    return JSON.parse(stdout);
  } finally {
    await rm(folder, { recursive: true });
  }
}
