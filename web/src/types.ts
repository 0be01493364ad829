import type { HubOptions } from './loader/hub.js';

/** One of these words. The type also accepts any string, because TypeScript widens literals; at run time others are refused. */
type OneOf<Word extends string> = Word | (string & {});

/**
 * The page's device: `GPUDevice`, or any object if TypeScript does not know that type (older versions without the
 * package @webgpu/types).
 */
export type PageDevice = typeof globalThis extends { GPUDevice: { prototype: infer Device } } ? Device : object;

/** A message of a conversation, in OpenAI's format. */
export interface ChatMessage {
  role: OneOf<'system' | 'developer' | 'user' | 'assistant' | 'tool'>;
  content?: string | readonly { type: OneOf<'text'>; text: string }[] | null;
  /** The model's reasoning before its answer, as returned by `create`. */
  reasoning_content?: string | null;
  /** The tool calls of an assistant's message, as returned by `create`. */
  tool_calls?: readonly (Omit<ToolCall, 'type'> & { type: OneOf<'function'> })[] | null;
  /** Further fields are passed to the model's chat template. Their type is `any`, because interfaces fit no other. */
  [field: string]: any;
}

/** A tool that the model may call. */
export interface ChatTool {
  type: OneOf<'function'>;
  function: { name: string; description?: string; parameters?: object; strict?: boolean | null };
}

/** The fields of a request. Any other field is refused, never ignored. */
export interface ChatRequest {
  messages: readonly ChatMessage[];
  /** A name for the model, or a LoRA adapter's name, which chooses it; the response repeats it. */
  model?: string;
  /** A LoRA adapter by its name, or with the factor of its addition. Without it, `model` may name one. */
  lora?: string | { name: string; scale?: number } | null;
  /** Whether to stream the answer in chunks. */
  stream?: boolean | null;
  /** Only with `stream`: whether a last chunk has `usage`. */
  stream_options?: { include_usage?: boolean } | null;
  /** Maximum number of tokens of the answer. Default: to the end of the context. */
  max_tokens?: number | null;
  /** Newer name of `max_tokens`. */
  max_completion_tokens?: number | null;
  /** 0 is greedy. The defaults of the sampling fields are the values that the model's authors recommend. */
  temperature?: number | null;
  top_p?: number | null;
  top_k?: number | null;
  min_p?: number | null;
  repetition_penalty?: number | null;
  frequency_penalty?: number | null;
  presence_penalty?: number | null;
  /** Bias by token id, from -100 (bans the token) to 100 (forces it); at most 1024 tokens. */
  logit_bias?: Record<number, number> | null;
  /**
   * The same seed gives the same answer with the same version, model, GPU, driver and options, and after the
   * same earlier requests to the engine. Default, or -1: a random seed.
   */
  seed?: number | null;
  /** Strings that end the answer and are not part of it. */
  stop?: string | readonly string[] | null;
  tools?: readonly ChatTool[] | null;
  /**
   * `none` hides the tools from the model. `required`, or a tool's name, demands a call. Such an answer, and one with
   * `strict` tools, `response_format` or `structured_outputs`, has only tokens that follow the rules; the first one loads
   * a WebAssembly module of 0.5 MB.
   */
  tool_choice?:
    | OneOf<'auto' | 'none' | 'required'>
    | { type: OneOf<'function'>; function: { name: string } }
    | { type: OneOf<'allowed_tools'>; allowed_tools: { mode: OneOf<'auto' | 'required'>; tools: readonly unknown[] } }
    | null;
  /** Whether an answer may have several tool calls. */
  parallel_tool_calls?: boolean | null;
  /** The form of the answer: any text, JSON, or JSON of a schema. A keyword that cannot be enforced is refused. */
  response_format?:
    | { type: OneOf<'text' | 'json_object'> }
    | { type: OneOf<'json_schema'>; json_schema: { name?: string; strict?: boolean | null; schema: object | boolean } }
    | null;
  /** One of these forms, as in vLLM: a JSON schema, a regular expression, one of several texts, a Lark grammar. */
  structured_outputs?: {
    json?: object | boolean | string;
    json_object?: boolean;
    regex?: string;
    choice?: readonly string[];
    grammar?: string;
  } | null;
  /** Whether the answer's tokens come with their log-probabilities. */
  logprobs?: boolean | null;
  /** Number of the most probable tokens at each position, from 0 to 20; needs `logprobs`. */
  top_logprobs?: number | null;
  /** A variable of the model's template; `none` and `minimal` leave reasoning out, if the template can. */
  reasoning_effort?: OneOf<'none' | 'minimal' | 'low' | 'medium' | 'high'> | null;
  /**
   * Whether the answer continues the last message. Default: if it is the assistant's, has text and calls no tool.
   */
  continue_final_message?: boolean | null;
  /** Further variables for the model's chat template. */
  chat_template_kwargs?: Record<string, unknown> | null;
}

