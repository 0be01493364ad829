import type { Progress } from 'lfm2-wgpu';

import { make } from './dom.js';
import { bytes, duration } from './format.js';

const PHASES: Record<Progress['phase'], string> = {
  download: 'Downloading',
  verify: 'Checking the download',
  upload: 'Copying to the GPU',
  compile: 'Compiling the GPU programs',
  warmup: 'Warming up',
  ready: 'Ready',
};
/** Seconds over which the rate is measured. */
const WINDOW_MS = 8000;

/** Shows the progress of loading, with a button that cancels it. */
export class LoadingCard {
  readonly element: HTMLElement;
  readonly title = make('h3', { id: 'loading-title', tabindex: '-1' }, 'Loading');
  readonly #bar = make('progress', { max: '1', value: '0', 'aria-labelledby': 'loading-title' });
  readonly #phase = make('span', { role: 'status' }, 'Starting');
  readonly #detail = make('span', { class: 'detail' });
  /** Bytes by time, within one phase. */
  #samples: { at: number; loaded: number }[] = [];
  #current: Progress['phase'] | undefined;
  #downloading = false;
  /** The last report of a phase that runs beside the download. */
  #beside: Progress | undefined;

  constructor(onCancel: () => void) {
    const cancel = make('button', { type: 'button', class: 'button', click: onCancel }, 'Cancel');
    const steps = make('p', { class: 'steps' }, this.#phase, ' ', this.#detail);
    this.element = make('section', { class: 'card loading', 'aria-labelledby': 'loading-title' }, this.title, this.#bar, steps, cancel);
  }

  show(progress: Progress): void {
    this.#bar.value = progress.fraction;
    if (progress.phase === 'download') this.#downloading = progress.loaded < progress.total;
    else this.#beside = progress;
    // Downloaded bytes go to the GPU at the same time, but the visitor waits for the download.
    if (!this.#downloading) this.#tell(this.#beside ?? progress);
    else if (progress.phase === 'download') this.#tell(progress);
  }

  #tell({ phase, loaded, total, fromCache }: Progress): void {
    if (phase !== this.#current) {
      this.#current = phase;
      this.#samples = [];
      this.#phase.textContent = `${PHASES[phase]}${fromCache && phase === 'upload' ? ', from the cache' : ''}`;
    }
    // The GPU compiles before it takes any bytes.
    if (phase === 'download' && !this.#downloading) this.#phase.textContent = 'Downloaded';
    const told = phase === 'compile' ? `${loaded} of ${total}` : this.#sizes(loaded, total);
    this.#detail.textContent = total > 0 && phase !== 'ready' ? told : '';
  }

  #sizes(loaded: number, total: number): string {
    const now = performance.now();
    this.#samples.push({ at: now, loaded });
    while ((this.#samples[0]?.at ?? now) < now - WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0];
    const seconds = (now - (first?.at ?? now)) / 1000;
    const rate = seconds > 0.5 ? (loaded - (first?.loaded ?? 0)) / seconds : 0;
    const left = rate > 0 && loaded < total ? ` · ${bytes(rate)}/s · ${duration((total - loaded) / rate)} left` : '';
    return `${bytes(loaded)} of ${bytes(total)}${left}`;
  }
}
