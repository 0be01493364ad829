import type { Progress } from './types.js';

type Phase = Progress['phase'];

/** Each phase's share of the whole. */
const SHARES: Record<Phase, number> = {
  download: 12,
  verify: 1,
  upload: 4,
  compile: 1,
  warmup: 1,
  ready: 0,
};

/** Reports the progress of loading to the caller. */
export class Reporter {
  readonly #tell: ((progress: Progress) => void) | undefined;
  readonly #done = new Map<Phase, number>();
  #fraction = 0;

  constructor(tell: ((progress: Progress) => void) | undefined) {
    this.#tell = tell;
  }

  /** Counts phases as done that do not happen. */
  skip(...phases: Phase[]): void {
    for (const phase of phases) this.#done.set(phase, 1);
  }

  report(progress: Omit<Progress, 'fraction'>): void {
    const { phase, loaded, total } = progress;
    if (phase === 'ready') this.skip(...(Object.keys(SHARES) as Phase[]));
    this.#done.set(phase, total > 0 ? Math.min(loaded / total, 1) : 0);
    let [done, all] = [0, 0];
    for (const [phase, share] of Object.entries(SHARES) as [Phase, number][]) {
      all += share;
      done += share * (this.#done.get(phase) ?? 0);
    }
    this.#fraction = Math.max(this.#fraction, phase === 'ready' ? 1 : done / all);
    this.#tell?.({ ...progress, fraction: this.#fraction });
  }
}
