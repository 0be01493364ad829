import type { HubOptions } from './loader/hub.js';

/** One of these words; any string for the compiler, which widens the words of a literal. Others are refused. */
type OneOf<Word extends string> = Word | (string & {});

/**
 * The page's device: `GPUDevice`, or any object where TypeScript knows no such type, as older ones without the
 * package @webgpu/types.
 */
export type PageDevice = typeof globalThis extends { GPUDevice: { prototype: infer Device } } ? Device : object;

/** A message of a conversation, as OpenAI's API spells it. */
export interface ChatMessage {
  role: OneOf<'system' | 'developer' | 'user' | 'assistant' | 'tool'>;
  content?: string | readonly { type: OneOf<'text'>; text: string }[] | null;
  /** What the model thought before it answered, as `create` gives it. */
  reasoning_content?: string | null;
  /** What an assistant's message calls, as `create` gives it. */
  tool_calls?: readonly (Omit<ToolCall, 'type'> & { type: OneOf<'function'> })[] | null;
  /** Further fields go to the model's chat template as they are. `any`, since interfaces fit no other type. */
  [field: string]: any;
}

/** A tool that the model may call. */
export interface ChatTool {
  type: OneOf<'function'>;
  function: { name: string; description?: string; parameters?: object };
}

/** What an answer is asked for with. Fields that are not here are refused, never ignored. */
export interface ChatRequest {
  messages: readonly ChatMessage[];
  /** A name for the model, given back in the answer. */
  model?: string;
  /** Whether the answer comes in chunks. */
  stream?: boolean | null;
  /** Only with `stream`: a last chunk tells `usage`. */
  stream_options?: { include_usage?: boolean } | null;
  /** Most tokens of the answer; to the end of the context if it is not said. */
  max_tokens?: number | null;
  /** The same under its newer name. */
  max_completion_tokens?: number | null;
  /** 0 is greedy. Sampling fields that are not given are as the model's authors recommend. */
  temperature?: number | null;
  top_p?: number | null;
  top_k?: number | null;
  min_p?: number | null;
  repetition_penalty?: number | null;
  frequency_penalty?: number | null;
  presence_penalty?: number | null;
  /** By token id, from -100, which bans a token, to 100, which forces it; at most 1024. */
  logit_bias?: Record<number, number> | null;
  /**
   * The same seed gives the same answer, of the same version, model, GPU and driver, with the same
   * options and the same requests before it in the engine; random if it is not said, or -1.
   */
  seed?: number | null;
  /** Strings that end the answer and are not part of it. */
  stop?: string | readonly string[] | null;
  tools?: readonly ChatTool[] | null;
  /** Whether the model is told of the tools. */
  tool_choice?: OneOf<'auto' | 'none'> | null;
  /** Further variables of the model's chat template. */
  chat_template_kwargs?: Record<string, unknown> | null;
}

/** A request for one whole answer. */
export interface ChatRequestWhole extends ChatRequest {
  stream?: false | null;
}

/** A request for an answer in chunks. */
export interface ChatRequestStreaming extends ChatRequest {
  stream: true;
}

/**
 * Why an answer ended: the model ended it (or a stop string did), in order to call tools or not;
 * `max_tokens` or the context did; or the caller did by its signal.
 */
export type FinishReason = 'stop' | 'tool_calls' | 'length' | 'abort';

/** A tool that the model calls. Its answer is the content of a message of the role `tool`. */
export interface ToolCall {
  id: string;
  type: 'function';
  /** `arguments` is JSON: an object. */
  function: { name: string; arguments: string };
}

/** Tokens that an answer took. */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

/** Counts and times of an answer, in llama-server's names. */
export interface Timings {
  /** Prompt tokens whose state was there from the turn before. */
  cache_n: number;
  /** Prompt tokens that were computed. */
  prompt_n: number;
  prompt_ms: number;
  prompt_per_second: number;
  predicted_n: number;
  predicted_ms: number;
  predicted_per_second: number;
  /** From the call to the first token. */
  first_token_ms: number;
  /** The seed, given or random: given again, it repeats the answer. */
  seed: number;
}

