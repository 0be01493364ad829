/** What kind of error it is; the same word from version to version. */
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
  | 'busy'
  | 'network'
  | 'not_found'
  | 'http_status'
  | 'wrong_content'
  | 'integrity'
  | 'aborted'
  | 'disposed'
  | 'internal';

/** A sentence for whoever visits the page; `message` is for whoever made it. */
const SENTENCES: Record<ErrorCode, string> = {
  no_webgpu:
    'This browser has no WebGPU. Try a current Chrome, Edge, Firefox or Safari, over https.',
  no_adapter:
    'The browser found no GPU that it can use. Hardware acceleration may be switched off in its settings.',
  out_of_memory:
    'The model does not fit the memory of this GPU. Close other tabs, or choose a smaller model.',
  device_lost: 'The GPU was reset or taken away. Load the model again to go on.',
  gpu_error: 'The GPU or its driver did something unexpected. Load the model again, or update the browser.',
  read_failed: 'A file of the model could not be read.',
  bad_model: 'These files are not a model that can run here.',
  invalid_request: 'The page asked for something that the model cannot do.',
  context_full: 'The conversation has become too long for the model. Start a new one.',
  busy: 'The model is still answering.',
  network: 'The model could not be downloaded. Check the connection and try again.',
  not_found: 'The model is not at this address.',
  http_status: 'The server refused to send the model. Try again later.',
  wrong_content: 'The server sent something else than the model.',
  integrity: 'The download was damaged. Try again.',
  aborted: 'Stopped.',
  disposed: 'The model was unloaded.',
  internal: 'Something went wrong that should not have. Reload the page.',
};

/** Every error of this package. */
export class Lfm2Error extends Error {
  override readonly name = 'Lfm2Error';
  /** What kind of error it is. */
  readonly code: ErrorCode;
  /** A sentence to show to the visitor. */
  readonly forVisitor: string;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.forVisitor = SENTENCES[code];
  }
}

/** Any thrown value as an `Lfm2Error`: the engine's own carry a `code`. */
export function toLfm2Error(thrown: unknown): Lfm2Error {
  if (thrown instanceof Lfm2Error) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = (thrown as { code?: unknown } | null)?.code;
  const known = typeof code === 'string' && code in SENTENCES;
  return new Lfm2Error(known ? (code as ErrorCode) : 'internal', message, { cause: thrown });
}

/** Throws `aborted` if the signal says so. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

export function aborted(signal: AbortSignal | undefined): Lfm2Error {
  return new Lfm2Error('aborted', 'stopped by the caller', { cause: signal?.reason });
}
