// Compiles WGSL files with Tint, the compiler of Chromium, on Dawn's null backend: no GPU needed.
//
//   node tools/tint/check.mjs DIR     every *.wgsl in DIR must compile; exits 1 otherwise
//
// Files that say `enable` get a device with those features, all others one at WebGPU's default
// limits without any. The files in must_fail/ must be rejected, or the check itself is broken.

import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const FEATURES = ['shader-f16', 'subgroups'];

const { create, globals } = await import('../../web/node_modules/webgpu/index.js').catch(() =>
  fail('Tint is not installed. Run: npm ci --ignore-scripts --prefix web'));
Object.assign(globalThis, globals);

function fail(text) {
  console.error(text);
  process.exit(1);
}

function wgslFiles(dir) {
  const names = readdirSync(dir).filter((name) => name.endsWith('.wgsl')).sort();
  return names.map((name) => ({ name, code: readFileSync(join(dir, name), 'utf8') }));
}

// Messages of Tint on `code`: an empty array if it compiles.
async function complaints(device, code) {
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const errors = messages
    .filter((m) => m.type === 'error')
    .map((m) => `${m.lineNum}:${m.linePos}: ${m.message}\n    ${code.split('\n')[m.lineNum - 1]}`);
  if (errors.length > 0) {
    return errors;
  }
  try {
    // This adapter has eight. Variants that need more are compiled, and not made into a pipeline; tests/it/shaders.rs
    // says which may.
    const buffers = code.match(/var<storage/g)?.length ?? 0;
    if (buffers > device.limits.maxStorageBuffersPerShaderStage) return [];
    await device.createComputePipelineAsync({ layout: 'auto', compute: { module } });
  } catch (e) {
    return [`pipeline: ${e.message}`];
  }
  return [];
}

const dir = process.argv[2] ?? fail('usage: node tools/tint/check.mjs DIR');
const gpu = create(['backend=null']);
const device = async (requiredFeatures) => {
  const adapter = await gpu.requestAdapter();
  const made = await adapter.requestDevice({ requiredFeatures });
  // Errors are read from getCompilationInfo and from the pipeline's promise.
  made.addEventListener?.('uncapturederror', (e) => e.preventDefault?.());
  return made;
};
const core = await device([]);
const full = await device(FEATURES);

for (const { name, code } of wgslFiles(join(here, 'must_fail'))) {
  if ((await complaints(full, code)).length === 0) {
    fail(`tools/tint/must_fail/${name} compiled: this check would not notice a broken shader`);
  }
}

const files = wgslFiles(dir);
if (files.length === 0) {
  fail(`${dir}: no .wgsl file`);
}
let failed = 0;
for (const { name, code } of files) {
  const found = await complaints(/^enable /m.test(code) ? full : core, code);
  if (found.length > 0) {
    failed += 1;
    console.error(`${name} ${code.split('\n')[0]}`);
    found.forEach((text) => console.error(`  ${text}`));
  }
}
console.log(`Tint: ${files.length - failed} of ${files.length} shader variants compile`);
process.exit(failed === 0 ? 0 : 1);
