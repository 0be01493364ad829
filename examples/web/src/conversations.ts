import { byId, make } from './dom.js';
import type { Kept, KeptConversations } from './kept.js';
import { fromJson, titleOf, toJson, toMarkdown } from './transfer.js';

const WHEN = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

/** The dialog in which a conversation is opened, exported, imported and deleted. */
export class ConversationsDialog {
  readonly #dialog = byId('conversations', HTMLDialogElement);
  readonly #list = byId('kept-conversations', HTMLElement);
  readonly #note = byId('conversations-note', HTMLElement);
  readonly #picker = byId('import', HTMLInputElement);
  readonly #kept: KeptConversations;
  readonly #open: (kept: Kept) => void;
  readonly #leave: (id: string) => Promise<void>;
  /** Id of the open conversation. */
  current = '';

  /** `open` is called with the conversation to open, `leave` before one is deleted. */
  constructor(kept: KeptConversations, open: (kept: Kept) => void, leave: (id: string) => Promise<void>) {
    this.#kept = kept;
    this.#open = open;
    this.#leave = leave;
    byId('open-conversations', HTMLButtonElement).addEventListener('click', () => void this.#show());
    this.#picker.addEventListener('change', () => void this.#import());
    this.#dialog.addEventListener('click', ({ target }) => {
      if (target === this.#dialog) this.#dialog.close();
    });
  }

  async #show(): Promise<void> {
    this.#note.textContent = (await this.#kept.lasting) ? '' : 'This browser stores nothing: conversations are lost when you close this page.';
    await this.#refresh();
    this.#dialog.showModal();
  }

  async #refresh(): Promise<void> {
    const all = await this.#kept.all();
    this.#list.replaceChildren(...all.map((kept) => this.#item(kept)));
    byId('no-conversations', HTMLElement).hidden = all.length > 0;
  }

  #item(kept: Kept): HTMLElement {
    const { id, title, changed, said } = kept;
    const questions = said.filter(({ role }) => role === 'user').length;
    const about = `${WHEN.format(changed)}, ${questions === 1 ? '1 question' : `${questions} questions`}`;
    const choose = () => {
      this.#dialog.close();
      this.#open(kept);
    };
    const action = (label: string, what: string, click: () => void) =>
      make('button', { type: 'button', class: 'button small', 'aria-label': `${what} ${title}`, click }, label);
    const name = make('button', { type: 'button', class: 'opens', dir: 'auto', click: choose }, title);
    if (id === this.current) name.setAttribute('aria-current', 'true');
    return make(
      'li',
      {},
      make('div', {}, name, make('small', {}, about)),
      make(
        'div',
        { class: 'row' },
        action('JSON', 'Export as JSON:', () => save(`${title}.json`, 'application/json', toJson(said))),
        action('Markdown', 'Export as Markdown:', () => save(`${title}.md`, 'text/markdown', toMarkdown(title, said))),
        action('Delete', 'Delete', () => void this.#remove(kept)),
      ),
    );
  }

  async #remove({ id, title }: Kept): Promise<void> {
    if (!confirm(`Delete “${title}”?`)) return;
    // A running answer would store the conversation again when it ends.
    await this.#leave(id);
    await this.#kept.remove(id);
    await this.#refresh();
    byId('conversations-title', HTMLElement).focus();
  }

  async #import(): Promise<void> {
    const files = [...(this.#picker.files ?? [])];
    this.#picker.value = '';
    const told: string[] = [];
    for (const file of files) {
      try {
        const said = fromJson(await file.text());
        const title = titleOf(said);
        await this.#kept.keep({ id: crypto.randomUUID(), title, changed: Date.now(), said });
        told.push(`“${title}” was imported.`);
      } catch (thrown) {
        told.push(`${file.name} is not a conversation: ${(thrown as Error).message}.`);
      }
    }
    await this.#refresh();
    this.#note.textContent = told.join(' ');
  }
}

/** Lets the visitor save a file. */
function save(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  // Characters that file systems reserve are replaced.
  make('a', { href: url, download: name.replace(/[\\/:*?"<>|\p{Cc}]+/gu, '-') }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
