import type { ToolCall } from 'lfm2-wgpu';

import type { Said } from './conversation.js';
import { asMessages } from './conversation.js';

/** A conversation's title: the beginning of its first question. */
export function titleOf(said: readonly Said[]): string {
  const first = said.find(({ role }) => role === 'user')?.content.trim().replace(/\s+/g, ' ') ?? '';
  return first.length > 60 ? `${first.slice(0, 59).trimEnd()}…` : first || 'Conversation';
}

/** A conversation as OpenAI's messages, which /load in `lfm2 chat` reads. */
export function toJson(said: readonly Said[]): string {
  return `${JSON.stringify({ messages: asMessages(said) }, undefined, 2)}\n`;
}

/** A conversation as Markdown. */
export function toMarkdown(title: string, said: readonly Said[]): string {
  const parts = said.map((one) => {
    if (one.role === 'user') return `## You\n\n${one.content}`;
    if (one.role === 'tool') return `The page answers:\n\n${fenced(one.content)}`;
    const reasoning = one.reasoning === '' ? [] : [`> ${one.reasoning.trim().replaceAll('\n', '\n> ')}`];
    const calls = one.calls.map((call) => `Calls a tool:\n\n${fenced(`${call.function.name}(${call.function.arguments})`)}`);
    return ['## The model', ...reasoning, ...(one.content.trim() === '' ? [] : [one.content]), ...calls].join('\n\n');
  });
  return `# ${title}\n\n${parts.join('\n\n')}\n`;
}

/** A code block around any text, with a fence longer than any in the text. */
function fenced(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}

/** Reads a conversation: an object with OpenAI's `messages`, or the list alone. Throws a sentence if it is invalid. */
export function fromJson(text: string): Said[] {
  const json: unknown = (() => {
    try {
      return JSON.parse(text);
    } catch {
      throw new Error('it is not JSON');
    }
  })();
  const messages = Array.isArray(json) ? (json as unknown[]) : (json as { messages?: unknown } | null)?.messages;
  if (!Array.isArray(messages)) throw new Error('it has no list of messages');
  const said = messages.flatMap((message, i) => one(message, i + 1));
  if (!said.some(({ role }) => role === 'user')) throw new Error('it has no message of a user');
  return said;
}

function one(message: unknown, n: number): Said[] {
  if (typeof message !== 'object' || message === null) throw new Error(`message ${n} is not an object`);
  const { role, content, tool_calls, tool_call_id, reasoning_content } = message as Record<string, unknown>;
  const text = textOf(content, n);
  switch (role) {
    // The system prompt is a setting of the page, for all conversations.
    case 'system':
    case 'developer':
      return [];
    case 'user':
      return [{ role, content: text }];
    case 'tool':
      return [{ role, id: String(tool_call_id ?? ''), content: text }];
    case 'assistant': {
      const reasoning = typeof reasoning_content === 'string' ? reasoning_content : '';
      const calls = Array.isArray(tool_calls) ? tool_calls.map((call) => callOf(call, n)) : [];
      return [{ role, content: text, reasoning, calls }];
    }
    default:
      throw new Error(`message ${n} has the role ${JSON.stringify(role)}`);
  }
}

function textOf(content: unknown, n: number): string {
  if (content === null || content === undefined) return '';
  if (typeof content === 'string') return content;
  const parts = Array.isArray(content) ? (content as { text?: unknown }[]).map((part) => part?.text) : [undefined];
  if (!parts.every((part) => typeof part === 'string')) throw new Error(`message ${n} has more than text`);
  return parts.join('');
}

function callOf(call: unknown, n: number): ToolCall {
  const { id, function: called } = (call ?? {}) as { id?: unknown; function?: { name?: unknown; arguments?: unknown } };
  if (typeof called?.name !== 'string') throw new Error(`message ${n} calls a tool without a name`);
  const given = typeof called.arguments === 'string' ? called.arguments : JSON.stringify(called.arguments ?? {});
  return { id: String(id ?? `call_${crypto.randomUUID()}`), type: 'function', function: { name: called.name, arguments: given } };
}
