import { cpSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const here = (relative) => fileURLToPath(new URL(relative, import.meta.url));

// The demonstration model's files, beside the page under `demo/`.
cpSync(here('../../web/demo/model'), here('public/demo'), { recursive: true });

export default defineConfig({
  // So that the page works in any folder of a server.
  base: './',
  // The package finds its worker and its wasm beside its own modules.
  optimizeDeps: { exclude: ['lfm2-wgpu'] },
  server: { fs: { allow: ['.', here('../../web')] } },
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    // Nothing is inlined as a data: address, which the page's policy does not allow.
    assetsInlineLimit: 0,
    // Vite's polyfill for preloading is not needed where WebGPU is.
    modulePreload: { polyfill: false },
  },
});
