import { Lfm2Error } from './errors.js';
import type { GpuReport } from './types.js';

const SUBGROUPS = 'subgroups';

/** A name to show; some browsers leave fields out. */
export function gpuName(info: Partial<GPUAdapterInfo> | undefined): string {
  return info?.description || [info?.vendor, info?.architecture].filter(Boolean).join(' ') || 'unknown';
}

/** WebGPU where there is no `navigator.gpu`. */
let provided: GPU | undefined;

/** Gives an environment without `navigator.gpu` WebGPU. */
export function provideGpu(gpu: GPU): void {
  provided = gpu;
}

function findGpu(): GPU {
  const gpu = (globalThis.navigator as Navigator | undefined)?.gpu ?? provided;
  if (gpu === undefined) {
    throw new Lfm2Error('no_webgpu', 'navigator.gpu is missing: no WebGPU, or not a secure context');
  }
  return gpu;
}

/** Asks the browser for its best GPU. */
export async function describeGpu(): Promise<GpuReport> {
  const adapter = await findGpu().requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null) throw new Lfm2Error('no_adapter', 'navigator.gpu.requestAdapter() returned null');
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  return {
    name: gpuName(adapter.info),
    software: adapter.info?.isFallbackAdapter === true,
    features: ['shader-f16', SUBGROUPS].filter((feature) => adapter.features.has(feature)),
    limits: { maxBufferSize, maxStorageBufferBindingSize },
  };
}

/** The part of `navigator.gpu` that the engine uses. */
interface GpuLike {
  requestAdapter(options?: GPURequestAdapterOptions): Promise<AdapterLike | null>;
}
type AdapterLike = Pick<GPUAdapter, 'features' | 'limits' | 'info' | 'requestDevice'>;

/** A stand-in for `navigator.gpu` that returns the page's device. */
function ofDevice(device: GPUDevice): GpuLike {
  const { features, limits, adapterInfo: info } = device;
  const adapter: AdapterLike = { features, limits, info: info ?? {}, requestDevice: async () => device };
  return { requestAdapter: async () => adapter };
}

/** The browser's GPU, but with subgroups requested if the adapter has them: wgpu never requests them. */
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
 * Calls `f` with `navigator.gpu` replaced by the source of the engine's device: the page's own device, or the
 * browser. wgpu reads `navigator` of windows and workers only, so elsewhere (Node) the global object looks like a
 * worker's meanwhile. No other code sees the replacements, because `f` is synchronous.
 */
export function withGpu<T>(device: GPUDevice | undefined, f: () => T): T {
  const gpu = device ? ofDevice(device) : withSubgroups(findGpu());
  const scopes = ['Window', 'WorkerGlobalScope'].some((scope) => scope in globalThis);
  const inScope = scopes ? f : () => replaced(globalThis, 'WorkerGlobalScope', Object, f);
  if (globalThis.navigator !== undefined) return replaced(navigator, 'gpu', gpu, inScope);
  return replaced(globalThis, 'navigator', { gpu }, inScope);
}

/** Calls `f` while a property has another value. */
function replaced<T>(object: object, name: string, value: unknown, f: () => T): T {
  // A browser's own property is on the prototype; the page may have defined another on the object.
  const before = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { value, configurable: true });
  try {
    return f();
  } finally {
    if (before === undefined) Reflect.deleteProperty(object, name);
    else Object.defineProperty(object, name, before);
  }
}