/** A whole answer. */
export interface ChatCompletion {
  id: string;
  object: 'chat.completion';
  /** Seconds since 1970. */
  created: number;
  model: string;
  choices: [
    {
      index: 0;
      /** `content` is null beside calls if nothing was said. Send the message back as it is. */
      message: {
        role: 'assistant';
        content: string | null;
        /** What the model thought before it answered. */
        reasoning_content?: string;
        tool_calls?: ToolCall[];
      };
      finish_reason: FinishReason;
      logprobs: null;
    },
  ];
  usage: Usage;
  timings: Timings;
}

/** A piece of an answer. */
export interface ChatCompletionChunk {
  id: string;
  object: 'chat.completion.chunk';
  created: number;
  model: string;
  /** Empty in the chunk that tells `usage`. */
  choices: {
    index: 0;
    /** A tool call comes once and whole, as soon as the model has written it. */
    delta: {
      role?: 'assistant';
      content?: string;
      reasoning_content?: string;
      tool_calls?: (ToolCall & { index: number })[];
    };
    finish_reason: FinishReason | null;
    logprobs: null;
  }[];
  /** In the last chunk, if `stream_options.include_usage` asked for it. */
  usage?: Usage;
  /** In the chunk that tells `finish_reason`. */
  timings?: Timings;
}

/** Options of a request beside its fields. */
export interface RequestOptions {
  /** Stops the answer; what there is of it stays, with the finish reason `abort`. */
  signal?: AbortSignal;
}

/** `chat.completions`, as of OpenAI's client. */
export interface ChatCompletions {
  create(request: ChatRequestStreaming, options?: RequestOptions): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(request: ChatRequestWhole, options?: RequestOptions): Promise<ChatCompletion>;
  create(
    request: ChatRequest,
    options?: RequestOptions,
  ): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
}

/** What was loaded. */
export interface EngineInfo {
  /** What the caller gave as the model. */
  model: string;
  /** The GPU, as far as the browser tells. */
  gpu: string;
  /** Whether all of it is in the cache, so that the next visit needs no network. */
  cached: boolean;
  /** Tokens that a conversation may have. */
  contextLength: number;
  parameters: number;
  /** How most of the weights are stored. */
  weightFormat: string;
  /** Optional device features that are used. */
  features: string[];
  /** How the engine computes. It follows from the device, the model and the options alone. */
  choices: Choices;
  /** Bytes on the GPU. */
  memory: { weights: number; keysAndValues: number; other: number; total: number };
  /** How tokens are chosen where a request does not say it: as the model's authors recommend. */
  sampling: Sampling;
}

/** How tokens are chosen, in the names of a request's fields. */
export interface Sampling {
  /** 0 is greedy. */
  temperature: number;
  /** 1 is off. */
  top_p: number;
  /** 0 is off. */
  top_k: number;
  /** 0 is off. */
  min_p: number;
  /** 1 is off. */
  repetition_penalty: number;
  /** 0 is off. */
  presence_penalty: number;
  /** 0 is off. */
  frequency_penalty: number;
}

/** What the browser tells of the GPU. */
export interface GpuReport {
  /** A name to show. */
  name: string;
  /** Whether it is a program on the CPU that does as if it were a GPU. */
  software: boolean;
  /** Optional features that the engine uses where they are there. */
  features: string[];
  limits: { maxBufferSize: number; maxStorageBufferBindingSize: number };
}

/** How an engine computes where there are several ways, which round differently. */
export interface Choices {
  /** How lanes add up. */
  reduce: 'tree' | 'subgroup' | 'serial' | 'serial-subgroup';
  /** What products with quantised weights make of their inputs, for few rows. */
  activations: 'float' | 'int8';
  /** What multiplies in products of many rows. */
  multiply: 'lanes' | 'matrix-units';
  /** Most rows that count as few. */
  matvec_rows: number;
}

/** What has been asked of the GPU since the engine was made. */
export interface Counters {
  dispatches: number;
  submissions: number;
  readbackBytes: number;
  /** Of buffers that are alive. */
  allocatedBytes: number;
  /** The most that were alive at once. */
  peakAllocatedBytes: number;
}

