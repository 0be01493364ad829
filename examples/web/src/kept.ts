import type { Said } from './conversation.js';

/** A stored conversation. */
export interface Kept {
  id: string;
  title: string;
  /** Milliseconds since 1970. */
  changed: number;
  said: Said[];
}

const NAME = 'lfm2-chat-page';
const STORE = 'conversations';

/** The conversations of this and earlier visits, in IndexedDB; without IndexedDB, only in this page. */
export class KeptConversations {
  readonly #database: Promise<IDBDatabase | undefined>;
  /** Conversations of a browser that stores nothing. */
  readonly #here = new Map<string, Kept>();

  constructor() {
    this.#database = open().catch(() => undefined);
  }

  /** Whether the next visit finds them. */
  get lasting(): Promise<boolean> {
    return this.#database.then((database) => database !== undefined);
  }

  /** All conversations, the last changed first. */
  async all(): Promise<Kept[]> {
    const all = (await this.#do('readonly', (store) => store.getAll() as IDBRequest<Kept[]>)) ?? [...this.#here.values()];
    return all.sort((a, b) => b.changed - a.changed);
  }

  async find(id: string): Promise<Kept | undefined> {
    return (await this.#do('readonly', (store) => store.get(id) as IDBRequest<Kept | undefined>)) ?? this.#here.get(id);
  }

  async keep(kept: Kept): Promise<void> {
    const done = await this.#do('readwrite', (store) => store.put(kept));
    // If the disk is full, only later visits lose the conversation.
    if (done === undefined) this.#here.set(kept.id, structuredClone(kept));
  }

  async remove(id: string): Promise<void> {
    this.#here.delete(id);
    await this.#do('readwrite', (store) => store.delete(id));
  }

  async #do<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
    const database = await this.#database;
    if (database === undefined) return undefined;
    return new Promise<T | undefined>((resolve) => {
      const transaction = database.transaction(STORE, mode);
      const request = work(transaction.objectStore(STORE));
      // Otherwise the transaction ends when the page hears of its request, and is lost if the page is closed before.
      transaction.commit();
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => resolve(undefined);
    });
  }
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: 'id' });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
