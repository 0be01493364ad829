import type { Engine } from 'lfm2-wgpu';
import { createWorkerEngine, preflight } from 'lfm2-wgpu';

import { CachedModels } from './cached.js';
import type { Choice } from './choice.js';
import { ChoiceForm, labelOf } from './choice.js';
import { byId } from './dom.js';
import { LoadingCard } from './loading.js';
import { thisMachine } from './models.js';
import type { Remedy } from './problem.js';
import { asProblem, notice } from './problem.js';
import { showReport } from './report.js';
import { read, write } from './storage.js';

/** Lets the visitor choose a model, shows its size and memory, and loads it. */
export class Setup {
  readonly #section = byId('setup', HTMLElement);
  readonly #report = byId('report', HTMLElement);
  readonly #problems = byId('setup-problems', HTMLElement);
  readonly #form = new ChoiceForm(() => this.#changed(), (model) => this.#use(model));
  readonly #cached = new CachedModels((model) => this.#use(model), () => this.#changed(), (thrown) => this.#tell(thrown));
  readonly #loaded: (engine: Engine, choice: Choice) => void;
  /** Stops the running check or load. */
  #stop = new AbortController();
  /** The model in the report. */
  #checked: Choice | undefined;

  constructor(loaded: (engine: Engine, choice: Choice) => void) {
    this.#loaded = loaded;
    this.#form.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#problems.replaceChildren();
      void this.#check(true);
    });
    byId('load', HTMLButtonElement).addEventListener('click', () => {
      if (this.#checked !== undefined) void this.#load(this.#checked);
    });
    this.#form.propose(thisMachine(undefined, undefined));
  }

  /** Loads the model of the last visit again, if it was loaded then and is completely cached; otherwise shows the choice. */
  async resume(): Promise<void> {
    const choice = lastChoice();
    // A load that fails or is cancelled is not repeated automatically.
    write('model', '');
    if (choice === undefined) return this.show();
    const { signal } = (this.#stop = new AbortController());
    this.#busy('Checking the model of the last visit …');
    const { bytes } = (await preflight({ ...ofChoice(choice), signal }).catch(() => undefined)) ?? {};
    // The visitor need not wait for this.
    if (signal.aborted) return this.#refresh();
    this.#busy('');
    if (bytes === undefined || bytes.cached < bytes.total) return this.show();
    this.#form.choose(choice.model);
    this.#section.hidden = false;
    await this.#load(choice);
  }

  /** Returns to the choice, and shows `problem`. */
  show(problem?: unknown): void {
    this.#section.hidden = false;
    this.#changed();
    this.#refresh();
    if (problem !== undefined) this.#tell(problem);
  }

  #refresh(): void {
    this.#cached.refresh().catch((thrown: unknown) => this.#tell(thrown));
  }

  #changed(): void {
    this.#stop.abort();
    this.#busy('');
    this.#report.hidden = true;
    this.#problems.replaceChildren();
    // Models that need no download are checked at once.
    const { source } = this.#form;
    if (source === 'demo' || (source === 'files' && this.#form.choice !== undefined)) void this.#check(false);
  }

  #use(model: string): void {
    this.#form.choose(model);
    this.#report.hidden = true;
    this.#problems.replaceChildren();
    void this.#check(true);
  }

  async #check(focus: boolean): Promise<void> {
    this.#stop.abort();
    const { signal } = (this.#stop = new AbortController());
    const { choice } = this.#form;
    if (choice === undefined) return;
    this.#busy('Checking the model …');
    try {
      const told = await preflight({ ...ofChoice(choice), signal });
      if (signal.aborted) return;
      showReport(told, (model) => this.#use(model));
      this.#form.propose(thisMachine(told.gpu, told.storage));
      this.#checked = choice;
      this.#report.hidden = false;
      if (focus) byId('report-title', HTMLElement).focus();
    } catch (thrown) {
      const again: Remedy = { label: 'Check again', run: () => this.#form.form.requestSubmit() };
      if (!signal.aborted) this.#tell(thrown, [again]);
    } finally {
      if (!signal.aborted) this.#busy('');
    }
  }

  /** Shows the work that the visitor waits for; empty if there is none. */
  #busy(hint: string): void {
    this.#form.form.ariaBusy = hint === '' ? null : 'true';
    byId('setup-hint', HTMLElement).textContent = hint;
  }

  async #load(choice: Choice): Promise<void> {
    this.#stop.abort();
    const controller = (this.#stop = new AbortController());
    const card = new LoadingCard(() => controller.abort());
    this.#problems.replaceChildren();
    this.#section.classList.add('busy');
    this.#report.before(card.element);
    card.title.focus();
    try {
      const onProgress = card.show.bind(card);
      const engine = await createWorkerEngine({ ...ofChoice(choice), signal: controller.signal, onProgress });
      this.#section.hidden = true;
      keepChoice(choice);
      this.#loaded(engine, choice);
    } catch (thrown) {
      this.#tell(thrown);
      void this.#check(false);
      this.#refresh();
    } finally {
      card.element.remove();
      this.#section.classList.remove('busy');
    }
  }

  #tell(thrown: unknown, remedies: Remedy[] = []): void {
    this.#problems.replaceChildren(notice(asProblem(thrown), remedies));
  }
}

/** Whether the page can open the model again by itself, which it cannot for files from the visitor's disk. */
function keepChoice({ model, contextLength }: Choice): void {
  if (typeof model !== 'string') return;
  write('model', JSON.stringify({ model, contextLength }));
}

function lastChoice(): (Choice & { model: string }) | undefined {
  try {
    const { model, contextLength } = JSON.parse(read('model') || '{}') as { model?: unknown; contextLength?: unknown };
    if (typeof model !== 'string') return undefined;
    return { model, label: labelOf(model), contextLength: typeof contextLength === 'number' ? contextLength : undefined };
  } catch {
    return undefined;
  }
}

function ofChoice({ model, contextLength }: Choice): { model: string | File[]; contextLength?: number } {
  return { model, ...(contextLength === undefined ? {} : { contextLength }) };
}
