import { Lfm2Error, toLfm2Error } from './errors.js';
import type { Gate } from './gate.js';
import { Handoff } from './handoff.js';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletions,
  ChatRequest,
  FinishReason,
  Logprobs,
  RequestOptions,
  Timings,
  ToolCall,
  Usage,
} from './types.js';

/** The end of an answer. */
export interface Summary {
  /** null if the answer was stopped before its end. */
  finish_reason: FinishReason | null;
  usage: Usage;
  timings: Timings;
}

/** Answers requests: the engine in this thread, or a worker. */
export interface Answerer {
  /** Throws if a request is invalid. */
  check(request: string): Promise<void>;
  /** Calls `onPiece` after each step with a `Piece` as JSON, and waits for it. The signal ends the answer. */
  answer(request: string, onPiece: (piece: string) => Promise<void>, signal: AbortSignal): Promise<Summary>;
}

/** The output that a step has settled. Calls are complete. */
interface Piece {
  content?: string;
  reasoning_content?: string;
  tool_calls?: ToolCall['function'][];
  logprobs?: Logprobs;
}

/** Summary of a request that was stopped before the engine got it. */
const NOTHING: Summary = {
  finish_reason: null,
  usage: {
    prompt_tokens: 0,
    completion_tokens: 0,
    total_tokens: 0,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
  },
  timings: {
    cache_n: 0,
    prompt_n: 0,
    prompt_ms: 0,
    prompt_per_second: 0,
    predicted_n: 0,
    predicted_ms: 0,
    predicted_per_second: 0,
    first_token_ms: 0,
    seed: 0,
  },
};

/** `chat.completions` of an engine. */
export class Completions {
  readonly #answerer: Answerer;
  readonly #model: string;
  readonly #gate: Gate;
  readonly #disposed: AbortSignal;
  /** The chunks of all streams in progress. */
  readonly #streams = new Set<Handoff<Piece>>();

  /** Requests run together inside `gate`, and end when `disposed` is aborted. */
  constructor(answerer: Answerer, model: string, gate: Gate, disposed: AbortSignal) {
    this.#answerer = answerer;
    this.#model = model;
    this.#gate = gate;
    this.#disposed = disposed;
  }

  readonly create = ((request, options) => this.#create(request, options)) as ChatCompletions['create'];

  /** Running requests no longer wait for their readers, so that they end by themselves. */
  runAhead(): void {
    for (const stream of this.#streams) stream.runAhead();
  }

  async #create(
    request: ChatRequest,
    options: RequestOptions = {},
  ): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    this.#checkDisposed();
    const json = JSON.stringify(request);
    await this.#answerer.check(json);
    const head = {
      id: `chatcmpl-${crypto.randomUUID()}`,
      created: Math.floor(Date.now() / 1000),
      model: request.model ?? this.#model,
    };
    if (request.stream) {
      const usage = request.stream_options?.include_usage === true;
      return this.#chunks(json, head, usage, options.signal);
    }
    let content = '';
    let reasoning = '';
    const calls: ToolCall[] = [];
    const logprobs: Logprobs['content'] = [];
    const summary = await this.#run(json, this.#either(options.signal), async (piece) => {
      content += piece.content ?? '';
      reasoning += piece.reasoning_content ?? '';
      calls.push(...named(piece.tool_calls));
      logprobs.push(...(piece.logprobs?.content ?? []));
    });
    return {
      ...head,
      object: 'chat.completion',
      choices: [
        {
          index: 0,
          message: {
            role: 'assistant',
            content: content === '' && calls.length > 0 ? null : content,
            ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
            ...(calls.length === 0 ? {} : { tool_calls: calls }),
          },
          finish_reason: summary.finish_reason ?? 'abort',
          logprobs: request.logprobs === true ? { content: logprobs, refusal: null } : null,
        },
      ],
      usage: summary.usage,
      timings: summary.timings,
    };
  }

  async *#chunks(
    json: string,
    head: { id: string; created: number; model: string },
    includeUsage: boolean,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ChatCompletionChunk, void, undefined> {
    const chunk = (
      delta: ChatCompletionChunk['choices'][number]['delta'],
      finish_reason: FinishReason | null = null,
      logprobs: Logprobs | null = null,
    ): ChatCompletionChunk => ({
      ...head,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta, finish_reason, logprobs }],
    });
    const pieces = new Handoff<Piece>();
    // A caller that has stopped the answer need not take the remaining pieces.
    const left = new AbortController();
    const stop = AbortSignal.any([left.signal, this.#either(signal)]);
    stop.addEventListener('abort', () => pieces.close());
    this.#streams.add(pieces);
    // Nothing runs until the first chunk is requested.
    const run = this.#run(json, stop, async (piece) => {
      if (Object.keys(piece).length > 0) await pieces.put(piece);
    });
    const over = run.then(() => pieces.close(), (error: unknown) => pieces.fail(error));
    void over.then(() => this.#streams.delete(pieces));
    try {
      yield chunk({ role: 'assistant', content: '' });
      let index = 0;
      for (let piece = await pieces.take(); piece !== undefined; piece = await pieces.take()) {
        const { tool_calls, logprobs, ...said } = piece;
        const calls = named(tool_calls).map((call) => ({ index: index++, ...call }));
        yield chunk(calls.length > 0 ? { ...said, tool_calls: calls } : said, null, logprobs);
      }
      const summary = await run;
      yield { ...chunk({}, summary.finish_reason ?? 'abort'), timings: summary.timings };
      if (includeUsage) {
        yield { ...head, object: 'chat.completion.chunk', choices: [], usage: summary.usage };
      }
    } finally {
      // The caller left the loop: the answer ends with its current step.
      left.abort();
    }
  }

  #run(json: string, signal: AbortSignal, onPiece: (piece: Piece) => Promise<void>): Promise<Summary> {
    return this.#gate.together(async () => {
      if (signal.aborted) return NOTHING;
      try {
        return await this.#answerer.answer(json, (piece) => onPiece(JSON.parse(piece) as Piece), signal);
      } catch (thrown) {
        throw toLfm2Error(thrown);
      }
    });
  }

  /** A signal that the caller aborts, or a dispose. */
  #either(signal: AbortSignal | undefined): AbortSignal {
    return AbortSignal.any([this.#disposed, ...(signal ? [signal] : [])]);
  }

  #checkDisposed(): void {
    if (this.#disposed.aborted) {
      throw new Lfm2Error('disposed', 'the engine was disposed');
    }
  }
}

/** Adds ids to calls. */
function named(calls: ToolCall['function'][] = []): ToolCall[] {
  return calls.map((f) => ({ id: `call_${crypto.randomUUID()}`, type: 'function', function: f }));
}
