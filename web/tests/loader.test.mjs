// Loading a model over the network, without a browser or a GPU.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';

import { Beginning } from '../dist/loader/beginning.js';
import { parseHubName, shown } from '../dist/loader/name.js';
import { CHUNK, RemoteFile } from '../dist/loader/remote.js';
import { absolute, resolveModel } from '../dist/loader/resolve.js';
import { label, select } from '../dist/loader/select.js';
import { MemoryStore } from '../dist/loader/store.js';
import { packageOf, serve, sha256 } from './server.mjs';

const BIG = randomBytes(2.5 * CHUNK);
const MODEL = packageOf({ 'config.json': Buffer.from('{}'), 'model.safetensors': BIG });
const MODEL_URL = () => `${server.address}/model/`;
let server;

before(async () => (server = await serve()));
after(() => server.close());
beforeEach(() => {
  server.model = MODEL;
  server.send();
});

function newHasher() {
  const hash = createHash('sha256');
  return { update: (bytes) => hash.update(bytes), finish: () => hash.digest('hex') };
}

/** The big file as a remote file. */
function bigFile({ hash = sha256(BIG), signal, size = BIG.length } = {}) {
  const about = { name: 'model.safetensors', url: `${MODEL_URL()}model.safetensors`, size, ...(hash && { sha256: hash }) };
  let bytes = 0;
  const file = new RemoteFile(about, new MemoryStore(8), { signal, headers: {} }, newHasher, (_, n) => (bytes += n));
  return Object.assign(file, { network: () => bytes });
}

const code = (promise) => promise.then(() => 'no error', (error) => error.code);
const resolve = (model, hub = {}) => resolveModel(absolute(model), hub, { signal: undefined, headers: {} });

for (const ranges of [true, false]) {
  test(`pieces anywhere, and the hash, ${ranges ? 'with' : 'without'} ranges`, async () => {
    server.send({ ranges });
    const file = bigFile();
    const pieces = [[0, 8], [CHUNK - 5, 10], [2 * CHUNK + 7, 100], [0, BIG.length], [BIG.length, 0]];
    for (const [offset, length] of pieces) {
      assert.deepEqual(Buffer.from(await file.read(offset, length)), BIG.subarray(offset, offset + length));
    }
    await file.finish(false);
    assert.equal(file.network(), BIG.length, 'no byte is fetched twice');
    if (ranges) assert.ok(server.log.every((request) => request.range !== undefined));
  });
}

test('only the beginning of a file is read from a server without ranges', async () => {
  const options = { signal: undefined, headers: {} };
  const open = (most) => new Beginning(`${MODEL_URL()}model.safetensors`, BIG.length, options, most);
  server.send({ ranges: false, slow: 5 });
  const file = open();
  const pieces = [[70_000, 10], [0, 8], [8, 300_000], [200_000, 65_536]];
  const read = await Promise.all(pieces.map(([offset, length]) => file.read(offset, length)));
  for (const [i, [offset, length]] of pieces.entries()) {
    assert.deepEqual(Buffer.from(read[i]), BIG.subarray(offset, offset + length));
  }
  await file.close();
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(server.sent < 1 << 20, `${server.sent} bytes were sent`);
  assert.equal(server.log.length, 1);

  server.send({ ranges: false, truncate: 2 });
  assert.deepEqual(Buffer.from(await open().read(0, BIG.length)), BIG, 'after answers that end in the middle');
  assert.equal(await code(open(1000).read(990, 11)), 'wrong_content');
  assert.deepEqual(Buffer.from(await open(1000).read(990, 10)), BIG.subarray(990, 1000));
});

test('a response that ends early is requested again, but not forever', async () => {
  for (const ranges of [true, false]) {
    server.send({ ranges, truncate: 2 });
    const file = bigFile();
    assert.deepEqual(Buffer.from(await file.read(0, BIG.length)), BIG);
    await file.finish(true);
  }
  server.send({ truncate: 1000 });
  assert.equal(await code(bigFile().read(0, 10)), 'network');
});

test('a file with a wrong hash is refused', async () => {
  server.send({ corrupt: 'model.safetensors' });
  const file = bigFile();
  await file.read(CHUNK, 10);
  assert.equal(await code(file.finish(true)), 'integrity');
  assert.equal(await code(bigFile({ hash: null }).finish(true)), 'no error');
});

