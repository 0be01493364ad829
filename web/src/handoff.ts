/** Passes values from a producer to a consumer. Each waits for the other, until the producer is told to run ahead. */
export class Handoff<T> {
  readonly #values: T[] = [];
  #failure: { error: unknown } | undefined;
  #closed = false;
  #ahead = false;
  /** Wakes the waiting side. */
  #wake: (() => void) | undefined;

  /** Waits until the value was taken. */
  async put(value: T): Promise<void> {
    if (this.#closed) return;
    this.#values.push(value);
    this.#signal();
    while (this.#values.length > 0 && !this.#closed && !this.#ahead) await this.#wait();
  }

  /** Returns the next value, or undefined after the last one. Throws the producer's error. */
  async take(): Promise<T | undefined> {
    while (this.#values.length === 0 && !this.#closed) await this.#wait();
    if (this.#values.length > 0) {
      const value = this.#values.shift();
      this.#signal();
      return value;
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    return undefined;
  }

  /** The producer no longer waits for the consumer, which still gets all values. */
  runAhead(): void {
    this.#ahead = true;
    this.#signal();
  }

  /** Closes it, from either side. Values that were put can still be taken. */
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
