import type { ChatRequest, Sampling } from 'lfm2-wgpu';

import { byId, make } from './dom.js';
import { read, write } from './storage.js';
import { TOOLS } from './tools.js';

/** The numeric fields of a request, with the API's names. `unset` describes an empty field. */
const NUMBERS = [
  { name: 'temperature', label: 'Temperature', hint: '0 is greedy', unset: undefined, min: 0, max: 10, step: 'any' },
  { name: 'top_p', label: 'Top p', hint: '1 is off', unset: undefined, min: 0, max: 1, step: 'any' },
  { name: 'top_k', label: 'Top k', hint: '0 is off', unset: undefined, min: 0, max: 1_000_000, step: '1' },
  { name: 'min_p', label: 'Min p', hint: '0 is off', unset: undefined, min: 0, max: 1, step: 'any' },
  { name: 'repetition_penalty', label: 'Repetition', hint: 'penalty, 1 is off', unset: undefined, min: 0, max: 10, step: 'any' },
  { name: 'max_tokens', label: 'Maximum tokens', hint: 'of an answer', unset: 'no limit', min: 1, max: 1_000_000, step: '1' },
  { name: 'seed', label: 'Seed', hint: 'same seed, same answer', unset: 'random', min: 0, max: Number.MAX_SAFE_INTEGER, step: '1' },
] as const;

type Numbers = Partial<Record<(typeof NUMBERS)[number]['name'], number>>;

/** The visitor's settings. */
export interface Settings {
  system: string;
  tool: boolean;
  numbers: Numbers;
}

/** The part of a request that the settings decide. */
export function requestFields({ numbers, tool }: Settings): Partial<ChatRequest> {
  return { ...numbers, ...(tool ? { tools: TOOLS } : {}) };
}

/** The settings dialog; `current()` returns the settings. */
export class SettingsDialog {
  readonly #dialog = byId('settings', HTMLDialogElement);
  readonly #form = byId('settings-form', HTMLFormElement);
  readonly #system = byId('system', HTMLTextAreaElement);
  readonly #tool = byId('tool', HTMLInputElement);
  readonly #numbers = new Map<keyof Numbers, HTMLInputElement>();

  constructor() {
    const fields = NUMBERS.map(({ name, label, hint, unset, min, max, step }) => {
      const id = `set-${name}`;
      const attributes = { id, name, type: 'number', min: String(min), max: String(max), step, placeholder: unset ?? '' };
      const input = make('input', { ...attributes, 'aria-describedby': `${id}-hint` });
      this.#numbers.set(name, input);
      const note = make('small', { id: `${id}-hint` }, hint);
      return make('div', { class: 'field' }, make('label', { for: id }, label), input, note);
    });
    byId('sampling', HTMLElement).append(...fields);
    this.recommend(undefined);
    this.#fill(restore());
    this.#form.addEventListener('input', () => this.#keep());
    byId('reset-settings', HTMLButtonElement).addEventListener('click', () => {
      this.#fill({ system: '', tool: true, numbers: {} });
      this.#keep();
    });
    byId('open-settings', HTMLButtonElement).addEventListener('click', () => this.#dialog.showModal());
    // The dialog shows the values in use: an invalid number is dropped when it closes.
    this.#dialog.addEventListener('close', () => this.#fill(this.current()));
    // A click beside the dialog hits the dialog itself, a click inside hits the form. Invalid values keep it open.
    this.#dialog.addEventListener('click', ({ target }) => {
      if (target === this.#dialog) this.#form.requestSubmit();
    });
  }

  /** Shows the default values in empty fields: those recommended by the model's authors, if a model is loaded. */
  recommend(sampling: Sampling | undefined): void {
    for (const { name, unset } of NUMBERS) {
      const input = this.#numbers.get(name);
      if (unset === undefined && input) input.placeholder = String(sampling?.[name] ?? 'the model’s');
    }
  }

  current(): Settings {
    const numbers: Numbers = {};
    for (const [name, input] of this.#numbers) {
      if (input.value !== '' && input.validity.valid) numbers[name] = input.valueAsNumber;
    }
    return { system: this.#system.value, tool: this.#tool.checked, numbers };
  }

  #fill({ system, tool, numbers }: Settings): void {
    this.#system.value = system;
    this.#tool.checked = tool;
    for (const [name, input] of this.#numbers) input.value = numbers[name]?.toString() ?? '';
  }

  #keep(): void {
    write('settings', JSON.stringify(this.current()));
  }
}

/** The valid settings of the last visit. */
function restore(): Settings {
  const kept: { system?: unknown; tool?: unknown; numbers?: Record<string, unknown> } = (() => {
    try {
      return JSON.parse(read('settings') ?? '{}') ?? {};
    } catch {
      return {};
    }
  })();
  const numbers: Numbers = {};
  for (const { name } of NUMBERS) {
    const value = kept.numbers?.[name];
    if (typeof value === 'number') numbers[name] = value;
  }
  return { system: typeof kept.system === 'string' ? kept.system : '', tool: kept.tool !== false, numbers };
}
