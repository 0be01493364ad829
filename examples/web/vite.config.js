import { createReadStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const PACKAGE = fileURLToPath(new URL('../../web', import.meta.url));
const DEMO = path.join(PACKAGE, 'dist/demo');

/** The demonstration model's files, beside the page under `demo/`. */
function demonstrationModel() {
  return {
    name: 'demonstration-model',
    configureServer(server) {
      server.middlewares.use('/demo', async (request, response) => {
        const name = path.basename(new URL(request.url, 'http://localhost').pathname);
        if (!(await readdir(DEMO)).includes(name)) {
          response.statusCode = 404;
          response.end();
          return;
        }
        createReadStream(path.join(DEMO, name)).pipe(response);
      });
    },
    async generateBundle() {
      for (const name of await readdir(DEMO)) {
        this.emitFile({ type: 'asset', fileName: `demo/${name}`, source: await readFile(path.join(DEMO, name)) });
      }
    },
  };
}

export default defineConfig({
  // So that the page works in any folder of a server.
  base: './',
  plugins: [demonstrationModel()],
  // The package finds its worker and its wasm beside its own modules.
  optimizeDeps: { exclude: ['lfm2-wgpu'] },
  server: { fs: { allow: ['.', PACKAGE] } },
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    // Nothing is inlined as a data: address, which the page's policy does not allow.
    assetsInlineLimit: 0,
    // Vite's polyfill for preloading is not needed where WebGPU is.
    modulePreload: { polyfill: false },
  },
});
