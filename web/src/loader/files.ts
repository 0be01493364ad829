/** A file of a model, read by ranges: from the network, the cache or the visitor's disk. */
export interface ModelFile {
  /** Plain name. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /** Exactly these bytes, or a rejection. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** A model that is ready to be read. */
export interface OpenModel {
  /** What errors call the model. */
  readonly place: string;
  readonly files: readonly ModelFile[];
  /** Whether all of it is in the cache. */
  readonly fromCache: boolean;
  /** Waits until every file has been compared with its hash; whether all of it is in the cache. */
  finish(): Promise<boolean>;
  /** Stops what still runs; what is in the cache stays. */
  close(): Promise<void>;
}

/** A file that is to be fetched. */
export interface RemoteDescription {
  name: string;
  url: string;
  size: number;
  /** SHA-256 in hexadecimal, where it is known. */
  sha256?: string;
}

/** What a model is made of, before any of its weights are read. */
export interface Resolved {
  place: string;
  files: readonly RemoteDescription[];
}