test('wrong lengths, missing files, broken and missing servers are errors', async () => {
  assert.equal(await code(bigFile({ size: BIG.length + 1 }).read(0, 10)), 'wrong_content');
  server.model = {};
  assert.equal(await code(bigFile().read(0, 10)), 'not_found');
  server.send({ status: 503 });
  assert.equal(await code(bigFile().read(0, 10)), 'http_status');
  assert.equal(server.log.filter((request) => request.range?.startsWith('bytes=0-')).length, 4, 'with patience');
  server.send({ down: true });
  assert.equal(await code(bigFile().read(0, 10)), 'network');
});

test('a signal stops loading at once', async () => {
  server.send({ slow: 50 });
  const controller = new AbortController();
  const file = bigFile({ signal: controller.signal });
  const reading = code(file.read(0, BIG.length));
  setTimeout(() => controller.abort(), 200);
  const began = Date.now();
  assert.equal(await reading, 'aborted');
  assert.ok(Date.now() - began < 1500);
  assert.equal(await code(file.read(0, 1)), 'aborted');
});

test('packages are found by manifest, checkpoints by file names, GGUF files by their own name', async () => {
  const named = ({ files }) => files.map(({ name, size, sha256 }) => [name, size, sha256 !== undefined]);
  assert.deepEqual(named(await resolve(MODEL_URL())), [
    ['config.json', 2, true],
    ['model.safetensors', BIG.length, true],
  ]);
  const index = Buffer.from(JSON.stringify({ weight_map: { a: 'model-2.safetensors', b: 'model-1.safetensors', c: 'model-2.safetensors' } }));
  const small = { 'config.json': Buffer.from('{}'), 'tokenizer.json': Buffer.from('{ }') };
  const shards = { 'model-1.safetensors': Buffer.alloc(5), 'model-2.safetensors': Buffer.alloc(6) };
  for (const pages of [false, true]) {
    server.send({ pages });
    server.model = { ...small, 'model.safetensors': Buffer.alloc(7) };
    const expected = [['config.json', 2, false], ['tokenizer.json', 3, false]];
    assert.deepEqual(named(await resolve(MODEL_URL().replace(/\/$/, ''))), [...expected, ['model.safetensors', 7, false]]);
    server.model = { ...small, ...shards, 'model.safetensors.index.json': index };
    const sharded = [['model.safetensors.index.json', index.length, false], ['model-1.safetensors', 5, false], ['model-2.safetensors', 6, false]];
    assert.deepEqual(named(await resolve(MODEL_URL())), [...expected, ...sharded]);
    server.model = {};
    const absent = pages ? 'wrong_content' : 'not_found';
    for (const name of ['', 'z.gguf']) assert.equal(await code(resolve(MODEL_URL() + name)), absent);
  }
  server.send();
  server.model = { 'x.gguf': Buffer.alloc(9), 'y-00001-of-00002.gguf': Buffer.alloc(3), 'y-00002-of-00002.gguf': Buffer.alloc(4) };
  assert.deepEqual(named(await resolve(`${MODEL_URL()}x.gguf`)), [['x.gguf', 9, false]]);
  const parts = [['y-00001-of-00002.gguf', 3, false], ['y-00002-of-00002.gguf', 4, false]];
  assert.deepEqual(named(await resolve(`${MODEL_URL()}y-00001-of-00002.gguf`)), parts);
  assert.equal(await code(resolve(`${MODEL_URL()}z.gguf`)), 'not_found');
});

test('a manifest that is invalid, or leads out of its folder, is refused', async () => {
  const about = { format: 'lfm2-wgpu package', version: 1, files: [] };
  const file = { name: 'a', bytes: 1, sha256: '0'.repeat(64) };
  for (const manifest of [
    '{',
    about,
    { ...about, version: 2, files: [file] },
    { ...about, files: [null] },
    { ...about, files: [{ ...file, name: '../a' }] },
    { ...about, files: [{ ...file, name: 'a/b' }] },
    { ...about, files: [{ ...file, bytes: -1 }] },
    { ...about, files: [{ ...file, sha256: 'x' }] },
  ]) {
    server.model = { 'manifest.json': Buffer.from(typeof manifest === 'string' ? manifest : JSON.stringify(manifest)) };
    assert.equal(await code(resolve(MODEL_URL())), 'wrong_content', JSON.stringify(manifest));
  }
});

test('a hub name resolves to its file list at one commit', async () => {
  server.model = { 'README.md': Buffer.from('x'), 'm-Q4_0.gguf': Buffer.alloc(10), 'm-Q8_0.gguf': Buffer.alloc(20) };
  const hub = { endpoint: `${server.address}/hub` };
  const { files } = await resolve('test/model:q8_0', hub);
  assert.equal(files.length, 1);
  assert.equal(files[0].sha256, sha256(Buffer.alloc(20)));
  assert.match(files[0].url, /\/hub\/test\/model\/resolve\/0123456789abcdef0123456789abcdef01234567\/m-Q8_0\.gguf$/);
  assert.equal((await resolve('test/model', hub)).files[0].name, 'm-Q4_0.gguf');
  assert.equal(await code(resolve('test/other', hub)), 'not_found');
  assert.equal(await code(resolve('test/model@elsewhere', hub)), 'not_found');
});

