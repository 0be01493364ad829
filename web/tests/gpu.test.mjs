// Every kernel against its CPU reference, and whole models against their goldens, as in tests/it, on the browser's
// device. `cargo xtask web-tests` builds the tests. Compiling pipelines takes nearly all the time, so without
// LFM2_TESTS=all only a part runs: a third of the checks of some weight formats, and some models.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { launch } from './browser.mjs';
import { serve } from './server.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
// SwiftShader compiles pipelines on one thread of a process.
const BROWSERS = 2;
const ALL = process.env.LFM2_TESTS === 'all';

let server, browsers, pages, info;

before(async () => {
  server = await serve();
  browsers = await Promise.all(Array.from({ length: BROWSERS }, launch));
  pages = await Promise.all(browsers.map((browser) => open(browser)));
  info = JSON.parse(await pages[0].evaluate(() => device.info()));
});
after(async () => {
  await Promise.all((browsers ?? []).map((browser) => browser.close()));
  await server?.close();
});

/** A page with the global `device`. */
async function open(browser) {
  const page = await browser.newPage();
  page.on('console', (message) => console.log(`[page] ${message.text()}`));
  page.on('pageerror', (error) => {
    console.log(`[page] ${error}`);
    // After a panic no promise of the module would settle.
    page.close();
  });
  await page.goto(`${server.address}/`);
  await page.evaluate(async () => {
    const { default: init, Device, Gpu } = await import('/web-tests/tests.js');
    const { withGpu } = await import('/dist/gpu.js');
    await init();
    globalThis.device = await Device.request(withGpu(undefined, () => new Gpu()));
  });
  return page;
}

/** Runs each task on the next free page. Returns the results in the order of the tasks. */
async function onAll(tasks, run) {
  const [queue, results] = [[...tasks.entries()], []];
  const work = async (page) => {
    for (let next; (next = queue.shift()) !== undefined; ) results[next[0]] = await run(page, next[1]);
  };
  await Promise.all(pages.map(work));
  return results;
}

/** Folders of tests/fixtures with a golden, and their files; the longest prompt first. */
async function fixtures() {
  const folder = path.join(ROOT, 'tests/fixtures');
  const folders = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const all = await Promise.all(folders.map(async ({ name }) => ({ name, files: await readdir(path.join(folder, name)) })));
  const found = all.filter(({ files }) => files.includes('golden.json'));
  assert.ok(found.length >= 20, `${found.length} fixtures`);
  return found.sort((a, b) => Number(b.name === 'long') - Number(a.name === 'long'));
}

test('the device has the features of the adapter', async () => {
  const offered = await pages[0].evaluate(async () => {
    const { features } = await navigator.gpu.requestAdapter();
    return { f16: features.has('shader-f16'), subgroups: features.has('subgroups') };
  });
  for (const [feature, has] of Object.entries(offered)) assert.equal(info.features.includes(feature), has, feature);
});

test(`every kernel agrees with its twin, ${ALL ? 'in every variant' : 'with some weight formats'}`, async (t) => {
  const some = [...info.parts.keys()].filter((part) => ALL || /WithoutWeights|F16|Q4K/.test(info.parts[part]));
  const step = (part) => (ALL || info.parts[part] === 'WithoutWeights' ? 1 : 3);
  const parts = await onAll(some, async (page, part) =>
    JSON.parse(await page.evaluate(([part, step]) => device.selftest(part, step), [part, step(part)])),
  );
  assert.ok(parts.length >= 3, `${info.parts}`);
  assert.deepEqual(parts.flatMap(({ failures }) => failures), []);
  const ran = new Set(parts.flatMap((part) => part.ran));
  if (ALL) assert.deepEqual(info.variants.filter((variant) => !ran.has(variant)), []);

  // Kernels without a variant for this device must be listed here.
  const shaders = (await readdir(path.join(ROOT, 'shaders'))).filter((file) => file.endsWith('.wgsl'));
  const kernels = new Set([...ran].map((variant) => variant.split(' ')[0]));
  const not = shaders.map((file) => path.basename(file, '.wgsl')).filter((kernel) => !kernels.has(kernel));
  assert.deepEqual(not.sort(), ['flash_attention_coop', 'matmul_coop']);
  const cases = parts.reduce((sum, part) => sum + part.cases, 0);
  t.diagnostic(`${cases} cases, ${ran.size} variants of ${kernels.size} kernels; features: ${info.features}`);
});

for (const share of [false, true]) {
  test(`models agree with their goldens, ${share ? 'lanes sharing a row' : 'as the engine chooses'}`, async (t) => {
    const all = (await fixtures()).filter((_, i) => ALL || i % 6 === (share ? 3 : 0));
    const compared = await onAll(all, async (page, { name, files }) => {
      const values = await page.evaluate(
        async ([name, files, share]) => {
          const load = async (file) => {
            const response = await fetch(`/fixtures/${name}/${file}`);
            if (!response.ok) throw new Error(`${name}/${file}: ${response.status}`);
            return [file, new Uint8Array(await response.arrayBuffer())];
          };
          return device.golden(name, await Promise.all(files.map(load)), share);
        },
        [name, files, share],
      );
      assert.ok(values > 0, name);
      return values;
    });
    t.diagnostic(`${all.length} models, ${compared.reduce((a, b) => a + b)} values`);
  });
}
