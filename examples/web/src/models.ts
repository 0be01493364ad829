import type { GpuReport } from 'lfm2-wgpu';

import { bytes } from './format.js';

/** A model that the page proposes. */
export interface Proposed {
  model: string;
  name: string;
  /** Bytes to download, about as many as it takes on the GPU. */
  size: number;
  about: string;
}

/** Models of the hub, the best first. */
export const PROPOSED: readonly Proposed[] = [
  { model: 'LiquidAI/LFM2.5-8B-A1B-GGUF:Q4_0', name: 'LFM2.5-8B-A1B', size: 4.84e9, about: 'The best answers; for GPUs with 6 GB or more' },
  { model: 'LiquidAI/LFM2.5-1.2B-Instruct-GGUF:Q4_0', name: 'LFM2.5-1.2B', size: 0.7e9, about: 'For most laptops' },
  { model: 'LiquidAI/LFM2.5-350M-GGUF:Q4_0', name: 'LFM2.5-350M', size: 0.22e9, about: 'For phones and old machines' },
];

/** The browser's description of the machine. */
export interface Machine {
  gpu?: GpuReport | undefined;
  /** Free bytes in the browser's storage. */
  storage?: number | undefined;
  /** Gigabytes of memory, rounded down to a power of two. Few browsers give it, and none more than 32. */
  memory?: number | undefined;
  phone: boolean;
}

export function thisMachine(gpu: GpuReport | undefined, storage: number | undefined): Machine {
  const { deviceMemory, userAgentData } = navigator as { deviceMemory?: number; userAgentData?: { mobile?: boolean } };
  const phone = userAgentData?.mobile ?? /iPhone|iPad|Android/.test(navigator.userAgent);
  return { gpu, storage, memory: deviceMemory, phone };
}

/** The largest model that the machine can probably run; browsers do not reveal the GPU's memory. */
export function bestFor({ gpu, storage, memory, phone }: Machine): Proposed {
  const most = gpu?.software || phone ? 0.5e9 : memory !== undefined && memory < 8 ? 1e9 : Infinity;
  const fits = PROPOSED.find(({ size }) => size <= most && size <= (storage ?? Infinity));
  return fits ?? (PROPOSED.at(-1) as Proposed);
}

/** The models smaller than `size` bytes. */
export function smallerThan(size: number): readonly Proposed[] {
  return PROPOSED.filter((proposed) => proposed.size < size * 0.8);
}

export const sized = ({ name, size }: Proposed): string => `${name}, ${bytes(size)}`;
