import type { Progress } from 'lfm2-wgpu';

import { make } from './dom.js';
import { bytes, duration } from './format.js';

const PHASES: Record<Progress['phase'], string> = {
  download: 'Downloading',
  verify: 'Checking the download',
  upload: 'Copying to the GPU',
  compile: 'Preparing the GPU’s programs',
  warmup: 'Warming up',
  ready: 'Ready',
};
/** A rate is that of the last seconds. */
const WINDOW_MS = 8000;

/** Shows how far loading is, with a button that stops it. */
export class LoadingCard {
  readonly element: HTMLElement;
  readonly title = make('h3', { id: 'loading-title', tabindex: '-1' }, 'Loading');
  readonly #bar = make('progress', { max: '1', value: '0', 'aria-labelledby': 'loading-title' });
  readonly #phase = make('span', { role: 'status' }, 'Starting');
  readonly #detail = make('span', { class: 'detail' });
  /** Bytes that were there at a time, while one phase lasts. */
  #samples: { at: number; loaded: number }[] = [];
  #current: Progress['phase'] | undefined;
  #downloading = false;

  constructor(onCancel: () => void) {
    const cancel = make('button', { type: 'button', class: 'button', click: onCancel }, 'Cancel');
    const steps = make('p', { class: 'steps' }, this.#phase, ' ', this.#detail);
    this.element = make('section', { class: 'card loading', 'aria-labelledby': 'loading-title' }, this.title, this.#bar, steps, cancel);
  }

  show(progress: Progress): void {
    const { phase, loaded, total, fraction, fromCache } = progress;
    this.#bar.value = fraction;
    if (phase === 'download') this.#downloading = loaded < total;
    // What has come goes to the GPU at the same time; the visitor waits for the network.
    if (phase === 'upload' && this.#downloading) return;
    if (phase !== this.#current) {
      this.#current = phase;
      this.#samples = [];
      this.#phase.textContent = `${PHASES[phase]}${fromCache && phase === 'upload' ? ', from the cache' : ''}`;
    }
    this.#detail.textContent = total > 0 && phase !== 'ready' ? this.#sizes(loaded, total) : '';
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
