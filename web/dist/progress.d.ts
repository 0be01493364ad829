import type { Progress } from './types.js';
type Phase = Progress['phase'];
/** Tells the caller how far loading is. */
export declare class Reporter {
    #private;
    constructor(tell: ((progress: Progress) => void) | undefined);
    /** Counts phases that do not happen as done. */
    skip(...phases: Phase[]): void;
    report(progress: Omit<Progress, 'fraction'>): void;
}
export {};