test('hub names are distinguished from URLs, and select files as in the native program', () => {
  for (const name of ['a/b', 'LiquidAI/LFM2.5-8B-A1B-GGUF:Q4_0', 'a/b@refs/pr/1', 'a/b:Q4_0@main']) {
    assert.equal(absolute(name), name);
  }
  for (const address of ['/a/b', './a', 'https://x/a/b', 'a/b/c', '../b', 'a', './a/tree/main/x']) {
    assert.equal(parseHubName(address), undefined, address);
  }
  const quants = ['README.md', 'x-F16.gguf', 'x-Q4_0.gguf', 'x-Q4_K_M.gguf', 'mmproj-x-F16.gguf'];
  assert.deepEqual(select('a/b', undefined, quants), ['x-Q4_0.gguf']);
  assert.deepEqual(select('a/b', 'q4_k_m', quants), ['x-Q4_K_M.gguf']);
  assert.deepEqual(select('a/b', undefined, [quants[1], quants[3]]), [quants[3]]);
  assert.deepEqual(select('a/b', 'x-Q4_0', ['x-Q4_0.gguf', 'x-Q4_0-new.gguf']), ['x-Q4_0.gguf']);
  assert.throws(() => select('a/b', 'Q4_K', quants), /There are: F16, Q4_0, Q4_K_M/);
  assert.throws(() => select('a/b', undefined, ['x-F16.gguf', 'x-Q8_0.gguf']), /several/);
  // Models made with an importance matrix, and importance matrices.
  const matrix = ['x-imatrix-Q4_K_M.gguf', 'x-Q4_0-imatrix.gguf', 'x.imatrix.gguf', 'mmproj-x-Q8_0-imatrix.gguf'];
  assert.deepEqual(select('a/b', undefined, matrix), [matrix[1]]);
  assert.deepEqual(select('a/b', 'imatrix-Q4_K_M', matrix), [matrix[0]]);
  assert.throws(() => select('a/b', undefined, matrix.slice(2)), /neither/);
  // A number with a decimal point is one word.
  assert.throws(() => select('a/b', undefined, ['x-1.5B-Q4_0.gguf', 'x-3B-Q4_0.gguf']), /There are: 1\.5B-Q4_0, 3B-Q4_0/);
  const parts = ['d/x-Q8_0-00002-of-00002.gguf', 'd/x-Q8_0-00001-of-00002.gguf'];
  assert.deepEqual(select('a/b', undefined, parts), [parts[1], parts[0]]);
  assert.throws(() => select('a/b', undefined, parts.slice(1)), /2 parts, 1/);
  const folder = ['model.safetensors', 'model-1.safetensors', 'tokenizer.json', 'config.json', 'pytorch_model.bin'];
  assert.deepEqual(select('a/b', undefined, folder), ['config.json', 'tokenizer.json', 'model.safetensors']);
  assert.throws(() => select('a/b', 'Q4_0', folder), /has no Q4_0/);
  assert.throws(() => select('a/b', undefined, ['README.md']), /neither/);
});

