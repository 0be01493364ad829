import { byId, make } from './dom.js';
import { bytes } from './format.js';
import type { Machine } from './models.js';
import { PROPOSED, bestFor } from './models.js';

/** URL of the demonstration model, beside the page. */
export const DEMO = new URL('demo/', document.baseURI).href;

export type Source = 'demo' | 'remote' | 'files';

/** A model that the visitor has chosen. */
export interface Choice {
  model: string | File[];
  label: string;
  contextLength: number | undefined;
}

/** A model's name to show. */
export function labelOf(model: string | File[]): string {
  if (typeof model !== 'string') return model.length > 1 ? `${model[0]?.name} and ${model.length - 1} more` : (model[0]?.name ?? '');
  return model === DEMO ? 'LFM2 demonstration model' : model;
}

/** The form in which a model is chosen. */
export class ChoiceForm {
  readonly form = byId('choice', HTMLFormElement);
  readonly #remote = byId('remote', HTMLInputElement);
  readonly #picker = byId('files', HTMLInputElement);
  readonly #contextLength = byId('context-length', HTMLInputElement);
  readonly #drop = byId('drop', HTMLElement);
  readonly #propose: (model: string) => void;
  #files: File[] = [];

  /** `propose` is called with a model of the list; `changed` is called when the choice has changed. */
  constructor(changed: () => void, propose: (model: string) => void) {
    this.#propose = propose;
    this.form.addEventListener('input', ({ target }) => {
      if (target === this.#picker) this.#files = [...(this.#picker.files ?? [])];
      this.#show();
      changed();
    });
    const dropped = async (transfer: DataTransfer) => {
      const files = await filesOf(transfer);
      if (files.length === 0) return;
      this.#files = files;
      this.source = 'files';
      changed();
    };
    addEventListener('dragover', (event) => {
      event.preventDefault();
      const useful = this.#active && event.dataTransfer?.types.includes('Files') === true;
      if (event.dataTransfer) event.dataTransfer.dropEffect = useful ? 'copy' : 'none';
      document.body.classList.toggle('dropping', useful);
    });
    addEventListener('dragleave', ({ relatedTarget }) => {
      if (relatedTarget === null) document.body.classList.remove('dropping');
    });
    addEventListener('drop', (event) => {
      // Otherwise the browser would open the file in place of the page.
      event.preventDefault();
      document.body.classList.remove('dropping');
      if (this.#active && event.dataTransfer) void dropped(event.dataTransfer);
    });
    this.#show();
  }

  get source(): Source {
    return new FormData(this.form).get('source') as Source;
  }

  set source(source: Source) {
    for (const radio of this.form.querySelectorAll<HTMLInputElement>('input[name=source]')) {
      radio.checked = radio.value === source;
    }
    this.#show();
  }

  /** Chooses a model by its name or URL. */
  choose(model: string): void {
    if (model !== DEMO) this.#remote.value = model;
    this.source = model === DEMO ? 'demo' : 'remote';
  }

  /** Lists the page's models, and marks the one that suits this machine. */
  propose(machine: Machine): void {
    const best = bestFor(machine);
    byId('proposed', HTMLElement).replaceChildren(
      ...PROPOSED.map((proposed) => {
        const { model, name, size, about } = proposed;
        const suits = proposed === best ? [make('span', { class: 'suits' }, 'Suits this machine')] : [];
        const kept = machine.storage !== undefined && machine.storage < size ? '. There is no space to keep it' : '';
        const check = () => this.#propose(model);
        return make(
          'li',
          {},
          make('div', {}, make('strong', {}, name, ' ', ...suits), make('small', {}, `${bytes(size)}. ${about}${kept}`)),
          make('button', { type: 'button', class: 'button', 'aria-label': `Check ${name}`, click: check }, 'Check'),
        );
      }),
    );
  }

  /** The chosen model, if there is one. */
  get choice(): Choice | undefined {
    const model = { demo: DEMO, remote: this.#remote.value.trim(), files: this.#files }[this.source];
    if (model.length === 0) return undefined;
    const length = this.#contextLength.valueAsNumber;
    return { model, label: labelOf(model), contextLength: Number.isNaN(length) ? undefined : length };
  }

  /** Whether files can be dropped; not while a model loads. */
  get #active(): boolean {
    return this.form.offsetParent !== null;
  }

  #show(): void {
    const { source } = this;
    byId('remote-fields', HTMLElement).hidden = source !== 'remote';
    byId('file-fields', HTMLElement).hidden = source !== 'files';
    this.#remote.required = source === 'remote';
    byId('check', HTMLButtonElement).hidden = source !== 'remote';
    this.#drop.classList.toggle('filled', this.#files.length > 0);
    byId('chosen-files', HTMLElement).replaceChildren(
      ...this.#files.map(({ name, size }) => make('li', {}, `${name} (${bytes(size)})`)),
    );
  }
}

/** The files that were dropped; of a folder those in it. */
async function filesOf(transfer: DataTransfer): Promise<File[]> {
  // All at once: the list is empty after the event.
  const items = [...transfer.items].map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const found = items.map(({ entry, file }) => (entry?.isDirectory ? filesIn(entry, true) : file ? [file] : []));
  return (await Promise.all(found)).flat();
}

async function filesIn(entry: FileSystemEntry, deep: boolean): Promise<File[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [file];
  }
  if (!deep) return [];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const inside: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    inside.push(...some);
  }
  return (await Promise.all(inside.map((entry) => filesIn(entry, false)))).flat();
}