/** A model on the visitor's GPU. Requests are answered one at a time, in their order. */
export interface Engine {
  readonly info: EngineInfo;
  readonly chat: { readonly completions: ChatCompletions };
  /** What has been asked of the GPU so far. */
  counters(): Promise<Counters>;
  /**
   * Loads the model again on a new device, from the cache or from where it came, after the one it was
   * on has been lost: until then all requests are rejected with `device_lost`. Takes its turn among the
   * requests; those that are made meanwhile wait for it. Conversations go on as they were, the next
   * request of each computes its whole prompt anew. If it fails it can be called again; a call while
   * one runs gives that one's result.
   */
  recover(options?: RecoverOptions): Promise<void>;
  /** Stops what runs and frees the GPU. Calling it again does nothing. */
  dispose(): Promise<void>;
}

/** How far loading is. `loaded` and `total` are bytes of the phase, of `compile` kernels; `total` is 0 where unknown. */
export interface Progress {
  /**
   * `download`: from the network; `verify`: its hashes; `upload`: to the GPU; `compile`: the GPU's
   * programs; `warmup`: a first answer nobody sees; `ready`: done.
   */
  phase: 'download' | 'verify' | 'upload' | 'compile' | 'warmup' | 'ready';
  loaded: number;
  total: number;
  /** The file that is worked on, if it is one. */
  file?: string;
  /** Whether the bytes come from the cache and not from the network. */
  fromCache: boolean;
  /** All phases together, from 0 to 1; never less than before. */
  fraction: number;
}

/** Where a model is and whether it is kept. */
export interface ModelOptions {
  /**
   * The URL of a package's or a checkpoint's folder, or of a .gguf file (of a split one the first);
   * a model on the hub as `owner/repo[:QUANT][@revision]`; or files that the visitor picked.
   */
  model: string | URL | Blob | Iterable<Blob>;
  /**
   * `opfs` (the default) keeps the model in the browser's private file system, so that the next
   * visit needs no network; where it does not fit, or there is none, it runs all the same.
   */
  cache?: 'opfs' | 'none';
  /** Where names of models are looked up. */
  hub?: HubOptions;
  /** A Jinja template that renders conversations in place of the model's own. */
  chatTemplate?: string;
  /** Tokens that a conversation may have; 0: as many as the model was made for; default: as many as fit, at most 32,768. */
  contextLength?: number;
  /** Stops it. */
  signal?: AbortSignal;
}

/** Options of `createEngine`. */
export interface EngineOptions extends ModelOptions {
  /**
   * What products with quantised weights make of their inputs. Default: `float`; `int8` for files whose
   * name has the word QAD, which were trained so.
   */
  activations?: 'float' | 'int8';
  /** Called often while loading. */
  onProgress?: (progress: Progress) => void;
  /**
   * The page's own device, which is not destroyed with the engine: what the model takes on it is free
   * when the browser has collected its garbage. Not for `createWorkerEngine`.
   */
  device?: PageDevice;
}

/** Options of `Engine.recover`. */
export interface RecoverOptions {
  /** Called often, as while loading. */
  onProgress?: (progress: Progress) => void;
  /** Stops it; the engine has no device then. */
  signal?: AbortSignal;
  /** A new one, if and only if the engine was made with a `device` of the page's own. */
  device?: PageDevice;
}

/** What would be downloaded and whether it would run: `preflight`. */
export interface Preflight {
  /** `ok`: it should run; `risky`: it may not, or slowly; `no`: it cannot. */
  verdict: 'ok' | 'risky' | 'no';
  /** Why, in sentences for the visitor; empty if there is nothing to say. */
  reasons: string[];
  /** Absent if the browser grants none. */
  gpu?: GpuReport;
  /** Bytes of the model, and how many of them are in the cache. */
  bytes?: { total: number; cached: number };
  /** Bytes that the model takes on the GPU. */
  memory?: EngineInfo['memory'];
  contextLength?: number;
  parameters?: number;
  /** Bytes that still fit into the browser's storage, as far as it tells. */
  storage?: number;
}
