/** What part of the whole each phase is. */
const SHARES = {
    download: 12,
    verify: 1,
    upload: 4,
    compile: 1,
    warmup: 1,
    ready: 0,
};
/** Tells the caller how far loading is. */
export class Reporter {
    #tell;
    #done = new Map();
    #fraction = 0;
    constructor(tell) {
        this.#tell = tell;
    }
    /** Counts phases that do not happen as done. */
    skip(...phases) {
        for (const phase of phases)
            this.#done.set(phase, 1);
    }
    report(progress) {
        const { phase, loaded, total } = progress;
        if (phase === 'ready')
            this.skip(...Object.keys(SHARES));
        this.#done.set(phase, total > 0 ? Math.min(loaded / total, 1) : 0);
        let [done, all] = [0, 0];
        for (const [phase, share] of Object.entries(SHARES)) {
            all += share;
            done += share * (this.#done.get(phase) ?? 0);
        }
        this.#fraction = Math.max(this.#fraction, phase === 'ready' ? 1 : done / all);
        this.#tell?.({ ...progress, fraction: this.#fraction });
    }
}
