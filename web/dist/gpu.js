import { Lfm2Error } from './errors.js';
/** Asks the browser for its best GPU. */
export async function describeGpu() {
    if (!('gpu' in navigator)) {
        throw new Lfm2Error('no_webgpu', 'navigator.gpu is missing: no WebGPU, or not a secure context');
    }
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (adapter === null)
        throw new Lfm2Error('no_adapter', 'navigator.gpu.requestAdapter() gave null');
    // Some browsers leave fields out.
    const info = adapter.info ?? {};
    const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
    return {
        name: info.description || [info.vendor, info.architecture].filter(Boolean).join(' ') || 'unknown',
        software: info.isFallbackAdapter === true,
        features: ['shader-f16'].filter((feature) => adapter.features.has(feature)),
        limits: { maxBufferSize, maxStorageBufferBindingSize },
    };
}
