/** What the browser tells of the GPU. */
export interface GpuReport {
    /** A name to show. */
    name: string;
    /** Whether it is a program on the CPU that does as if it were a GPU. */
    software: boolean;
    /** Optional features that the engine uses where they are there. */
    features: string[];
    limits: {
        maxBufferSize: number;
        maxStorageBufferBindingSize: number;
    };
}
/** Asks the browser for its best GPU. */
export declare function describeGpu(): Promise<GpuReport>;
