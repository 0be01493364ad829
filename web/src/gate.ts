/** Lets pieces of work run together, and some of them alone. */
export class Gate {
  /** Settle with the work that runs together. */
  readonly #inside = new Set<Promise<unknown>>();
  /** Settles with the last work so far that runs alone. */
  #alone: Promise<unknown> = Promise.resolve();

  /** Runs work beside others; work that must run alone, and that came before, ends first. */
  together<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#alone.then(work);
    const settled = done.then(ignore, ignore).then(() => void this.#inside.delete(settled));
    this.#inside.add(settled);
    return done;
  }

  /** Runs work after all earlier work, and before all later work. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const done = Promise.all([this.#alone, ...this.#inside]).then(work);
    this.#alone = done.then(ignore, ignore);
    return done;
  }
}

function ignore(): void {}