/** A request for a complete answer. */
export interface ChatRequestWhole extends ChatRequest {
  stream?: false | null;
}

/** A request for a streamed answer. */
export interface ChatRequestStreaming extends ChatRequest {
  stream: true;
}

/**
 * Why an answer ended. `stop`: the model ended it, or a stop string did. `tool_calls`: the model ended it to call
 * tools. `length`: `max_tokens` or the context was reached. `abort`: the caller stopped it.
 */
export type FinishReason = 'stop' | 'tool_calls' | 'length' | 'abort';

/** A tool call of the model. Send the tool's result as the content of a message with the role `tool`. */
export interface ToolCall {
  id: string;
  type: 'function';
  /** `arguments` is the text of a JSON object. */
  function: { name: string; arguments: string };
}

/** A token with the natural logarithm of its probability. `bytes` are its UTF-8; a token may end inside a character. */
export interface TokenLogprob {
  token: string;
  logprob: number;
  bytes: number[];
}

/** Log-probabilities of an answer's tokens, without the token that ends it. */
export interface Logprobs {
  content: (TokenLogprob & { top_logprobs: TokenLogprob[] })[];
  refusal: null;
}

/** Token counts of a request. */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
  completion_tokens_details: { reasoning_tokens: number };
}

/** Counts and times of an answer, with llama-server's names. */
export interface Timings {
  /** Prompt tokens reused from earlier prompts and answers, or from a restored state. */
  cache_n: number;
  /** Prompt tokens computed. */
  prompt_n: number;
  prompt_ms: number;
  prompt_per_second: number;
  predicted_n: number;
  predicted_ms: number;
  predicted_per_second: number;
  /** Time from the call to the first token. */
  first_token_ms: number;
  /** The seed, given or random. With the same seed the answer can be repeated. */
  seed: number;
}

/** A complete answer. */
export interface ChatCompletion {
  id: string;
  object: 'chat.completion';
  /** Seconds since 1970. */
  created: number;
  model: string;
  choices: [
    {
      index: 0;
      /** `content` is null if the message has only tool calls. Send the message back unchanged. */
      message: {
        role: 'assistant';
        content: string | null;
        /** The model's reasoning before its answer. */
        reasoning_content?: string;
        tool_calls?: ToolCall[];
      };
      finish_reason: FinishReason;
      logprobs: Logprobs | null;
    },
  ];
  usage: Usage;
  timings: Timings;
}

/** A chunk of a streamed answer. */
export interface ChatCompletionChunk {
  id: string;
  object: 'chat.completion.chunk';
  created: number;
  model: string;
  /** Empty in the chunk that has `usage`. */
  choices: {
    index: 0;
    /** A tool call comes once and complete, as soon as the model has written it. */
    delta: {
      role?: 'assistant';
      content?: string;
      reasoning_content?: string;
      tool_calls?: (ToolCall & { index: number })[];
    };
    finish_reason: FinishReason | null;
    /** Those of the tokens since the chunk before. */
    logprobs: Logprobs | null;
  }[];
  /** In the last chunk, if `stream_options.include_usage` is set. */
  usage?: Usage;
  /** In the chunk that has `finish_reason`. */
  timings?: Timings;
}

/** Options of a request beside its fields. */
export interface RequestOptions {
  /** Stops the answer; its text so far is kept, with the finish reason `abort`. */
  signal?: AbortSignal;
}

