import type { ChatMessage, ChatRequest, Engine, EngineInfo, FinishReason, Timings, ToolCall } from 'lfm2-wgpu';

import type { Settings } from './settings.js';
import { requestFields } from './settings.js';
import { runTool } from './tools.js';

/** Rounds of tool calls after which the model gets no more results. */
const MOST_ROUNDS = 5;

/** A model that answers: the package's engine, or a server's. */
export interface Model extends Pick<Engine, 'chat'>, Partial<Pick<Engine, 'recover' | 'dispose'>> {
  readonly info: Pick<EngineInfo, 'gpu'> & Partial<Pick<EngineInfo, 'sampling'>>;
}

/** Statistics of an answer. */
export interface About {
  finish: FinishReason;
  timings?: Timings;
  gpu: string;
}

/** A message. An answer with tool calls may have no text. */
export type Said =
  | { role: 'user'; content: string }
  | { role: 'assistant'; content: string; reasoning: string; calls: ToolCall[]; about?: About }
  | { role: 'tool'; id: string; content: string };

/** An answer of the model. */
export type Answer = Extract<Said, { role: 'assistant' }>;

/** Callbacks while the model answers. */
export interface Listener {
  /** An answer begins; later calls belong to it. */
  begin(): void;
  /** The answer's text and reasoning so far. */
  text(text: string, reasoning: string): void;
  end(answer: Answer): void;
  /** The page has run a tool. */
  result(id: string, content: string): void;
  /** The model has called tools too often, and gets no more results. */
  tooManyRounds(): void;
}

/** The messages of a conversation. */
export class Conversation {
  readonly said: Said[];

  constructor(said: Said[] = []) {
    this.said = said;
  }

  /** Adds a question. An earlier unanswered question is removed. */
  say(content: string): void {
    while (this.waits) this.said.pop();
    this.said.push({ role: 'user', content });
  }

  /** Removes the messages from the `n`-th on. */
  cut(n: number): void {
    this.said.splice(n);
  }

  /** Removes the last answer and the tool calls before it. */
  takeBackAnswer(): void {
    while (this.said.length > 0 && this.said.at(-1)?.role !== 'user') this.said.pop();
  }

  /** Whether it is the model's turn. */
  get waits(): boolean {
    const last = this.said.at(-1)?.role;
    return last === 'user' || last === 'tool';
  }

  /**
   * Lets the model answer and runs the tools that it calls, until it calls no more. If it rejects, the conversation
   * is as before the failed answer, and this can be called again.
   */
  async answer(model: Model, settings: Settings, signal: AbortSignal, listener: Listener): Promise<void> {
    for (let round = 1; this.waits && !signal.aborted; round++) {
      if (round > MOST_ROUNDS) return listener.tooManyRounds();
      listener.begin();
      const answer = await this.#ask(model, settings, signal, listener);
      listener.end(answer);
      const { content, reasoning, calls } = answer;
      // Stopped before any text.
      if (answer.about?.finish === 'abort' && content === '' && reasoning === '') return;
      this.said.push(answer);
      for (const call of calls) {
        const content = runTool(call);
        this.said.push({ role: 'tool', id: call.id, content });
        listener.result(call.id, content);
      }
    }
  }

  /** The request for the next answer. */
  request(settings: Settings): ChatRequest {
    const { system } = settings;
    const preamble: ChatMessage[] = system.trim() === '' ? [] : [{ role: 'system', content: system }];
    return { ...requestFields(settings), messages: [...preamble, ...asMessages(this.said)] };
  }

  async #ask(model: Model, settings: Settings, signal: AbortSignal, listener: Listener): Promise<Answer> {
    const request = { ...this.request(settings), stream: true } as const;
    const about: About = { finish: 'abort', gpu: model.info.gpu };
    const answer = { role: 'assistant', content: '', reasoning: '', calls: [] as ToolCall[], about } satisfies Answer;
    for await (const chunk of await model.chat.completions.create(request, { signal })) {
      const choice = chunk.choices[0];
      if (choice === undefined) continue;
      const { delta } = choice;
      if (delta.content || delta.reasoning_content) {
        answer.content += delta.content ?? '';
        answer.reasoning += delta.reasoning_content ?? '';
        listener.text(answer.content, answer.reasoning);
      }
      // A server sends a call in pieces, the package in one.
      for (const { index, id, function: piece } of delta.tool_calls ?? []) {
        const call = (answer.calls[index] ??= { id, type: 'function', function: { name: '', arguments: '' } });
        call.function.name += piece.name ?? '';
        call.function.arguments += piece.arguments;
      }
      about.finish = choice.finish_reason ?? about.finish;
      if (chunk.timings !== undefined) about.timings = chunk.timings;
    }
    // A call of a stopped answer may be incomplete, and the visitor wants no more.
    if (about.finish === 'abort') answer.calls = [];
    return answer;
  }
}

/** A message in the format of the API. */
export function asMessages(said: readonly Said[]): ChatMessage[] {
  return said.map((one) => {
    if (one.role === 'user') return { role: 'user', content: one.content };
    if (one.role === 'tool') return { role: 'tool', tool_call_id: one.id, content: one.content };
    const reasoning = one.reasoning === '' ? {} : { reasoning_content: one.reasoning };
    return { role: 'assistant', content: one.content, ...reasoning, ...(one.calls.length > 0 ? { tool_calls: one.calls } : {}) };
  });
}
