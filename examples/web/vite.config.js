import { cpSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const here = (relative) => fileURLToPath(new URL(relative, import.meta.url));

// The demonstration model's files, beside the page under `demo/`.
cpSync(here('../../web/demo/model'), here('public/demo'), { recursive: true });

export default defineConfig({
  // Relative URLs, so that the page works in any folder of a server.
  base: './',
  // Otherwise the package's modules would be moved away from its worker and wasm.
  optimizeDeps: { exclude: ['lfm2-wgpu'] },
  server: { fs: { allow: ['.', here('../../web')] } },
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    // Nothing is inlined as a data: URL, which the page's policy forbids.
    assetsInlineLimit: 0,
    // Browsers with WebGPU do not need Vite's preloading polyfill.
    modulePreload: { polyfill: false },
  },
});
