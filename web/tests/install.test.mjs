// A web developer's first steps: the packed package in a new Vite and TypeScript project, with the README's code.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { access, cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { launch } from './browser.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = (file, args, cwd) => promisify(execFile)(file, args, { cwd });

let project, vite, browser;
/** Servers to close at the end. */
const servers = [];

/** The code of a document's web section, which readers paste into a page. */
async function pasted(document) {
  const text = await readFile(path.join(ROOT, document), 'utf8');
  const section = text.includes('## In the browser') ? text.slice(text.indexOf('## In the browser')) : text;
  return /```(?:js|ts)\n([\s\S]*?)```/.exec(section)[1];
}

/** Writes the page's script. */
const write = (code) => writeFile(path.join(project, 'src/main.ts'), code);

/** A script that shows the error. */
const saying = (make, model) => `import { ${make} } from 'lfm2-wgpu';
${make}({ model: '${model}' }).catch((error) => document.body.append(error.code + ': ' + error.message));`;

/** The page's text once it matches, or after a timeout. */
async function shown(address, expected, { prepare = () => undefined, missing } = {}) {
  const context = await browser.newContext();
  // Many servers send their start page if a file does not exist.
  if (missing) await context.route(missing, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }));
  const page = await context.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  await page.addInitScript(prepare);
  await page.goto(address);
  const seen = ([source, flags]) => new RegExp(source, flags).test(document.body.innerText);
  await page.waitForFunction(seen, [expected.source, expected.flags], { timeout: 90_000 }).catch(() => undefined);
  const text = await page.evaluate(() => document.body.innerText);
  await context.close();
  return [text, ...problems].join('\n');
}

async function developed() {
  const server = await vite.createServer({ root: project, configFile: false, logLevel: 'silent', server: { port: 0, host: 'localhost' } });
  servers.push(server);
  await server.listen();
  return server.resolvedUrls.local[0];
}

async function built() {
  await vite.build({ root: project, configFile: false, logLevel: 'error' });
  const server = await vite.preview({ root: project, configFile: false, logLevel: 'silent', preview: { port: 0, host: 'localhost' } });
  servers.push(server);
  return server.resolvedUrls.local[0];
}

before(async () => {
  project = await mkdtemp(path.join(tmpdir(), 'lfm2-install-'));
  const packing = ['pack', path.join(ROOT, 'web'), path.join(ROOT, 'web/demo'), '--pack-destination', project];
  await run('npm', packing, project);
  const tarballs = (await readdir(project)).filter((name) => name.endsWith('.tgz'));
  assert.equal(tarballs.length, 2, `${tarballs}`);
  await writeFile(path.join(project, 'package.json'), '{"name": "page", "private": true, "type": "module"}');
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', ...tarballs.map((name) => `./${name}`)], project);
  // Packages that are installed already are not fetched again.
  for (const [name, from] of [['vite', 'examples/web'], ['typescript', 'web'], ['typescript-5.5', 'web']]) {
    await symlink(path.join(ROOT, from, 'node_modules', name), path.join(project, 'node_modules', name));
  }
  await mkdir(path.join(project, 'src'));
  await mkdir(path.join(project, 'public'));
  await cp(path.join(project, 'node_modules/lfm2-wgpu-demo/model'), path.join(project, 'public/demo'), { recursive: true });
  await writeFile(path.join(project, 'index.html'), '<!doctype html><body></body><script type="module" src="/src/main.ts"></script>');
  vite = await import(pathToFileURL(path.join(project, 'node_modules/vite/dist/node/index.js')));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  for (const server of servers) await server.close();
  if (project !== undefined) await rm(project, { recursive: true });
});

test('the packages have their licences, their links work, and neither contains the other', async () => {
  for (const name of ['lfm2-wgpu', 'lfm2-wgpu-demo']) {
    const folder = path.join(project, 'node_modules', name);
    for (const file of ['LICENSE-MIT', 'LICENSE-APACHE', 'README.md', 'package.json']) await access(path.join(folder, file));
    const links = [...(await readFile(path.join(folder, 'README.md'), 'utf8')).matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link);
    assert.ok(links.length > 0);
    for (const link of links) if (!link.startsWith('https://')) await access(path.join(folder, link));
  }
  const files = await readdir(path.join(project, 'node_modules/lfm2-wgpu'), { recursive: true });
  assert.deepEqual(files.filter((name) => /safetensors|tokenizer/.test(name)), []);
});