/** `chat.completions`, as in OpenAI's client. */
export interface ChatCompletions {
  create(request: ChatRequestStreaming, options?: RequestOptions): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(request: ChatRequestWhole, options?: RequestOptions): Promise<ChatCompletion>;
  create(
    request: ChatRequest,
    options?: RequestOptions,
  ): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
}

/** A description of the loaded model. */
export interface EngineInfo {
  /** The `model` option as the caller gave it. */
  model: string;
  /** The GPU's name, as far as the browser reveals it. */
  gpu: string;
  /** Whether the whole model is in the cache, so that the next visit needs no network. */
  cached: boolean;
  /** Maximum number of tokens of a conversation. */
  contextLength: number;
  parameters: number;
  /** Storage format of most of the weights. */
  weightFormat: string;
  /** Optional device features in use. */
  features: string[];
  /** The kernel choices. They follow only from the device, the model and the options. */
  choices: Choices;
  /** Bytes on the GPU, by purpose. */
  memory: { weights: number; keysAndValues: number; other: number; total: number };
  /** Default sampling values, as the model's authors recommend. */
  sampling: Sampling;
}

/** Sampling values, with the names of a request's fields. */
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

/** The browser's description of the GPU. */
export interface GpuReport {
  /** A name to show. */
  name: string;
  /** Whether it is a software adapter, which runs on the CPU. */
  software: boolean;
  /** The available optional features that the engine uses. */
  features: string[];
  limits: { maxBufferSize: number; maxStorageBufferBindingSize: number };
}

/** Choices between kernels that round differently. */
export interface Choices {
  /** Method by which the lanes of a workgroup form a sum. */
  reduce: 'tree' | 'subgroup' | 'serial' | 'serial-subgroup';
  /** Precision of activations in products of few rows with quantised weights. */
  activations: 'float' | 'int8';
  /** Hardware that multiplies in products of many rows. */
  multiply: 'lanes' | 'matrix-units';
  /** Largest number of rows that counts as few. */
  matvec_rows: number;
  /** The same for the attention of a sequence's rows. */
  attention_rows: number;
}

/** GPU statistics since the engine was created. */
export interface Counters {
  dispatches: number;
  submissions: number;
  readbackBytes: number;
  /** Bytes of the buffers that exist now. */
  allocatedBytes: number;
  /** Highest value of `allocatedBytes`. */
  peakAllocatedBytes: number;
}

/** A model on the visitor's GPU. It answers several requests at once, as the option `parallel` says. */
export interface Engine {
  readonly info: EngineInfo;
  readonly chat: { readonly completions: ChatCompletions };
  /** GPU statistics so far. */
  counters(): Promise<Counters>;
  /**
   * Saves the state of a request's prompt under a name, so that a later visit need not compute it again: of the
   * longest beginning that the engine has computed, for example of a conversation with the last answer as its last
   * message. Fields that do not change the prompt have no effect. Returns the number of tokens saved; with 0, no
   * state was written. In a browser the state goes into the private file system, in Node `name` is a file's path.
   */
  save(request: ChatRequest, name: string): Promise<number>;
  /**
   * Reads a saved state. Requests whose prompts begin with its tokens continue from there. Returns the number of its
   * tokens, or 0 if there is no state of this name. A state that is damaged or of another model is refused with
   * `saved_state`, and changes nothing.
   */
  restore(name: string): Promise<number>;
  /**
   * Loads a LoRA adapter, also while requests are answered. Requests choose it by its name; each of those that are
   * answered at once may have another one, or none. A bad file is refused, and changes nothing.
   */
  loadLora(options: LoraOptions): Promise<void>;
  /** Removes a LoRA adapter. Requests that are being answered go on with it. */
  unloadLora(name: string): Promise<void>;
  /** The loaded LoRA adapters, in the order of their loading. */
  loras(): Promise<LoraInfo[]>;
  /**
   * Loads the model again on a new device, from the cache or from its source. Call it after the device was
   * lost; until then all requests are rejected with `device_lost`. It waits for the end of running requests, and
   * requests made meanwhile wait for it. Conversations can continue: the next request of each prefills its whole prompt
   * again. If it fails, it can be called again. A second call while one is running returns the result of the
   * first.
   */
  recover(options?: RecoverOptions): Promise<void>;
  /** Stops running requests and frees the GPU. Calling it again does nothing. */
  dispose(): Promise<void>;
}

