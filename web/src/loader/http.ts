import { Lfm2Error, aborted, checkAborted } from '../errors.js';

/** Delays before the second and later tries, in milliseconds. */
const WAITS_MS = [300, 1000, 3000];

/** A failure that may pass when it is tried again. */
class Passing extends Lfm2Error {}

/** The file does not exist: the server says so, or sends a page instead. */
class NotThere extends Lfm2Error {}

/** Undefined if the file does not exist. */
export function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  return work.catch((thrown: unknown) => {
    if (thrown instanceof NotThere) return undefined;
    throw thrown;
  });
}

/** Rejects with `problem` if the file does not exist. */
export function needed<T>(work: Promise<T>, problem: string): Promise<T> {
  return work.catch((thrown: unknown) => {
    if (thrown instanceof NotThere) throw new NotThere(thrown.code, `${problem}: ${thrown.message}`);
    throw thrown;
  });
}

/** Options of requests. */
export interface HttpOptions {
  signal: AbortSignal | undefined;
  /** Headers of every request, e.g. `Authorization` for a private repository. */
  headers: Record<string, string>;
}

/** Repeats `attempt` after failures that may pass. */
export async function patiently<T>(options: HttpOptions, attempt: () => Promise<T>): Promise<T> {
  for (const wait of WAITS_MS) {
    try {
      return await attempt();
    } catch (thrown) {
      if (!(thrown instanceof Passing)) throw thrown;
    }
    await sleep(wait, options.signal);
  }
  return attempt();
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => (clearTimeout(timer), reject(aborted(signal))), { once: true });
  });
}

/** Sends a request. Network and server failures are typed errors. */
export async function send(url: string, options: HttpOptions, init: RequestInit = {}): Promise<Response> {
  const { signal } = options;
  checkAborted(signal);
  let response: Response;
  try {
    const headers = { ...options.headers, ...(init.headers as Record<string, string>) };
    response = await fetch(url, { ...init, headers, ...(signal ? { signal } : {}) });
  } catch (thrown) {
    throw networkError(url, thrown, signal);
  }
  // Some servers answer with their start page if a file does not exist.
  const isPage = response.headers.get('content-type')?.startsWith('text/html') === true;
  if (response.ok && !isPage) return response;
  await response.body?.cancel().catch(() => undefined);
  if (response.ok) throw new NotThere('wrong_content', `${url}: the server sent a page (text/html) instead`);
  const problem = `${url}: the server answered ${response.status}`;
  if (response.status === 404) throw new NotThere('not_found', problem);
  if (response.status === 429 || response.status >= 500) throw new Passing('http_status', problem);
  throw new Lfm2Error('http_status', problem);
}

function networkError(url: string, thrown: unknown, signal: AbortSignal | undefined): Lfm2Error {
  if (signal?.aborted) return aborted(signal);
  return new Passing('network', `${url}: ${String(thrown)}`, { cause: thrown });
}

/** Fetches a small file completely. */
export function fetchSmall(url: string, options: HttpOptions): Promise<Uint8Array> {
  return patiently(options, async () => bodyOf(await send(url, options), url, options));
}

async function bodyOf(response: Response, url: string, options: HttpOptions): Promise<Uint8Array> {
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (thrown) {
    throw networkError(url, thrown, options.signal);
  }
}

/** Fetches a file's length. */
export function fetchSize(url: string, options: HttpOptions): Promise<number> {
  return patiently(options, async () => {
    // A server that compresses its response would report another length.
    const response = await send(url, options, { method: 'HEAD' });
    const length = response.headers.get('content-length');
    if (length !== null && response.headers.get('content-encoding') === null) return Number(length);
    const first = await send(url, options, { headers: { Range: 'bytes=0-0' } });
    await first.body?.cancel();
    const total = rangeTotal(first);
    if (total === undefined) throw new Lfm2Error('wrong_content', `${url}: the server does not send its length`);
    return total;
  });
}

