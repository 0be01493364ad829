import { deleteModel, listModels } from 'lfm2-wgpu';

import { byId, make } from './dom.js';
import { bytes } from './format.js';
import { DEMO, labelOf } from './choice.js';

/** The list of the models in the cache, with buttons to use and delete them. */
export class CachedModels {
  readonly #section = byId('cached', HTMLElement);
  readonly #title = byId('cached-title', HTMLElement);
  readonly #list = byId('cached-models', HTMLElement);
  readonly #use: (model: string) => void;
  readonly #changed: () => void;
  readonly #failed: (thrown: unknown) => void;

  /** `use` is called for the model to load, `changed` after one was deleted. */
  constructor(use: (model: string) => void, changed: () => void, failed: (thrown: unknown) => void) {
    this.#use = use;
    this.#changed = changed;
    this.#failed = failed;
  }

  async refresh(): Promise<void> {
    const models = await listModels();
    this.#section.hidden = models.length === 0;
    this.#list.replaceChildren(
      ...models.map(({ model, bytes: size, complete }) => {
        const label = labelOf(model);
        const about = `${bytes(size)}${complete ? '' : ', incomplete'}${model === DEMO ? ', comes with this page' : ''}`;
        const use = () => this.#use(model);
        const remove = () => void this.#remove(model, label).catch(this.#failed);
        return make(
          'li',
          {},
          make('div', {}, make('strong', {}, label), make('small', {}, about)),
          make('button', { type: 'button', class: 'button', 'aria-label': `Use ${label}`, click: use }, 'Use'),
          make('button', { type: 'button', class: 'button', 'aria-label': `Delete ${label} from the cache`, click: remove }, 'Delete'),
        );
      }),
    );
  }

  async #remove(model: string, label: string): Promise<void> {
    if (!confirm(`Delete ${label} from this browser’s cache?`)) return;
    await deleteModel(model);
    await this.refresh();
    this.#title.focus();
    this.#changed();
  }
}
