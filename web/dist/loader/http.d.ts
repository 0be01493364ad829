/** How requests are sent. */
export interface HttpOptions {
    signal: AbortSignal | undefined;
    /** Sent with each, e.g. `Authorization` for a private repository. */
    headers: Record<string, string>;
}
/** Sends a request; failures of the network and of the server are typed errors. */
export declare function send(url: string, options: HttpOptions, init?: RequestInit): Promise<Response>;
/** The whole of a small file; undefined if there is none. */
export declare function fetchSmall(url: string, options: HttpOptions): Promise<Uint8Array | undefined>;
/** A file's length; undefined if there is no such file. */
export declare function fetchSize(url: string, options: HttpOptions): Promise<number | undefined>;
/**
 * A range of a file of `size` bytes; undefined if the server does not know ranges and sends the
 * whole file instead.
 */
export declare function fetchRange(url: string, size: number, offset: number, length: number, options: HttpOptions): Promise<Uint8Array | undefined>;
/**
 * A whole file in pieces of `piece` bytes, from its beginning, for a server without ranges. After a
 * failure that may pass it begins again.
 */
export declare function fetchPieces(url: string, size: number, piece: number, options: HttpOptions, onPiece: (n: number, bytes: Uint8Array) => Promise<void>): Promise<void>;
