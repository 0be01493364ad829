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

/** A name to show; some browsers leave fields out. */
export function gpuName(info: Partial<GPUAdapterInfo> | undefined): string {
  return info?.description || [info?.vendor, info?.architecture].filter(Boolean).join(' ') || 'unknown';
}

/** Asks the browser for its best GPU. */
export async function describeGpu(): Promise<GpuReport> {
  if (!('gpu' in navigator)) {
    throw new Lfm2Error('no_webgpu', 'navigator.gpu is missing: no WebGPU, or not a secure context');
  }
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null) throw new Lfm2Error('no_adapter', 'navigator.gpu.requestAdapter() gave null');
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  return {
    name: gpuName(adapter.info),
    software: adapter.info?.isFallbackAdapter === true,
    features: ['shader-f16'].filter((feature) => adapter.features.has(feature)),
    limits: { maxBufferSize, maxStorageBufferBindingSize },
  };
}

/**
 * Calls `f` while `navigator.gpu` gives this device to whoever asks for one; nobody else can ask
 * meanwhile, since `f` does not wait.
 */
export function withDevice<T>(device: GPUDevice, f: () => T): T {
  const { features, limits, adapterInfo: info } = device;
  const adapter = { features, limits, info: info ?? {}, requestDevice: () => Promise.resolve(device) };
  const gpu = { requestAdapter: () => Promise.resolve(adapter) };
  Object.defineProperty(navigator, 'gpu', { value: gpu, configurable: true });
  try {
    return f();
  } finally {
    // The browser's own is the prototype's.
    delete (navigator as { gpu?: GPU }).gpu;
  }
}
