import { Lfm2Error } from './errors.js';

/** What the browser tells of the GPU. */
export interface GpuReport {
  /** A name to show. */
  name: string;
  /** Whether it is a program on the CPU that does as if it were a GPU. */
  software: boolean;
  /** Optional features that the engine uses where they are there. */
  features: string[];
  limits: { maxBufferSize: number; maxStorageBufferBindingSize: number };
}

/** Asks the browser for its best GPU. */
export async function describeGpu(): Promise<GpuReport> {
  if (!('gpu' in navigator)) {
    throw new Lfm2Error('no_webgpu', 'navigator.gpu is missing: no WebGPU, or not a secure context');
  }
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null) throw new Lfm2Error('no_adapter', 'navigator.gpu.requestAdapter() gave null');
  // Some browsers leave fields out.
  const info: Partial<GPUAdapterInfo> = adapter.info ?? {};
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  return {
    name: info.description || [info.vendor, info.architecture].filter(Boolean).join(' ') || 'unknown',
    software: info.isFallbackAdapter === true,
    features: ['shader-f16'].filter((feature) => adapter.features.has(feature)),
    limits: { maxBufferSize, maxStorageBufferBindingSize },
  };
}