/** A LoRA adapter to load. */
export interface LoraOptions {
  /** A name for requests. */
  name: string;
  /**
   * The URL of the folder that PEFT wrote, or of a .gguf file; a hub name, `owner/repo[@revision]`; or files that the
   * visitor picked: adapter_config.json and adapter_model.safetensors, or a .gguf file. In Node also a path.
   */
  lora: string | URL | Blob | Iterable<Blob>;
  /** Factor of its addition to the model. Default: 1. */
  scale?: number;
  /** Cancels the download. */
  signal?: AbortSignal;
}

/** A loaded LoRA adapter. */
export interface LoraInfo {
  name: string;
  /** Largest rank of its matrices. */
  rank: number;
  scale: number;
}

/** Progress of loading. `loaded` and `total` are bytes of the phase (in `compile`: pipelines); `total` is 0 if unknown. */
export interface Progress {
  /**
   * `download`: from the network; `verify`: the hashes; `upload`: to the GPU; `compile`: the pipelines;
   * `warmup`: one hidden answer; `ready`: done.
   */
  phase: 'download' | 'verify' | 'upload' | 'compile' | 'warmup' | 'ready';
  loaded: number;
  total: number;
  /** The current file, if the phase has one. */
  file?: string;
  /** Whether the bytes come from the cache. */
  fromCache: boolean;
  /** Progress of all phases together, from 0 to 1; never decreases. */
  fraction: number;
}

/** A model's source, and whether it is cached. */
export interface ModelOptions {
  /**
   * The URL of a package's or a checkpoint's folder, or of a .gguf file (of the first part, if it is split); a hub
   * name, `owner/repo[:QUANT][@revision]`; or files that the visitor picked.
   */
  model: string | URL | Blob | Iterable<Blob>;
  /**
   * `opfs` (the default) keeps the model in the browser's private file system, so that the next visit needs no
   * network. Without that file system, or if the model does not fit, it runs uncached.
   */
  cache?: 'opfs' | 'none';
  /** The hub of model names. */
  hub?: HubOptions;
  /** A Jinja template that replaces the model's own chat template. */
  chatTemplate?: string;
  /** Maximum number of tokens of a conversation. Default: as many as fit, at most 32,768. 0: the model's full context. */
  contextLength?: number;
  /**
   * Number of requests that are answered at once, 1 by default; further requests wait. They share the memory of keys
   * and values, which holds this many contexts if they fit.
   */
  parallel?: number;
  /** Cancels it. */
  signal?: AbortSignal;
}

/** Options of `createEngine`. */
export interface EngineOptions extends ModelOptions {
  /**
   * Precision of activations in products with quantised weights. Default: `float`, or `int8` for files with the
   * word QAD in their name, which were trained for it.
   */
  activations?: 'float' | 'int8';
  /** Called often during loading. */
  onProgress?: (progress: Progress) => void;
  /**
   * The page's own device, not for `createWorkerEngine`. The engine does not destroy it; the model's memory on it
   * is free after the browser's garbage collection.
   */
  device?: PageDevice;
}

/** Options of `Engine.recover`. */
export interface RecoverOptions {
  /** Called often, as during loading. */
  onProgress?: (progress: Progress) => void;
  /** Cancels it; then the engine has no device. */
  signal?: AbortSignal;
  /** The page's new device; required if the engine was created with a `device`, otherwise refused. */
  device?: PageDevice;
}

/** Result of `preflight`: the download's size, and whether the model would run. */
export interface Preflight {
  /** `ok`: it should run; `risky`: it may not, or slowly; `no`: it cannot. */
  verdict: 'ok' | 'risky' | 'no';
  /** The reasons, as sentences for the visitor; may be empty. */
  reasons: string[];
  /** Absent if the browser provides no GPU. */
  gpu?: GpuReport;
  /** The model's bytes, and how many of them are in the cache. */
  bytes?: { total: number; cached: number };
  /** The model's bytes on the GPU. */
  memory?: EngineInfo['memory'];
  contextLength?: number;
  parameters?: number;
  /** Free bytes in the browser's storage, as far as the browser reveals it. */
  storage?: number;
}
