/** One value at a time from a producer to a consumer; each waits for the other. */
export declare class Handoff<T> {
    #private;
    /** Waits until the value has been taken; false if nobody will take more. */
    put(value: T): Promise<boolean>;
    /** The next value; undefined after the last one. Throws what the producer failed with. */
    take(): Promise<T | undefined>;
    /** Ends it, for either side; a value that was put and not taken can still be taken. */
    close(): void;
    fail(error: unknown): void;
}
