import { deleteState, listStates } from 'lfm2-wgpu';
import type { ChatRequest, Engine } from 'lfm2-wgpu';

import type { States } from './chat.js';

/** Beginning of the names of this page's states, before a conversation's id. */
const PREFIX = 'chat-page/';
/** Conversations whose state is kept: those answered last. */
const MOST = 4;
/** Time after an answer until its conversation is saved, in which the next answer may begin. */
const DELAY_MS = 2000;

/**
 * The model's state of the newest conversations, in the browser's storage, so that the model need not read them again
 * after a reload. If the browser stores nothing, the model reads them again.
 */
export class KeptStates implements States {
  readonly #engine: Engine;
  /** The conversation to save next. */
  #due: { id: string; request: ChatRequest; timer: number } | undefined;
  /** Settles when nothing is being saved. */
  #saving: Promise<void> = Promise.resolve();
  readonly #onHide = () => {
    if (document.visibilityState === 'hidden') void this.#save();
  };

  constructor(engine: Engine) {
    this.#engine = engine;
    document.addEventListener('visibilitychange', this.#onHide);
  }

  /** Gives the engine the state of a conversation, if there is one. */
  async read(id: string): Promise<void> {
    // A state that the model cannot use, for example that of another model, is replaced after the next answer.
    await this.#engine.restore(PREFIX + id).catch(report);
  }

  /** Saves the state of an answered conversation soon. */
  answered(id: string, request: ChatRequest): void {
    if (this.#due !== undefined && this.#due.id !== id) void this.#save();
    clearTimeout(this.#due?.timer);
    this.#due = { id, request, timer: setTimeout(() => void this.#save(), DELAY_MS) };
  }

  /** Removes the state of a conversation. */
  async forget(id: string): Promise<void> {
    if (this.#due?.id === id) this.#take();
    await this.#saving;
    await deleteState(PREFIX + id);
  }

  /** Saves the last conversation, before the engine is disposed. */
  async close(): Promise<void> {
    document.removeEventListener('visibilitychange', this.#onHide);
    await this.#save();
  }

  #take(): { id: string; request: ChatRequest } | undefined {
    const due = this.#due;
    clearTimeout(due?.timer);
    this.#due = undefined;
    return due;
  }

  #save(): Promise<void> {
    const due = this.#take();
    if (due !== undefined) this.#saving = this.#saving.then(() => this.#write(due.request, due.id)).catch(report);
    return this.#saving;
  }

  async #write(request: ChatRequest, id: string): Promise<void> {
    await this.#engine.save(request, PREFIX + id);
    const own = (await listStates()).filter(({ name }) => name.startsWith(PREFIX));
    for (const { name } of own.slice(MOST)) await deleteState(name);
  }
}

function report(thrown: unknown): void {
  console.warn(thrown);
}
