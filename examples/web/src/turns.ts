import type { Timings } from 'lfm2-wgpu';

import type { Answer } from './conversation.js';
import { make } from './dom.js';
import { count } from './format.js';
import { render } from './markdown.js';

/** LFM2's format of tool calls; the end is missing while it is being written. */
const WRITTEN_CALLS = /<\|tool_call_start\|>[\s\S]*?(?:<\|tool_call_end\|>|$)/g;

/** The visitor's message; `onEdit` gets the changed text. */
export function userTurn(text: string, onEdit: (text: string) => void): HTMLElement {
  const edit = make('button', { type: 'button', class: 'copy', click: () => change() }, 'Edit');
  const said = make('div', { class: 'said' }, make('p', { dir: 'auto' }, text));
  const foot = make('div', { class: 'actions-row' }, edit);
  const turn = make('article', { class: 'turn user' }, make('h3', { class: 'unseen' }, 'You'), said, foot);
  const change = () => {
    const back = () => {
      editor.replaceWith(said, foot);
      edit.focus();
    };
    const editor = editorOf(text, back, (changed) => (changed === text ? back() : onEdit(changed)));
    foot.remove();
    said.replaceWith(editor);
    editor.querySelector('textarea')?.focus();
  };
  return turn;
}

function editorOf(text: string, onCancel: () => void, onDone: (text: string) => void): HTMLElement {
  const area = make('textarea', { 'aria-label': 'Your message, changed', dir: 'auto', rows: '2' });
  area.value = text;
  const done = () => {
    if (area.value.trim() !== '') onDone(area.value);
  };
  area.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      // Escape closes the editor, and does not stop an answer.
      event.stopPropagation();
      onCancel();
    } else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      done();
    }
  });
  const cancel = make('button', { type: 'button', class: 'button', click: onCancel }, 'Cancel');
  const send = make('button', { type: 'button', class: 'button primary', click: done }, 'Ask again');
  const hint = make('p', { class: 'hint' }, 'The messages after it will be removed.');
  return make('div', { class: 'editor' }, area, hint, make('div', { class: 'row' }, cancel, send));
}

/** An answer of the model, shown from its first token on. */
export class ModelTurn {
  readonly element: HTMLElement;
  readonly #thoughts = make('div', { class: 'thoughts', dir: 'auto' });
  readonly #reasoning = make('details', { class: 'reasoning', hidden: true }, make('summary', {}, 'Reasoning'), this.#thoughts);
  readonly #body = make('div', { class: 'body', dir: 'auto' });
  readonly #foot = make('div', { class: 'foot' });
  readonly #again: () => void;
  /** The calls' elements by call id. */
  readonly #calls = new Map<string, HTMLElement>();
  #text = '';
  #thought = '';
  #frame: number | undefined;

  /** `again` generates the answer again. */
  constructor(again: () => void) {
    this.#again = again;
    this.#body.append(make('p', { class: 'reading' }, 'Reading …'));
    const heading = make('h3', { class: 'unseen' }, 'The model');
    this.element = make('article', { class: 'turn model', 'aria-busy': 'true' }, heading, this.#reasoning, this.#body, this.#foot);
  }

  /** Shows the text so far, once a frame. */
  text(text: string, reasoning: string): void {
    this.#text = text;
    this.#thought = reasoning;
    this.#frame ??= requestAnimationFrame(() => this.#show());
  }

  end({ content, reasoning, calls, about }: Answer): void {
    this.#text = content;
    this.#thought = reasoning;
    this.settle();
    this.#show(calls.length > 0);
    for (const { id, function: called } of calls) {
      const block = make('div', { class: 'call' }, make('p', {}, 'Calls a tool'), code(`${called.name}(${called.arguments})`));
      this.#calls.set(id, block);
      this.#foot.append(block);
    }
    if (about?.finish === 'abort') this.note(content === '' ? 'Stopped before an answer.' : 'Stopped.');
    if (about?.finish === 'length') {
      this.note('Cut off: the answer reached the maximum tokens in the settings, or the end of the context.');
    }
    const again = make('button', { type: 'button', class: 'copy again', click: this.#again }, 'Answer again');
    const buttons = calls.length > 0 ? [] : [...(content === '' ? [] : [copyButton(content)]), again];
    const told = about?.timings === undefined ? [] : [statistics(about.timings, about.gpu)];
    if (buttons.length + told.length > 0) this.#foot.append(make('div', { class: 'actions-row' }, ...buttons, ...told));
  }

  /** Ends the answer and keeps its text. */
  settle(): void {
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#frame = undefined;
    if (this.#text === '') this.#body.replaceChildren();
    this.element.removeAttribute('aria-busy');
  }

  /** The answer failed. It is removed if it had no text yet. */
  fail(): void {
    this.settle();
    if (this.#text === '') this.element.remove();
    else this.note('This answer is incomplete.');
  }

  /** Shows the page's result of a call. */
  result(id: string, content: string): void {
    this.#calls.get(id)?.append(make('p', {}, 'The page answers'), code(content));
  }

  /** A remark below the answer. */
  note(text: string): void {
    this.#foot.append(make('p', { class: 'note' }, text));
  }

  #show(parsed = true): void {
    this.#frame = undefined;
    if (this.#thought !== '') {
      this.#reasoning.hidden = false;
      this.#thoughts.replaceChildren(render(this.#thought));
    }
    // Parsed calls are shown below; malformed calls stay in the text.
    const said = parsed ? this.#text.replace(WRITTEN_CALLS, '') : this.#text;
    const busy = said.trim() === '' && this.element.ariaBusy === 'true';
    const waits = busy && said !== this.#text ? 'Calls a tool …' : busy && this.#thought !== '' ? 'Thinking …' : undefined;
    this.#body.replaceChildren(waits === undefined ? render(said) : make('p', { class: 'reading' }, waits));
  }
}

function code(text: string): HTMLElement {
  return make('pre', { tabindex: '0', dir: 'ltr' }, make('code', {}, text));
}

/** The speed, and the other statistics on demand. */
function statistics(timings: Timings, gpu: string): HTMLElement {
  const { predicted_n, predicted_per_second, first_token_ms, prompt_n, cache_n, seed } = timings;
  const speed = predicted_n > 0 ? `${predicted_per_second.toFixed(1)} tokens/s` : 'nothing computed';
  const told = [
    ...(predicted_n > 0 ? [`first token ${(first_token_ms / 1000).toFixed(2)} s`] : []),
    `${count(predicted_n)} tokens`,
    `prompt ${count(prompt_n)}${cache_n > 0 ? ` + ${count(cache_n)} reused` : ''}`,
    `seed ${seed}`,
    gpu,
  ];
  return make('details', { class: 'stats' }, make('summary', {}, speed), make('p', {}, told.join(' · ')));
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
