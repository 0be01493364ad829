import type { ChatCompletions, FinishReason, Timings, Usage } from './types.js';
/** What an answer ends with. */
export interface Summary {
    /** null: it was stopped before its end. */
    finish_reason: FinishReason | null;
    usage: Usage;
    timings: Timings;
}
/** What answers requests: the engine in this thread, or a worker. */
export interface Answerer {
    /** Throws what is wrong with a request. */
    check(request: string): Promise<void>;
    /** Calls `onText` after each step; it says whether to go on. */
    answer(request: string, onText: (text: string) => Promise<boolean>): Promise<Summary>;
}
/** The part of an engine that people call. */
export declare class Completions {
    #private;
    constructor(answerer: Answerer, model: string);
    readonly create: ChatCompletions['create'];
    /** Stops everything; gives when nothing runs any more. */
    dispose(): Promise<void>;
}
