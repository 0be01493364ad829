/** A package's manifest.json: docs/weights.md. */
export interface Manifest {
    files: {
        name: string;
        bytes: number;
        sha256: string;
    }[];
}
/** Reads a manifest; `place` names it in errors. Undefined if it is another program's. */
export declare function readManifest(place: string, bytes: Uint8Array): Manifest | undefined;