test('hub URLs become hub names', () => {
  const commit = '0123456789abcdef0123456789abcdef01234567';
  for (const [address, name] of [
    ['hf.co/a/b', 'a/b'],
    ['HF.co/a/b:latest', 'a/b'],
    ['hf.co/a/b:QAD-Q4_0', 'a/b:QAD-Q4_0'],
    ['https://huggingface.co/a/b', 'a/b'],
    ['https://huggingface.co/a/b/', 'a/b'],
    ['http://www.huggingface.co/a/b?library=x#how', 'a/b'],
    ['https://hf.co/a/b:Q8_0', 'a/b:Q8_0'],
    ['https://huggingface.co/a/b/tree/main', 'a/b'],
    ['https://huggingface.co/a/b/tree/v1.0', 'a/b@v1.0'],
    ['https://huggingface.co/a/b/tree/refs%2Fpr%2F1', 'a/b@refs/pr/1'],
    ['https://huggingface.co/a/b/tree/refs/pr/1/', 'a/b@refs/pr/1'],
    [`https://huggingface.co/a/b/commit/${commit}`, `a/b@${commit}`],
    ['https://huggingface.co/a/b/discussions/3', 'a/b'],
    ['https://huggingface.co/a/b/blob/main/M-Q4_0.gguf', 'a/b:M-Q4_0'],
    ['https://huggingface.co/a/b/blob/main/README.md', 'a/b'],
    [`https://huggingface.co/a/b/resolve/${commit}/M.GGUF?download=true`, `a/b:M@${commit}`],
    ['https://huggingface.co/a/b/resolve/main/F16/x-F16-00001-of-00002.gguf', 'a/b:x-F16'],
    ['https://huggingface.co/api/models/a/b', 'a/b'],
    ['https://huggingface.co/a/b/blob/main/LFM2%20(Q4_0).gguf', 'a/b:LFM2--Q4_0'],
    ['hf://a/b@v2/M-Q4_0.gguf', 'a/b:M-Q4_0@v2'],
    ['a/b/blob/main/M-Q4_0.gguf', 'a/b:M-Q4_0'],
    ['https://huggingface.co/a/b?show_file_info=M-Q4_K_M.gguf', 'a/b:M-Q4_K_M'],
    ['https://huggingface.co/a/b/tree/v2?x=y&show_file_info=a%2FM-Q4_0.gguf#z', 'a/b:M-Q4_0@v2'],
    ['https://huggingface.co/a/b?show_file_info=config.json', 'a/b'],
    ['https://huggingface.co/a/b/tree/main/UD-Q4_K_XL', 'a/b:UD-Q4_K_XL'],
    ['https://huggingface.co/a/b.git', 'a/b'],
    ['a/b.git', 'a/b'],
    ['a/b/', 'a/b'],
    ['a/b/M-Q4_0.gguf', 'a/b:M-Q4_0'],
    ['a/b/Q4_0/M-Q4_0-00001-of-00002.gguf', 'a/b:M-Q4_0'],
  ]) {
    assert.equal(absolute(address), name);
    assert.equal(shown(parseHubName(address)), name);
  }
  assert.equal(absolute(new URL('https://huggingface.co/a/b/blob/main/M-Q4_0.gguf')), 'a/b:M-Q4_0');
  for (const other of ['https://huggingface.co/datasets/a/b', 'https://huggingface.co/a', 'https://example.com/a/b']) {
    assert.equal(parseHubName(other), undefined, other);
  }
  for (const folder of ['https://huggingface.co/a/b/tree/feature/a', 'a/b/tree/main/onnx', './a/x.gguf', '/a/b/x.gguf']) {
    assert.equal(parseHubName(folder), undefined, folder);
  }
  for (const wrong of ['https://huggingface.co/a/b/tree/..%2F..', 'https://huggingface.co/../b', 'https://huggingface.co/a/b%2']) {
    assert.equal(parseHubName(wrong), undefined, wrong);
  }
});

test('selects the plain quantisation, others by their labels, and refuses unsupported types', () => {
  const stems = ['M-BF16', 'M-Q4_0', 'M-QAD-Q4_0', 'UD/M-UD-Q4_K_XL', 'M.i1-Q4_K_M', 'M-f16-Q6_K', 'M-Q6_K'];
  const names = stems.map((stem) => `${stem}.gguf`);
  assert.deepEqual(stems.map((stem) => label(stems, stem)), ['BF16', 'Q4_0', 'QAD-Q4_0', 'UD-Q4_K_XL', 'i1-Q4_K_M', 'f16-Q6_K', 'Q6_K']);
  for (const stem of stems) assert.deepEqual(select('a/b', label(stems, stem), names), [`${stem}.gguf`]);
  assert.deepEqual(select('a/b', 'q4_0', names), ['M-Q4_0.gguf']);
  assert.deepEqual(select('a/b', undefined, names), ['M-Q4_0.gguf']);
  assert.deepEqual(select('a/b', 'qad-q4_0', names), ['M-QAD-Q4_0.gguf']);
  assert.deepEqual(select('a/b', 'Q4_K_M', names), ['M.i1-Q4_K_M.gguf']);
  assert.throws(() => select('a/b', 'Q4_0', [names[2], names[0]]), /has no Q4_0\. There are: QAD-Q4_0, BF16/);
  assert.throws(() => select('a/b', 'Q4_0', ['x-Q4_0.gguf', 'y-Q4_0.gguf']), /several/);
  for (const quant of ['IQ4_NL', 'IQ3_XS', 'MXFP4', 'NVFP4', 'Q2_K', 'Q3_K_M', 'TQ1_0']) {
    const thrown = /not supported, and was not downloaded\. By their names these run: BF16, Q4_0/;
    assert.throws(() => select('a/b', quant, [...names, `M-${quant}.gguf`]), (e) => e.code === 'bad_model' && thrown.test(e.message));
  }
});
