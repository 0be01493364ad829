import { Lfm2Error, checkAborted } from '../errors.js';
import { openBody, patiently } from './http.js';
import type { Body, HttpOptions } from './http.js';

/** Most bytes of a file that are kept: several times the largest known header or tokenizer. */
const MOST = 64 << 20;

/**
 * The beginning of a file on a server without ranges. It reads one response as far as requested, keeps the bytes in
 * memory, and cancels the rest.
 */
export class Beginning {
  readonly #url: string;
  readonly #size: number;
  readonly #http: HttpOptions;
  readonly #most: number;
  #have = new Uint8Array(0);
  #length = 0;
  #body: Body | undefined;
  /** Settles when the reads so far have ended. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(url: string, size: number, http: HttpOptions, most = MOST) {
    this.#url = url;
    this.#size = size;
    this.#http = http;
    this.#most = most;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const end = offset + length;
    if (end > this.#most) {
      const problem = `the server does not support Range requests, and byte ${end} is too far into the file to read`;
      throw new Lfm2Error('wrong_content', `${this.#url}: ${problem}`);
    }
    const come = this.#last.then(() => patiently(this.#http, () => this.#readTo(end)));
    this.#last = come.catch(() => undefined);
    await come;
    return this.#have.slice(offset, end);
  }

  /** Cancels the rest. */
  async close(): Promise<void> {
    await this.#body?.cancel();
    this.#body = undefined;
  }

  async #readTo(end: number): Promise<void> {
    while (this.#length < end) {
      checkAborted(this.#http.signal);
      try {
        this.#body ??= await openBody(this.#url, this.#size, this.#http);
        const { at, bytes } = await this.#body.next();
        // After a failure the file starts from its beginning again.
        this.#keep(at, bytes);
      } catch (thrown) {
        await this.close();
        throw thrown;
      }
    }
  }

  #keep(at: number, bytes: Uint8Array): void {
    const end = Math.min(at + bytes.length, this.#most);
    if (end <= this.#length) return;
    if (end > this.#have.length) {
      const grown = new Uint8Array(Math.min(this.#most, Math.max(end, 2 * this.#have.length)));
      grown.set(this.#have.subarray(0, this.#length));
      this.#have = grown;
    }
    this.#have.set(bytes.subarray(0, end - at), at);
    this.#length = end;
  }
}
