import type { Timings, ToolCall } from 'lfm2-wgpu';

import type { Answer } from './conversation.js';
import { make } from './dom.js';
import { count } from './format.js';
import { render } from './markdown.js';

/** How LFM2 writes calls of tools; the end is missing while it does. */
const WRITTEN_CALLS = /<\|tool_call_start\|>[\s\S]*?(?:<\|tool_call_end\|>|$)/g;

/** What the visitor said. */
export function userTurn(text: string): HTMLElement {
  return make('article', { class: 'turn user' }, make('h3', { class: 'unseen' }, 'You'), make('p', { dir: 'auto' }, text));
}

/** An answer of the model, from its beginning on. */
export class ModelTurn {
  readonly element: HTMLElement;
  readonly #body = make('div', { class: 'body', dir: 'auto' });
  readonly #foot = make('div', { class: 'foot' });
  /** The blocks of the calls, by the calls' ids. */
  readonly #calls = new Map<string, HTMLElement>();
  #text = '';
  #frame: number | undefined;

  constructor() {
    this.#body.append(make('p', { class: 'reading' }, 'Reading …'));
    const heading = make('h3', { class: 'unseen' }, 'The model');
    this.element = make('article', { class: 'turn model', 'aria-busy': 'true' }, heading, this.#body, this.#foot);
  }

  /** Shows the text so far, once a frame. */
  text(text: string): void {
    this.#text = text;
    this.#frame ??= requestAnimationFrame(() => this.#show());
  }

  end({ text, calls, finish, timings }: Answer, gpu: string): void {
    this.#text = text;
    this.settle();
    this.#show(calls.length > 0);
    for (const { id, function: called } of calls) {
      const block = make('div', { class: 'call' }, make('p', {}, 'Calls a tool'), code(`${called.name}(${called.arguments})`));
      this.#calls.set(id, block);
      this.#foot.append(block);
    }
    if (finish === 'abort') this.note(text === '' ? 'Stopped before an answer.' : 'Stopped.');
    if (finish === 'length') {
      this.note('Cut here: the answer reached the most tokens that are set, or the end of the context.');
    }
    if (timings !== undefined) this.#foot.append(statistics(timings, gpu));
    if (text !== '' && calls.length === 0) this.#foot.lastElementChild?.append(copyButton(text));
  }

  /** Nothing more comes; what there is stays. */
  settle(): void {
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#frame = undefined;
    if (this.#text === '') this.#body.replaceChildren();
    this.element.removeAttribute('aria-busy');
  }

  /** The answer failed: of one that had not begun nothing is left. */
  fail(): void {
    this.settle();
    if (this.#text === '') this.element.remove();
    else this.note('This answer is not whole.');
  }

  /** What the page answers to a call. */
  result({ id }: ToolCall, content: string): void {
    this.#calls.get(id)?.append(make('p', {}, 'The page answers'), code(content));
  }

  /** A remark below the answer. */
  note(text: string): void {
    this.#foot.append(make('p', { class: 'note' }, text));
  }

  #show(parsed = true): void {
    this.#frame = undefined;
    // Calls are shown below, as they were understood; what was not understood, as it was written.
    const said = parsed ? this.#text.replace(WRITTEN_CALLS, '') : this.#text;
    const calling = said.trim() === '' && said !== this.#text && this.element.ariaBusy === 'true';
    this.#body.replaceChildren(calling ? make('p', { class: 'reading' }, 'Calls a tool …') : render(said));
  }
}

function code(text: string): HTMLElement {
  return make('pre', { tabindex: '0', dir: 'ltr' }, make('code', {}, text));
}

function statistics(timings: Timings, gpu: string): HTMLElement {
  const { predicted_n, predicted_per_second, first_token_ms, prompt_n, cache_n } = timings;
  const told = [
    ...(predicted_n > 0 ? [`${predicted_per_second.toFixed(1)} tokens/s`, `first token ${(first_token_ms / 1000).toFixed(2)} s`] : []),
    `${count(predicted_n)} tokens`,
    `prompt ${count(prompt_n)}${cache_n > 0 ? ` + ${count(cache_n)} reused` : ''}`,
    gpu,
  ];
  return make('p', { class: 'stats' }, ...told.map((text) => make('span', {}, text)));
}

function copyButton(text: string): HTMLElement {
  const button = make('button', { type: 'button', class: 'copy' }, 'Copy');
  button.addEventListener('click', async () => {
    const done = await navigator.clipboard.writeText(text).then(() => 'Copied', () => 'Not allowed');
    button.textContent = done;
    setTimeout(() => (button.textContent = 'Copy'), 2000);
  });
  return button;
}
