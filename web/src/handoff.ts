/** One value at a time from a producer to a consumer; each waits for the other. */
export class Handoff<T> {
  #value: { value: T } | undefined;
  #failure: { error: unknown } | undefined;
  #closed = false;
  /** Wakes whichever side waits. */
  #wake: (() => void) | undefined;

  /** Waits until the value has been taken; false if nobody will take more. */
  async put(value: T): Promise<boolean> {
    if (this.#closed) return false;
    this.#value = { value };
    this.#signal();
    while (this.#value !== undefined && !this.#closed) await this.#wait();
    return !this.#closed;
  }

  /** The next value; undefined after the last one. Throws what the producer failed with. */
  async take(): Promise<T | undefined> {
    while (this.#value === undefined && !this.#closed) await this.#wait();
    const taken = this.#value;
    this.#value = undefined;
    this.#signal();
    if (taken !== undefined) return taken.value;
    if (this.#failure !== undefined) throw this.#failure.error;
    return undefined;
  }

  /** Ends it, for either side; a value that was put and not taken can still be taken. */
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
