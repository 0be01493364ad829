import { EventSourceParserStream } from 'eventsource-parser/stream';
import type { ChatCompletion, ChatCompletionChunk, ChatCompletions, ChatRequest, RequestOptions } from 'lfm2-wgpu';

import type { Model } from './conversation.js';
import type { Problem } from './problem.js';

/** Time between two questions whether the server has loaded its model. */
const RETRY_MS = 1000;
/** Sentences for the visitor, by the code of the server's error. */
const SENTENCES: Record<string, string> = {
  context_full: 'The conversation has become too long for the model. Start a new one.',
  invalid_api_key: 'The server did not accept the key.',
  queue_full: 'The server has too many requests. Try again in a moment.',
  loading: 'The server still loads its model. Try again in a moment.',
  shutting_down: 'The server shuts down.',
  device_lost: 'The server lost its GPU. Try again in a moment.',
  timeout: 'The answer took longer than the server allows.',
  no_server: 'The server does not answer. Check that it is running.',
};

/** An error of the server, or of the way to it. */
export class ServerError extends Error implements Problem {
  override readonly name = 'ServerError';
  readonly code: string;
  readonly forVisitor: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code === 'context_length_exceeded' ? 'context_full' : code;
    this.forVisitor = SENTENCES[this.code] ?? 'The server could not answer.';
  }
}

/** The server's description of its model, from `/v1/models`. */
export interface ServedInfo {
  id: string;
  max_model_len: number;
  meta: { n_params: number; weights: string; gpu: string };
}

/** The model of the server that sent this page. */
export class ServerModel implements Model {
  readonly info: { gpu: string };
  readonly chat: { readonly completions: ChatCompletions };
  /** The description of the model. */
  readonly served: ServedInfo;
  readonly #askKey: () => Promise<string>;
  #key: string;

  private constructor(served: ServedInfo, key: string, askKey: () => Promise<string>) {
    this.served = served;
    this.info = { gpu: served.meta.gpu };
    this.#key = key;
    this.#askKey = askKey;
    this.chat = { completions: { create: this.#create.bind(this) as ChatCompletions['create'] } };
  }

  /** Waits until the server has loaded its model. `askKey` asks the visitor for a key if the server needs one. */
  static async connect(key: string, askKey: () => Promise<string>): Promise<ServerModel> {
    for (;;) {
      try {
        const answer = await request('v1/models', key);
        const { data } = (await answer.json()) as { data: ServedInfo[] };
        if (data[0] === undefined) throw new ServerError('no_server', 'the server lists no model');
        return new ServerModel(data[0], key, askKey);
      } catch (thrown) {
        const code = thrown instanceof ServerError ? thrown.code : '';
        if (code === 'invalid_api_key') key = await askKey();
        else if (code === 'loading') await new Promise((done) => setTimeout(done, RETRY_MS));
        else throw thrown;
      }
    }
  }

  async #create(chat: ChatRequest, { signal }: RequestOptions = {}): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    const body = JSON.stringify({ model: this.served.id, ...chat });
    const send = () => request('v1/chat/completions', this.#key, { body, ...(signal === undefined ? {} : { signal }) });
    const answer = await send().catch(async (thrown: unknown) => {
      if (!(thrown instanceof ServerError) || thrown.code !== 'invalid_api_key') throw thrown;
      this.#key = await this.#askKey();
      return send();
    });
    if (chat.stream !== true) return (await answer.json()) as ChatCompletion;
    return chunksOf(answer, signal);
  }
}

/** Requests a route of the server, which is beside this page. */
async function request(route: string, key: string, { body, signal }: { body?: string; signal?: AbortSignal } = {}): Promise<Response> {
  const headers = { ...(key === '' ? {} : { authorization: `Bearer ${key}` }), ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
  const options = { method: body === undefined ? 'GET' : 'POST', headers, body: body ?? null, signal: signal ?? null };
  const answer = await fetch(new URL(route, document.baseURI), options).catch((thrown: unknown) => {
    throw signal?.aborted ? thrown : new ServerError('no_server', String(thrown), { cause: thrown });
  });
  if (answer.ok) return answer;
  throw errorOf(await answer.json().catch(() => undefined), `status ${answer.status}`);
}

/** The chunks of a stream. Like the package's streams, it ends if the visitor stops it. */
async function* chunksOf(answer: Response, signal: AbortSignal | undefined): AsyncIterable<ChatCompletionChunk> {
  try {
    const events = answer.body?.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
    for await (const { data } of events ?? []) {
      if (data === '[DONE]') return;
      const chunk = JSON.parse(data) as ChatCompletionChunk | { error: unknown };
      if ('error' in chunk) throw errorOf(chunk, 'the server reported an error');
      yield chunk;
    }
  } catch (thrown) {
    if (signal?.aborted) return;
    throw thrown instanceof ServerError ? thrown : new ServerError('no_server', String(thrown), { cause: thrown });
  }
  if (!signal?.aborted) throw new ServerError('no_server', 'the stream ended before its end');
}

/** The error in an answer with OpenAI's shape. */
function errorOf(answer: unknown, otherwise: string): ServerError {
  const { code, message } = (answer as { error?: { code?: unknown; message?: unknown } } | undefined)?.error ?? {};
  return new ServerError(typeof code === 'string' ? code : 'server', typeof message === 'string' ? message : otherwise);
}
