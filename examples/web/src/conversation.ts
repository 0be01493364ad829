import type { ChatMessage, Engine, FinishReason, Timings, ToolCall } from 'lfm2-wgpu';

import type { Settings } from './settings.js';
import { requestFields } from './settings.js';
import { runTool } from './tools.js';

/** As often the model may call tools before it has to be asked again. */
const MOST_ROUNDS = 5;

/** An answer of the model, whole. */
export interface Answer {
  text: string;
  /** What the model thought before it answered. */
  reasoning: string;
  calls: ToolCall[];
  finish: FinishReason;
  timings: Timings | undefined;
}

/** Shows what happens while the model answers. */
export interface Listener {
  /** An answer begins; what follows belongs to it. */
  begin(): void;
  /** Its text so far. */
  text(text: string): void;
  end(answer: Answer): void;
  /** The page has run a tool. */
  result(call: ToolCall, content: string): void;
  /** The model goes on calling tools and is not answered any more. */
  tooManyRounds(): void;
}

/** What has been said. */
export class Conversation {
  #messages: ChatMessage[] = [];

  clear(): void {
    this.#messages = [];
  }

  /** Says something to the model. What it has not answered before is taken back. */
  say(content: string): void {
    while (this.#waits()) this.#messages.pop();
    this.#messages.push({ role: 'user', content });
  }

  /**
   * Lets the model answer, and runs the tools that it calls, until it has said what it has to say. If it
   * rejects, the conversation is as before the answer that failed, and this can be called again.
   */
  async answer(engine: Engine, settings: Settings, signal: AbortSignal, listener: Listener): Promise<void> {
    for (let round = 1; this.#waits() && !signal.aborted; round++) {
      if (round > MOST_ROUNDS) return listener.tooManyRounds();
      listener.begin();
      const answer = await this.#ask(engine, settings, signal, listener);
      listener.end(answer);
      const { text, reasoning, calls } = answer;
      // Stopped before it said anything.
      if (answer.finish === 'abort' && text === '') return;
      this.#messages.push({
        role: 'assistant',
        content: text,
        ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
        ...(calls.length > 0 ? { tool_calls: calls } : {}),
      });
      for (const call of calls) {
        const content = runTool(call);
        this.#messages.push({ role: 'tool', tool_call_id: call.id, content });
        listener.result(call, content);
      }
    }
  }

  async #ask(engine: Engine, settings: Settings, signal: AbortSignal, listener: Listener): Promise<Answer> {
    const { system } = settings;
    const preamble: ChatMessage[] = system.trim() === '' ? [] : [{ role: 'system', content: system }];
    const messages = [...preamble, ...this.#messages];
    const request = { ...requestFields(settings), messages, stream: true } as const;
    const answer: Answer = { text: '', reasoning: '', calls: [], finish: 'abort', timings: undefined };
    for await (const chunk of await engine.chat.completions.create(request, { signal })) {
      const choice = chunk.choices[0];
      if (choice === undefined) continue;
      if (choice.delta.content) listener.text((answer.text += choice.delta.content));
      answer.reasoning += choice.delta.reasoning_content ?? '';
      for (const { index: _, ...call } of choice.delta.tool_calls ?? []) answer.calls.push(call);
      answer.finish = choice.finish_reason ?? answer.finish;
      answer.timings = chunk.timings ?? answer.timings;
    }
    return answer;
  }

  /** Whether the model has the next word. */
  #waits(): boolean {
    const last = this.#messages.at(-1);
    return last?.role === 'user' || last?.role === 'tool';
  }
}