/** The total in `Content-Range: bytes 0-9/100`; other origins may hide the header. */
function rangeTotal(response: Response): number | undefined {
  const total = response.headers.get('content-range')?.split('/')[1];
  return total !== undefined && /^\d+$/.test(total) ? Number(total) : undefined;
}

/**
 * Fetches a range of a file of `size` bytes. Undefined if the server does not support ranges and sends the whole
 * file.
 */
export function fetchRange(
  url: string,
  size: number,
  offset: number,
  length: number,
  options: HttpOptions,
): Promise<Uint8Array | undefined> {
  return patiently(options, async () => {
    const response = await send(url, options, { headers: { Range: `bytes=${offset}-${offset + length - 1}` } });
    if (response.status !== 206 && length < size) {
      await response.body?.cancel();
      return undefined;
    }
    checkTotal(url, size, response);
    const bytes = await bodyOf(response, url, options);
    if (bytes.length !== length) throw shortBody(url, bytes.length, length, size);
    return bytes;
  });
}

/**
 * Fetches a whole file from its beginning, in pieces of `piece` bytes, for a server without ranges. After a failure
 * that may pass, it starts again.
 */
export function fetchPieces(
  url: string,
  size: number,
  piece: number,
  options: HttpOptions,
  onPiece: (n: number, bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  return patiently(options, () => piecesOnce(url, size, piece, options, onPiece));
}

async function piecesOnce(
  url: string,
  size: number,
  piece: number,
  options: HttpOptions,
  onPiece: (n: number, bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const body = await openBody(url, size, options);
  let [n, have, got] = [0, new Uint8Array(Math.min(piece, size)), 0];
  while (n * piece + got < size) {
    for (let { bytes: rest } = await body.next(); rest.length > 0; ) {
      const part = rest.subarray(0, have.length - got);
      have.set(part, got);
      got += part.length;
      rest = rest.subarray(part.length);
      if (got === have.length) {
        await onPiece(n, have);
        [n, got] = [n + 1, 0];
        have = new Uint8Array(Math.max(0, Math.min(piece, size - n * piece)));
      }
    }
  }
  await body.end();
}

/** A response that streams a whole file from its beginning. */
export interface Body {
  /** The next bytes and their offset in the file. Rejects if the file is too short or too long. */
  next(): Promise<{ at: number; bytes: Uint8Array }>;
  /** Rejects if the response is longer than the file. */
  end(): Promise<void>;
  cancel(): Promise<void>;
}

/** Requests a file of `size` bytes. */
export async function openBody(url: string, size: number, options: HttpOptions): Promise<Body> {
  const response = await send(url, options);
  checkTotal(url, size, response);
  const reader = response.body?.getReader();
  let at = 0;
  const more = async () => {
    try {
      const { value } = (await reader?.read()) ?? {};
      if (value !== undefined && at + value.length > size) {
        throw new Lfm2Error('wrong_content', `${url}: is longer than ${size} bytes`);
      }
      return value;
    } catch (thrown) {
      throw thrown instanceof Lfm2Error ? thrown : networkError(url, thrown, options.signal);
    }
  };
  return {
    next: async () => {
      const bytes = await more();
      if (bytes === undefined) throw shortBody(url, at, size, size);
      const from = at;
      at += bytes.length;
      return { at: from, bytes };
    },
    end: async () => void (await more()),
    cancel: async () => reader?.cancel().catch(() => undefined),
  };
}

function checkTotal(url: string, size: number, response: Response): void {
  const whole = response.headers.get('content-encoding') === null ? response.headers.get('content-length') : null;
  const total = response.status === 206 ? rangeTotal(response) : whole === null ? undefined : Number(whole);
  if (total !== undefined && total !== size) {
    void response.body?.cancel().catch(() => undefined);
    throw new Lfm2Error('wrong_content', `${url}: has ${total} bytes, need ${size}`);
  }
}

function shortBody(url: string, got: number, wanted: number, size: number): Lfm2Error {
  return new Passing('network', `${url}: the server sent ${got} of ${wanted} bytes, of a file of ${size}`);
}
