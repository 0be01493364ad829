/** Passes one value at a time from a producer to a consumer; each waits for the other. */
export class Handoff<T> {
  #value: { value: T } | undefined;
  #failure: { error: unknown } | undefined;
  #closed = false;
  /** Wakes the waiting side. */
  #wake: (() => void) | undefined;

  /** Waits until the value was taken; false if the consumer has closed. */
  async put(value: T): Promise<boolean> {
    if (this.#closed) return false;
    this.#value = { value };
    this.#signal();
    while (this.#value !== undefined && !this.#closed) await this.#wait();
    return !this.#closed;
  }

  /** Returns the next value, or undefined after the last one. Throws the producer's error. */
  async take(): Promise<T | undefined> {
    while (this.#value === undefined && !this.#closed) await this.#wait();
    const taken = this.#value;
    this.#value = undefined;
    this.#signal();
    if (taken !== undefined) return taken.value;
    if (this.#failure !== undefined) throw this.#failure.error;
    return undefined;
  }

  /** Closes it, from either side. A value that was put can still be taken. */
  close(): void {
    this.#closed = true;
    this.#signal();
  }

  fail(error: unknown): void {
    this.#failure = { error };
    this.close();
  }

  #signal(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}