test('new and older TypeScript accept common forms of messages, tools and options', async () => {
  await write(`
import { createEngine, createWorkerEngine, preflight } from 'lfm2-wgpu';
import type { ChatMessage, ChatTool, EngineOptions, Preflight } from 'lfm2-wgpu';
interface Said { role: 'user' | 'assistant'; content: string }
const literal = [{ role: 'user', content: 'Hi' }, { role: 'user', content: [{ type: 'text', text: 'Hi' }] }];
const fixed = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hi' }] as const;
const typed: ChatMessage[] = [{ role: 'tool', tool_call_id: 'call_1', content: '{}' }];
const tools = [{ type: 'function', function: { name: 'f', strict: true, parameters: { type: 'object', properties: {} } } }];
const schema = { type: 'object', properties: { ok: { type: 'boolean' } } };
const response_format = { type: 'json_schema', json_schema: { schema } };
const fixedTools = [{ type: 'function', function: { name: 'f' } }] as const;
const stop: readonly string[] = ['.'];
const options: EngineOptions = { model: '/demo/', cache: 'none', onProgress: ({ phase, fraction }) => console.log(phase, fraction) };
export async function ask(said: Said[], given: readonly ChatTool[]): Promise<string> {
  const told: Preflight = await preflight(options);
  const engine = told.gpu?.software ? await createEngine(options) : await createWorkerEngine(options);
  const { create } = engine.chat.completions;
  for (const messages of [literal, fixed, typed, said]) await create({ messages, tools, stop, tool_choice: 'auto', response_format });
  const request = { messages: literal, tools: fixedTools, tool_choice: 'none', temperature: 0, max_tokens: 8 };
  const { message } = (await create(request)).choices[0];
  // An answer with tool calls may have no content, so its type differs from that of a literal.
  const conversation: ChatMessage[] = [{ role: 'user', content: 'Hi' }];
  conversation.push(message, { role: 'user', content: 'And?' });
  let text = '';
  for await (const chunk of await create({ messages: [...said, message], tools: given, stream: true })) text += chunk.choices[0]?.delta.content ?? '';
  // @ts-expect-error: no such field
  await create({ messages: said, temprature: 0 });
  // @ts-expect-error: the model is required
  await createEngine({});
  return text + engine.info.sampling.temperature.toFixed(1) + engine.info.memory.total;
}
`);
  await writeFile(path.join(project, 'src/pasted.ts'), await pasted('README.md'));
  await writeFile(path.join(project, 'src/pasted_package.ts'), await pasted('web/README.md'));
  // Like Vite's template, but without skipLibCheck, so that the package's types are checked too.
  const compilerOptions = { target: 'es2022', module: 'esnext', moduleResolution: 'bundler', lib: ['es2022', 'dom'], types: [], strict: true, noEmit: true };
  await writeFile(path.join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['src'] }));
  await Promise.all(['typescript', 'typescript-5.5'].map(async (name) => {
    const compiler = path.join(project, 'node_modules', name, 'bin/tsc');
    await run(process.execPath, [compiler, '--project', '.'], project).catch(({ stdout }) => assert.fail(`${name}: ${stdout}`));
  }));
});

test('the README\'s code answers when built by Vite without any configuration', async () => {
  const code = await pasted('README.md');
  assert.equal(await pasted('web/README.md'), code);
  await write(code);
  const answer = /^lfm2-wgpu is an engine/;
  assert.match(await shown(await built(), answer), answer);
});

test('wasm and worker also load from the development server', async () => {
  for (const make of ['createEngine', 'createWorkerEngine']) {
    await write(saying(make, '/nowhere.gguf'));
    // The model is looked up after the engine has loaded.
    const told = /^wrong_content: .*\/nowhere\.gguf: the server sent a page/;
    assert.match(await shown(await developed(), told), told);
  }
});

test('without WebGPU the page says so; a missing wasm or worker names the fix', async () => {
  await write(await pasted('README.md'));
  const sentence = /^This browser has no WebGPU\. Try a current Chrome, Edge, Firefox or Safari, over https\.$/m;
  assert.match(await shown(await built(), sentence, { prepare: () => delete Navigator.prototype.gpu }), sentence);
  // As if a bundler had moved the modules away from the files.
  const cure = "optimizeDeps: \\{ exclude: \\['lfm2-wgpu'\\] \\}";
  const cases = [
    ['createEngine', '**/*.wasm', new RegExp(`^wrong_content: .*\\.wasm: the server sent a page.*${cure}`)],
    ['createWorkerEngine', '**/worker*.js', new RegExp(`^network: .*its script did not load.*${cure}`)],
  ];
  for (const [make, missing, told] of cases) {
    await write(saying(make, '/demo/'));
    assert.match(await shown(await built(), told, { missing }), told);
  }
});
