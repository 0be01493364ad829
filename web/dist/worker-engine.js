import { Completions } from './chat.js';
import { Lfm2Error, aborted, checkAborted } from './errors.js';
import { asBlobs } from './loader/open.js';
import { absolute } from './loader/resolve.js';
/** As `createEngine`, in a worker of its own: the page never waits for it. */
export async function createWorkerEngine(options) {
    const { signal, onProgress, ...rest } = options;
    checkAborted(signal);
    const remote = new Remote(onProgress);
    const stop = () => remote.abort();
    signal?.addEventListener('abort', stop);
    try {
        // The worker has an address of its own.
        const model = asBlobs(rest.model) ?? absolute(rest.model);
        return new WorkerEngine(remote, await remote.call('load', { ...rest, model }));
    }
    catch (thrown) {
        remote.end(thrown);
        throw signal?.aborted ? aborted(signal) : thrown;
    }
    finally {
        signal?.removeEventListener('abort', stop);
    }
}
/** Calls to the worker and their answers. */
class Remote {
    #worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
    #pending = new Map();
    #next = 0;
    /** Why nothing can be called any more. */
    #over;
    constructor(onProgress) {
        this.#worker.addEventListener('message', ({ data }) => {
            if (data.tell === 'progress') {
                onProgress?.(data.progress);
                return;
            }
            const pending = this.#pending.get(data.id);
            if (data.tell === 'text') {
                const goOn = pending?.onText?.(data.text) ?? Promise.resolve(false);
                void goOn.then((goOn) => this.#send({ call: 'taken', id: data.id, goOn }));
                return;
            }
            this.#pending.delete(data.id);
            if (data.tell === 'reply')
                pending?.resolve(data.result);
            else
                pending?.reject(new Lfm2Error(data.code, data.message));
        });
        this.#worker.addEventListener('error', (event) => {
            this.end(new Lfm2Error('internal', `the worker failed: ${event.message || 'it could not be started'}`));
        });
    }
    call(call, argument, onText) {
        return new Promise((resolve, reject) => {
            if (this.#over !== undefined)
                return reject(this.#over);
            const id = this.#next++;
            this.#pending.set(id, { resolve, reject, onText });
            this.#send({ call, id, argument });
        });
    }
    check(request) {
        return this.call('check', request);
    }
    answer(request, onText) {
        return this.call('answer', request, onText);
    }
    abort() {
        this.#send({ call: 'abort' });
    }
    /** Ends the worker; whatever waits fails with `reason`. */
    end(reason) {
        this.#over ??= reason;
        this.#worker.terminate();
        for (const pending of this.#pending.values())
            pending.reject(reason);
        this.#pending.clear();
    }
    #send(message) {
        this.#worker.postMessage(message);
    }
}
class WorkerEngine {
    info;
    chat;
    #remote;
    #disposal;
    constructor(remote, info) {
        this.#remote = remote;
        this.info = info;
        this.chat = { completions: new Completions(remote, info.model) };
    }
    counters() {
        return this.#remote.call('counters', undefined);
    }
    dispose() {
        this.#disposal ??= this.#dispose();
        return this.#disposal;
    }
    async #dispose() {
        await this.chat.completions.dispose();
        try {
            await this.#remote.call('dispose', undefined);
        }
        finally {
            this.#remote.end(new Lfm2Error('disposed', 'the engine has been disposed of'));
        }
    }
}
