/** A file of a model, read by ranges: from the network, the cache or the visitor's disk. */
export interface ModelFile {
  /** Plain name. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /** Reads exactly these bytes, or rejects. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** A model that is ready to be read. */
export interface OpenModel {
  /** The model's name in errors. */
  readonly place: string;
  readonly files: readonly ModelFile[];
  /** Whether the whole model is in the cache. */
  readonly fromCache: boolean;
  /** Waits until every file has matched its hash. Returns whether the whole model is in the cache. */
  finish(): Promise<boolean>;
  /** Cancels pending downloads; the cache keeps its chunks. */
  close(): Promise<void>;
}

/** A file to fetch. */
export interface RemoteDescription {
  name: string;
  url: string;
  size: number;
  /** SHA-256 in hexadecimal, if known. */
  sha256?: string;
}

/** The files of a model, before any weights are read. */
export interface Resolved {
  place: string;
  files: readonly RemoteDescription[];
}
