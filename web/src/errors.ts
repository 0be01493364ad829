/** The kind of an error. The words do not change between versions. */
export type ErrorCode =
  | 'no_webgpu'
  | 'no_adapter'
  | 'out_of_memory'
  | 'device_lost'
  | 'gpu_error'
  | 'read_failed'
  | 'bad_model'
  | 'invalid_request'
  | 'context_full'
  | 'saved_state'
  | 'network'
  | 'not_found'
  | 'http_status'
  | 'wrong_content'
  | 'integrity'
  | 'aborted'
  | 'disposed'
  | 'internal';

/** Sentences for the page's visitor; `message` is for its developer. */
const SENTENCES: Record<ErrorCode, string> = {
  no_webgpu:
    'This browser has no WebGPU. Try a current Chrome, Edge, Firefox or Safari, over https.',
  no_adapter:
    'The browser found no GPU that it can use. Check that hardware acceleration is on in its settings.',
  out_of_memory:
    'The model does not fit into this GPU\'s memory. Close other tabs, or choose a smaller model.',
  device_lost: 'The GPU was reset or removed. Load the model again to continue.',
  gpu_error: 'The GPU or its driver reported an error. Load the model again, or update the browser.',
  read_failed: 'A file of the model could not be read.',
  bad_model: 'These files are not a model that can run here.',
  invalid_request: 'The page sent a request that the model does not support.',
  context_full: 'The conversation has become too long for the model. Start a new one.',
  saved_state: 'The state of a conversation could not be kept or used. The model reads the conversation again.',
  network: 'The model could not be downloaded. Check the connection and try again.',
  not_found: 'The model is not at this address.',
  http_status: 'The server refused to send the model. Try again later.',
  wrong_content: 'The server sent something other than the model.',
  integrity: 'The download was damaged. Try again.',
  aborted: 'Stopped.',
  disposed: 'The model was unloaded.',
  internal: 'An unexpected error occurred. Reload the page.',
};

/** Every error of this package. */
export class Lfm2Error extends Error {
  override readonly name = 'Lfm2Error';
  /** The kind of the error. */
  readonly code: ErrorCode;
  /** A sentence to show to the visitor. */
  readonly forVisitor: string;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.forVisitor = SENTENCES[code];
  }
}

/** Converts any thrown value to an `Lfm2Error`. The engine's own errors have a `code`. */
export function toLfm2Error(thrown: unknown): Lfm2Error {
  if (thrown instanceof Lfm2Error) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = (thrown as { code?: unknown } | null)?.code;
  const known = typeof code === 'string' && code in SENTENCES;
  return new Lfm2Error(known ? (code as ErrorCode) : 'internal', message, { cause: thrown });
}

/** Throws `aborted` if the signal is aborted. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

export function aborted(signal: AbortSignal | undefined): Lfm2Error {
  return new Lfm2Error('aborted', 'stopped by the caller', { cause: signal?.reason });
}
