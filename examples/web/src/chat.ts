import type { ChatRequest } from 'lfm2-wgpu';

import { Conversation } from './conversation.js';
import type { Listener, Model } from './conversation.js';
import type { ConversationsDialog } from './conversations.js';
import { byId, make } from './dom.js';
import type { Kept, KeptConversations } from './kept.js';
import { LoadingCard } from './loading.js';
import type { Remedy } from './problem.js';
import { asProblem, notice } from './problem.js';
import type { SettingsDialog } from './settings.js';
import { read, write } from './storage.js';
import { titleOf } from './transfer.js';
import { ModelTurn, userTurn } from './turns.js';

const SUGGESTIONS = ['What is lfm2-wgpu?', 'What time is it in Rome?', 'What is 7 + 5?', 'ما اسمك؟'];
/** The log follows new text if it is scrolled to within this many pixels of its end. */
const NEAR = 48;

/** The model's states of conversations, by their ids. */
export interface States {
  /** Gives the model the state of a conversation, if there is one. */
  read(id: string): Promise<void>;
  /** Saves the state of an answered conversation soon. */
  answered(id: string, request: ChatRequest): void;
  forget(id: string): Promise<void>;
  close(): Promise<void>;
}

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
  readonly #past = byId('open-conversations', HTMLButtonElement);
  readonly #settings: SettingsDialog;
  readonly #kept: KeptConversations;
  readonly #change: (() => void) | undefined;
  #conversation = new Conversation();
  /** Id of the stored conversation. */
  #id = '';
  /** Called with the id of the open conversation. */
  list: ConversationsDialog | undefined;
  #model: Model | undefined;
  #states: States | undefined;
  /** Settles when the engine has the open conversation's state, if that is kept. */
  #ready: Promise<void> | undefined;
  /** Stops the running work; absent if there is none. */
  #running: { controller: AbortController; over: Promise<void> } | undefined;
  #problem: HTMLElement | undefined;
  #atEnd = true;

  /** `change` returns to the choice of a model, if there is one. */
  constructor(settings: SettingsDialog, kept: KeptConversations, change?: () => void) {
    this.#settings = settings;
    this.#kept = kept;
    this.#change = change;
    const ask = (text: string) => make('button', { type: 'button', class: 'button', dir: 'auto', click: () => this.#ask(text) }, text);
    byId('suggestions', HTMLElement).append(...SUGGESTIONS.map(ask));
    this.#composer.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#ask(this.#question.value);
    });
    this.#question.addEventListener('keydown', (event) => {
      // In many scripts Enter also confirms a character of an input method.
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
      // New text moves the end away; only the visitor's own scrolling stops the log from following.
      if (scrollHeight - scrollTop - clientHeight < NEAR) this.#atEnd = true;
      else if (scrollTop < before) this.#atEnd = false;
      before = scrollTop;
    });
    new ResizeObserver(() => {
      if (this.#atEnd) this.#log.scrollTop = this.#log.scrollHeight;
    }).observe(this.#turns);
  }

  /** Chats with a model. `about` describes it. */
  open(model: Model, about: string[], states?: States): void {
    this.#model = model;
    this.#states = states;
    byId('welcome-note', HTMLElement).textContent = about.join(' · ');
    this.#settings.recommend(model.info.sampling);
    this.#section.hidden = false;
    this.#clear.hidden = false;
    this.#past.hidden = false;
    void this.#resume();
  }

  /** Opens the conversation that was open last. */
  async #resume(): Promise<void> {
    const kept = await this.#kept.find(read('conversation') ?? '');
    await (kept === undefined ? this.#restart() : this.show(kept));
  }

  async close(): Promise<void> {
    await this.#idle();
    this.#section.hidden = true;
    this.#clear.hidden = true;
    this.#past.hidden = true;
    this.#settings.recommend(undefined);
    const model = this.#model;
    this.#model = undefined;
    await this.#states?.close();
    await model?.dispose?.();
  }

  /** Opens a stored conversation. */
  async show({ id, title, said }: Kept): Promise<void> {
    await this.#begin(id, new Conversation(structuredClone(said)), title);
    this.#ready = this.#states?.read(id);
    if (!this.#conversation.waits) return;
    const answer = make('button', { type: 'button', class: 'button', click: () => this.#run((model, signal) => this.#answer(model, signal)) }, 'Answer it');
    this.#tell(make('div', { class: 'problem calm' }, make('p', {}, 'The last question has no answer yet.'), make('div', { class: 'row' }, answer)));
  }

  /** Leaves a conversation that is about to be deleted. */
  async leave(id: string): Promise<void> {
    if (id === this.#id) await this.#restart();
    await this.#states?.forget(id);
  }

  async #restart(): Promise<void> {
    await this.#begin(crypto.randomUUID(), new Conversation(), 'A new conversation');
  }

  async #begin(id: string, conversation: Conversation, told: string): Promise<void> {
    await this.#idle();
    this.#id = id;
    write('conversation', id);
    if (this.list) this.list.current = id;
    this.#conversation = conversation;
    this.#ready = undefined;
    this.#draw();
    this.#status.textContent = told;
    this.#question.focus();
  }

  /** Stops the running work. */
  async #idle(): Promise<void> {
    this.#abort();
    await this.#running?.over;
  }

  /** Shows the whole conversation. */
  #draw(): void {
    this.#turns.replaceChildren();
    this.#problem = undefined;
    this.#atEnd = true;
    let turn: ModelTurn | undefined;
    for (const [n, one] of this.#conversation.said.entries()) {
      if (one.role === 'user') this.#turns.append(this.#userTurn(n, one.content));
      else if (one.role === 'tool') turn?.result(one.id, one.content);
      else {
        turn = this.#modelTurn();
        turn.end(one);
      }
    }
    this.#welcome.hidden = this.#conversation.said.length > 0;
  }

  #userTurn(n: number, text: string): HTMLElement {
    return userTurn(text, (changed) => void this.#edit(n, changed));
  }

  #modelTurn(): ModelTurn {
    const turn = new ModelTurn(() => void this.#again());
    this.#turns.append(turn.element);
    return turn;
  }

  #ask(text: string): void {
    if (text.trim() === '' || this.#running !== undefined || this.#model === undefined) return;
    const unanswered = this.#conversation.waits;
    this.#conversation.say(text);
    if (unanswered) this.#draw();
    else this.#turns.append(this.#userTurn(this.#conversation.said.length - 1, text));
    this.#welcome.hidden = true;
    this.#question.value = '';
    this.#question.focus();
    this.#atEnd = true;
    this.#run((model, signal) => this.#answer(model, signal));
  }

  /** Asks another question in place of the `n`-th message. */
  async #edit(n: number, text: string): Promise<void> {
    await this.#idle();
    this.#conversation.cut(n);
    this.#draw();
    const draft = this.#question.value;
    this.#ask(text);
    this.#question.value = draft;
  }

  /** Generates the last answer again. */
  async #again(): Promise<void> {
    await this.#idle();
    this.#conversation.takeBackAnswer();
    this.#draw();
    this.#question.focus();
    this.#run((model, signal) => this.#answer(model, signal));
  }

  #keep(): void {
    const { said } = this.#conversation;
    if (said.length === 0) return;
    void this.#kept.keep({ id: this.#id, title: titleOf(said), changed: Date.now(), said });
  }

  async #answer(model: Model, signal: AbortSignal): Promise<void> {
    let turn: ModelTurn | undefined;
    const listener: Listener = {
      begin: () => {
        turn = this.#modelTurn();
        this.#status.textContent = 'The model answers';
      },
      text: (text, reasoning) => turn?.text(text, reasoning),
      end: (answer) => {
        turn?.end(answer);
        this.#status.textContent = answer.calls.length > 0 ? 'The model calls a tool' : answer.content;
      },
      result: (id, content) => turn?.result(id, content),
      tooManyRounds: () => turn?.note('The model called tools too often. The page answers no more of its calls.'),
    };
    const settings = this.#settings.current();
    await this.#ready;
    try {
      await this.#conversation.answer(model, settings, signal, listener);
      this.#states?.answered(this.#id, this.#conversation.request(settings));
    } catch (thrown) {
      turn?.fail();
      throw thrown;
    }
  }

  /** Loads the model again on a new device, and answers the open question. */
  async #recover(model: Model, signal: AbortSignal): Promise<void> {
    const card = new LoadingCard(() => this.#abort());
    this.#turns.append(card.element);
    try {
      await model.recover?.({ signal, onProgress: card.show.bind(card) });
    } finally {
      card.element.remove();
    }
    this.#ready = this.#states?.read(this.#id);
    await this.#answer(model, signal);
  }

  /** Runs one piece of work at a time, and shows its failure. */
  #run(work: (model: Model, signal: AbortSignal) => Promise<void>): void {
    const model = this.#model;
    if (model === undefined || this.#running !== undefined) return;
    this.#problem?.remove();
    this.#problem = undefined;
    const controller = new AbortController();
    // The question is stored before the answer, in case the page is closed.
    this.#keep();
    const over = work(model, controller.signal)
      .catch((thrown: unknown) => this.#fail(thrown))
      .finally(() => {
        this.#running = undefined;
        this.#keep();
        this.#showRunning();
      });
    this.#running = { controller, over };
    this.#showRunning();
  }

  #fail(thrown: unknown): void {
    const error = asProblem(thrown);
    const again: Remedy = { label: 'Try again', run: () => this.#run((model, signal) => this.#answer(model, signal)) };
    const recover: Remedy = { label: 'Load the model again and continue', run: () => this.#run((model, signal) => this.#recover(model, signal)) };
    const restart: Remedy = { label: 'New conversation', run: () => void this.#restart() };
    const change: Remedy[] = this.#change === undefined ? [] : [{ label: 'Choose a model', run: this.#change }];
    const remedies = (() => {
      switch (error.code) {
        case 'context_full':
          return [restart];
        case 'invalid_request':
          return [again];
        case 'disposed':
        case 'internal':
          return change;
        default:
          // A server recovers by itself.
          return this.#model?.recover === undefined ? [again] : [recover, ...change];
      }
    })();
    this.#tell(notice(error, remedies));
  }

  /** Shows a notice until the next action. */
  #tell(problem: HTMLElement): void {
    this.#problem = problem;
    this.#turns.append(problem);
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
