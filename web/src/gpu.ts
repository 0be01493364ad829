import { Lfm2Error } from './errors.js';
import type { GpuReport } from './types.js';

const SUBGROUPS = 'subgroups';

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
    features: ['shader-f16', SUBGROUPS].filter((feature) => adapter.features.has(feature)),
    limits: { maxBufferSize, maxStorageBufferBindingSize },
  };
}

/** What the engine asks of `navigator.gpu`. */
interface GpuLike {
  requestAdapter(options?: GPURequestAdapterOptions): Promise<AdapterLike | null>;
}
type AdapterLike = Pick<GPUAdapter, 'features' | 'limits' | 'info' | 'requestDevice'>;

/** Gives the page's device to whoever asks for one. */
function ofDevice(device: GPUDevice): GpuLike {
  const { features, limits, adapterInfo: info } = device;
  const adapter: AdapterLike = { features, limits, info: info ?? {}, requestDevice: async () => device };
  return { requestAdapter: async () => adapter };
}

/** The browser's, whose devices have subgroups too where its adapters have them: wgpu never asks for them. */
function withSubgroups(gpu: GPU): GpuLike {
  return {
    requestAdapter: async (options) => {
      const adapter = await gpu.requestAdapter(options);
      if (adapter === null || !adapter.features.has(SUBGROUPS)) return adapter;
      const { features, limits, info } = adapter;
      const requestDevice = (about?: GPUDeviceDescriptor) => {
        const requiredFeatures = [...(about?.requiredFeatures ?? []), SUBGROUPS as GPUFeatureName];
        return adapter.requestDevice({ ...about, requiredFeatures });
      };
      return { features, limits, info, requestDevice };
    },
  };
}

/**
 * Calls `f`, to which `navigator.gpu` is where the engine's device comes from: the page's own, or
 * the browser. Nobody else can ask it meanwhile, since `f` does not wait.
 */
export function withGpu<T>(device: GPUDevice | undefined, f: () => T): T {
  const value = device ? ofDevice(device) : withSubgroups(navigator.gpu);
  // The browser's own is the prototype's; the page may have put another in its place.
  const before = Object.getOwnPropertyDescriptor(navigator, 'gpu');
  Object.defineProperty(navigator, 'gpu', { value, configurable: true });
  try {
    return f();
  } finally {
    if (before === undefined) delete (navigator as { gpu?: GPU }).gpu;
    else Object.defineProperty(navigator, 'gpu', before);
  }
}
