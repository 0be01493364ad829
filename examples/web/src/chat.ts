import type { Engine } from 'lfm2-wgpu';

import type { Choice } from './choice.js';
import { Conversation } from './conversation.js';
import type { Listener } from './conversation.js';
import { byId, make } from './dom.js';
import { bytes, count, parameters } from './format.js';
import { LoadingCard } from './loading.js';
import type { Remedy } from './problem.js';
import { asLfm2Error, notice } from './problem.js';
import type { SettingsDialog } from './settings.js';
import { ModelTurn, userTurn } from './turns.js';

const SUGGESTIONS = ['What is lfm2-wgpu?', 'What time is it in Rome?', 'What is 7 + 5?', 'ما اسمك؟'];
/** As near to the end, in pixels, the log stays there when something comes. */
const NEAR = 48;

/** The conversation on the page. */
export class Chat {
  readonly #section = byId('chat', HTMLElement);
  readonly #log = byId('log', HTMLElement);
  readonly #turns = byId('turns', HTMLElement);
  readonly #welcome = byId('welcome', HTMLElement);
  readonly #composer = byId('composer', HTMLFormElement);
  readonly #question = byId('question', HTMLTextAreaElement);
  readonly #send = byId('send', HTMLButtonElement);
  readonly #stop = byId('stop', HTMLButtonElement);
  readonly #status = byId('status', HTMLElement);
  readonly #clear = byId('new-conversation', HTMLButtonElement);
  readonly #conversation = new Conversation();
  readonly #settings: SettingsDialog;
  readonly #change: () => void;
  #engine: Engine | undefined;
  /** Stops what runs; absent if nothing does. */
  #running: { controller: AbortController; over: Promise<void> } | undefined;
  #problem: HTMLElement | undefined;
  #atEnd = true;

  /** `change` goes back to the choice of a model. */
  constructor(settings: SettingsDialog, change: () => void) {
    this.#settings = settings;
    this.#change = change;
    const ask = (text: string) => make('button', { type: 'button', class: 'button', dir: 'auto', click: () => this.#ask(text) }, text);
    byId('suggestions', HTMLElement).append(...SUGGESTIONS.map(ask));
    this.#composer.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#ask(this.#question.value);
    });
    this.#question.addEventListener('keydown', (event) => {
      // Enter also ends the choice of a character in many scripts.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#ask(this.#question.value);
    });
    this.#section.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape') this.#abort();
    });
    this.#stop.addEventListener('click', () => this.#abort());
    this.#clear.addEventListener('click', () => void this.#restart());
    let before = 0;
    this.#log.addEventListener('scroll', () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#log;
      // Away from the end by what has come since is not away by the visitor's will.
      if (scrollHeight - scrollTop - clientHeight < NEAR) this.#atEnd = true;
      else if (scrollTop < before) this.#atEnd = false;
      before = scrollTop;
    });
    new ResizeObserver(() => {
      if (this.#atEnd) this.#log.scrollTop = this.#log.scrollHeight;
    }).observe(this.#turns);
  }

  open(engine: Engine, { label, model }: Choice): void {
    this.#engine = engine;
    const { info } = engine;
    const about = [
      label,
      `${parameters(info.parameters)} parameters in ${info.weightFormat}`,
      `${count(info.contextLength)} tokens of context`,
      `${bytes(info.memory.total)} on ${info.gpu}`,
      ...(typeof model === 'string' ? [info.cached ? 'kept for the next visit' : 'not kept: the next visit downloads it anew'] : []),
    ];
    byId('welcome-note', HTMLElement).textContent = about.join(' · ');
    this.#section.hidden = false;
    this.#clear.hidden = false;
    void this.#restart();
  }

  async close(): Promise<void> {
    await this.#restart();
    this.#section.hidden = true;
    this.#clear.hidden = true;
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.dispose();
  }

  async #restart(): Promise<void> {
    this.#abort();
    await this.#running?.over;
    this.#conversation.clear();
    this.#turns.replaceChildren();
    this.#problem = undefined;
    this.#welcome.hidden = false;
    this.#atEnd = true;
    this.#status.textContent = 'A new conversation';
    this.#question.focus();
  }

  #ask(text: string): void {
    if (text.trim() === '' || this.#running !== undefined) return;
    this.#conversation.say(text);
    this.#welcome.hidden = true;
    this.#turns.append(userTurn(text));
    this.#question.value = '';
    this.#question.focus();
    this.#atEnd = true;
    this.#run((engine, signal) => this.#answer(engine, signal));
  }

  async #answer(engine: Engine, signal: AbortSignal): Promise<void> {
    let turn: ModelTurn | undefined;
    const listener: Listener = {
      begin: () => {
        turn = new ModelTurn();
        this.#turns.append(turn.element);
        this.#status.textContent = 'The model answers';
      },
      text: (text) => turn?.text(text),
      end: (answer) => {
        turn?.end(answer, engine.info.gpu);
        this.#status.textContent = answer.calls.length > 0 ? 'The model calls a tool' : answer.text;
      },
      result: (call, content) => turn?.result(call, content),
      tooManyRounds: () => turn?.note('It called tools again and again, and is not answered any more.'),
    };
    try {
      await this.#conversation.answer(engine, this.#settings.current(), signal, listener);
    } catch (thrown) {
      turn?.fail();
      throw thrown;
    }
  }

  /** Loads the model again on a new device, and goes on with what was not answered. */
  async #recover(engine: Engine, signal: AbortSignal): Promise<void> {
    const card = new LoadingCard(() => this.#abort());
    this.#turns.append(card.element);
    try {
      await engine.recover({ signal, onProgress: card.show.bind(card) });
    } finally {
      card.element.remove();
    }
    await this.#answer(engine, signal);
  }

  /** Does one thing after the other; what fails is told. */
  #run(work: (engine: Engine, signal: AbortSignal) => Promise<void>): void {
    const engine = this.#engine;
    if (engine === undefined || this.#running !== undefined) return;
    this.#problem?.remove();
    this.#problem = undefined;
    const controller = new AbortController();
    const over = work(engine, controller.signal)
      .catch((thrown: unknown) => this.#fail(thrown))
      .finally(() => {
        this.#running = undefined;
        this.#showRunning();
      });
    this.#running = { controller, over };
    this.#showRunning();
  }

  #fail(thrown: unknown): void {
    const error = asLfm2Error(thrown);
    const again: Remedy = { label: 'Try again', run: () => this.#run((engine, signal) => this.#answer(engine, signal)) };
    const recover: Remedy = { label: 'Load the model again and go on', run: () => this.#run((engine, signal) => this.#recover(engine, signal)) };
    const restart: Remedy = { label: 'New conversation', run: () => void this.#restart() };
    const change: Remedy = { label: 'Choose a model', run: this.#change };
    const remedies = (() => {
      switch (error.code) {
        case 'context_full':
          return [restart];
        case 'disposed':
        case 'internal':
          return [change];
        case 'invalid_request':
        case 'busy':
          return [again];
        default:
          return [recover, change];
      }
    })();
    this.#problem = notice(error, remedies);
    this.#turns.append(this.#problem);
  }

  #abort(): void {
    this.#running?.controller.abort();
  }

  #showRunning(): void {
    const running = this.#running !== undefined;
    this.#send.hidden = running;
    this.#stop.hidden = !running;
  }
}
