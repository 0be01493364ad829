import { cpSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const here = (relative) => fileURLToPath(new URL(relative, import.meta.url));

/** The parts of index.html that only one of the two pages has: `own` runs the model in the page, `served` asks a server. */
const only = (page) => ({
  name: 'only',
  transformIndexHtml: {
    order: 'pre',
    handler: (html) =>
      html.replace(/ *<!-- only (\w+) -->\n([^]*?) *<!-- end -->\n/g, (_, name, part) => (name === page ? part : '')),
  },
});

/** Names without hashes, since the server's program has these files compiled in. */
const served = {
  outDir: here('../../assets/page'),
  emptyOutDir: true,
  rolldownOptions: { output: { entryFileNames: 'page.js', assetFileNames: '[name][extname]' } },
};

// `vite build --mode served` makes the page of `lfm2 serve`.
export default defineConfig(({ mode }) => {
  const page = mode === 'served' ? 'served' : 'own';
  // The demonstration model's files, beside the page under `demo/`.
  if (page === 'own') cpSync(here('../../web/demo/model'), here('public/demo'), { recursive: true });
  return {
    // Relative URLs, so that the page works in any folder of a server.
    base: './',
    plugins: [only(page)],
    publicDir: page === 'own' && 'public',
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
      // The licences of the libraries in the page.
      license: { fileName: 'licences.md' },
      ...(page === 'served' ? served : {}),
    },
  };
});
