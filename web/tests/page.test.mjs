// The chat page of examples/web, used like a visitor.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { launch } from './browser.mjs';
import { answered, ask, freshConversation, loadDemo, openChatPage, servePage, setField, writes } from './page.mjs';
import { demoFiles, packageOf } from './server.mjs';

let server, browser, page, seen;

before(async () => {
  server = await servePage();
  browser = await launch();
  ({ page, seen } = await openChatPage(await browser.newContext(), server.address));
});
after(async () => {
  await browser?.close();
  await server?.close();
});

const text = (selector) => page.locator(selector).last().innerText();
/** The last answer's statistics, which are collapsed. */
const stats = () => page.locator('.stats').last().evaluate((stats) => [...stats.children].map(({ textContent }) => textContent).join(' · '));
/** Elements that are wider than the window. */
const overflow = () => page.evaluate(() => {
  const wide = [document.documentElement, document.body, ...document.querySelectorAll('main, .setup, .chat, .log, dialog')];
  return wide.filter((element) => element.scrollWidth > element.clientWidth + 1).map(({ tagName, className }) => `${tagName} ${className}`);
});

test('the page shows the model\'s size and memory before the download; loading can be cancelled', async () => {
  await page.locator('#load').waitFor();
  assert.equal(await text('#verdict'), 'It should run here, but slowly.', 'there is no real GPU');
  assert.notEqual(await page.locator('#verdict').getAttribute('data-verdict'), 'ok', 'so it is not green');
  assert.match(await text('#reasons'), /no real GPU/);
  const facts = await text('#facts');
  assert.match(facts, /Download\s+7\.0 MB/);
  assert.match(facts, /GPU memory\s+1\d\.\d MB, 6\.9 MB of it weights/);
  assert.match(facts, /Free space in this browser\s+[\d.]+ GB/);
  assert.match(facts, /GPU\s+\S+/);
  assert.equal(await text('#load'), 'Download 7.0 MB and load');
  const ranges = seen.requests.filter(({ url }) => url.endsWith('/model.safetensors')).map(({ range }) => /^bytes=(\d+)-(\d+)$/.exec(range));
  assert.ok(ranges.length > 0);
  assert.ok(ranges.reduce((sum, [, start, end]) => sum + (end - start), 0) < 200_000, 'only its table of contents');
  assert.ok(await page.locator('#cached').isHidden());

  await page.locator('#load').press('Enter');
  await page.locator('.loading .button').press('Enter');
  assert.equal(await text('.problem p'), 'Stopped.');
  await page.locator('#load').waitFor();
  assert.match(await text('#load'), /load$/i);
});

test('the model loads with the keyboard alone; the answer streams, with its statistics', async () => {
  await loadDemo(page);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'question', 'one can write at once');
  assert.match(await text('#welcome-note'), /3\.4 M parameters in BF16 · 2,048 tokens of context · .* · kept for the next visit/);
  await page.keyboard.type('What is lfm2-wgpu?');
  await page.keyboard.press('Enter');
  const lengths = new Set();
  while (await page.locator('#stop').isVisible()) lengths.add((await text('.body')).length);
  assert.ok(lengths.size > 3, `${[...lengths]}`);
  assert.match(await answered(page), /^lfm2-wgpu is an engine written in Rust and WebGPU/);
  assert.match(await stats(), /^[\d.]+ tokens\/s · first token \d+\.\d\d s · \d+ tokens · prompt \d+ · seed \d+ · .*swiftshader/i);
  assert.match(await text('.stats'), /^[\d.]+ tokens\/s$/, 'a quiet line, the rest on demand');
  assert.match(await text('#status'), /^lfm2-wgpu is an engine/, 'a screen reader is told the whole answer once');
  assert.match(await text('#model-line'), /demonstration model · .*swiftshader/i);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'question');
  // Tab reaches everything, and the focused element is outlined.
  const reached = new Set();
  for (let i = 0; i < 18; i++) {
    await page.keyboard.press('Tab');
    const [id, outline] = await page.evaluate(() => [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]);
    reached.add(id);
    if (id !== '' && id !== 'question') assert.notEqual(outline, 'none', id);
  }
  for (const id of ['new-conversation', 'open-conversations', 'change-model', 'open-settings', 'theme', 'log', 'question', 'send']) assert.ok(reached.has(id), id);
});

test('Escape stops an answer, and the conversation continues with its text so far', async () => {
  await freshConversation(page);
  await setField(page, 'temperature', '0');
  await page.locator('#question').fill('What is lfm2-wgpu?');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('.body')?.textContent.length > 12 && !document.querySelector('.reading'));
  await page.keyboard.press('Escape');
  const part = await answered(page);
  assert.equal(await text('.note'), 'Stopped.');
  assert.ok(part.length > 0 && !part.includes('natively'), part);
  await ask(page, 'My name is Ada.');
  assert.match(await ask(page, 'What is my name?'), /Ada/);
  assert.match(await stats(), /prompt \d+ \+ \d+ reused/);
});

test('a new conversation does not know the previous one', async () => {
  await page.locator('#new-conversation').press('Enter');
  await page.locator('#welcome').waitFor();
  assert.equal(await page.locator('.turn').count(), 0);
  assert.doesNotMatch(await ask(page, 'What is my name?'), /Ada/);
});

test('the model calls a tool, the page answers it, the model uses the result', async () => {
  await freshConversation(page);
  const now = () => new Date().toLocaleTimeString('en-GB', { timeZone: 'Europe/Rome', hour: '2-digit', minute: '2-digit' });
  const earliest = now();
  const answer = await ask(page, 'What time is it in Rome?');
  const [call, result] = await page.locator('.call pre').allInnerTexts();
  assert.equal(call, 'get_time({"city":"Rome"})');
  const { time } = JSON.parse(result);
  assert.ok([earliest, now()].includes(time), `${time}, not ${earliest}`);
  assert.match(answer, new RegExp(time));
  assert.equal(await page.locator('.turn.model').count(), 2);
  assert.doesNotMatch(await text('#turns'), /tool_call_start/);
});

test('a question can be edited, and an answer generated again', async () => {
  await freshConversation(page);
  await ask(page, 'My name is Ada.');
  assert.match(await ask(page, 'What is my name?'), /Ada/);
  const again = page.getByRole('button', { name: 'Answer again' });
  assert.equal(await again.count(), 1, 'of the last answer only');
  await page.locator('.turn.model').last().evaluate((turn) => (turn.id = 'replaced'));
  await again.press('Enter');
  await page.locator('#replaced').waitFor({ state: 'detached' });
  assert.match(await answered(page), /Ada/);
  assert.equal(await page.locator('.turn').count(), 4);
  const edit = page.locator('.turn.user').first().getByRole('button', { name: 'Edit' });
  await edit.press('Enter');
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('.editor').count(), 0);
  assert.ok(await edit.evaluate((button) => button === document.activeElement));
  assert.equal(await page.locator('.turn').count(), 4, 'no message was removed');
  await edit.press('Enter');
  assert.deepEqual(await page.evaluate(() => [document.activeElement.tagName, document.activeElement.value]), ['TEXTAREA', 'My name is Ada.']);
  await page.setViewportSize({ width: 360, height: 740 });
  assert.deepEqual(await overflow(), []);
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.type('Hi');
  await page.keyboard.press('Enter');
  await answered(page);
  assert.deepEqual(await page.locator('.turn.user .said').allInnerTexts(), ['Hi'], 'the messages after it are removed');
  assert.doesNotMatch(await ask(page, 'What is my name?'), /Ada/);
});

test('settings apply from the next message on', async () => {
  await freshConversation(page);
  const recommended = JSON.parse(await readFile(new URL('../../assets/demo/generation_config.json', import.meta.url)));
  for (const name of ['temperature', 'min_p', 'repetition_penalty']) {
    assert.equal(await page.locator(`[name=${name}]`).getAttribute('placeholder'), String(recommended[name]), 'an empty field shows what holds');
  }
  await setField(page, 'max_tokens', '3');
  await ask(page, 'What is lfm2-wgpu?');
  assert.match(await stats(), /\s3 tokens/);
  assert.match(await text('.note'), /^Cut off/);
  const prompt = async () => Number(/prompt (\d+)/.exec(await stats())[1]) + Number(/(\d+) reused/.exec(await stats())?.[1] ?? 0);
  const withTool = await prompt();
  await freshConversation(page);
  await page.locator('#open-settings').press('Enter');
  await page.locator('#tool').press('Space');
  await page.locator('#settings button[type=submit]').press('Enter');
  await ask(page, 'What is lfm2-wgpu?');
  const withoutTool = await prompt();
  assert.ok(withoutTool < withTool - 20, `${withoutTool}, ${withTool}`);
  await freshConversation(page);
  await setField(page, 'system', 'Answer briefly.');
  await ask(page, 'What is lfm2-wgpu?');
  assert.ok(await prompt() > withoutTool, 'the system prompt is sent');
  // The same seed gives the same answer, even at a high temperature.
  await setField(page, 'temperature', '5');
  await setField(page, 'min_p', '0');
  await setField(page, 'max_tokens', '8');
  const answers = [];
  for (const seed of ['1', '1', '2']) {
    await freshConversation(page);
    await setField(page, 'seed', seed);
    answers.push(await ask(page, 'Hi'));
  }
  assert.equal(answers[0], answers[1]);
  assert.notEqual(answers[0], answers[2]);
  // An invalid value keeps the dialog open.
  await page.locator('#open-settings').press('Enter');
  await page.locator('[name=top_p]').fill('7');
  await page.locator('#settings button[type=submit]').press('Enter');
  assert.ok(await page.locator('#settings').isVisible());
  await page.locator('#reset-settings').press('Enter');
  await page.locator('#settings button[type=submit]').press('Enter');
  await page.locator('#settings').waitFor({ state: 'hidden' });
});

test('Markdown is rendered; HTML and anything that could fetch or run is not', async () => {
  await freshConversation(page);
  const evil = 'https://evil.example/';
  await writes(page, [
    '# Title\n\n3. third\n\n**bold**, `code`, <b id="raw">raw</b>\n\n```rust\nfn main() {}\n', `\`\`\`\n\n| a | b |\n|---|--:|\n| 1 | ${'wide'.repeat(40)} |\n\n`,
    `![image](${evil}a.png) <img src="${evil}b.png" onerror="window.ran=1"> <script>window.ran=1</script>\n\n`,
    `[script](javascript:window.ran=1) [web](${evil}) <a href="${evil}" style="position:fixed">x</a> <iframe src="${evil}"></iframe>\n`,
  ]);
  await ask(page, 'What is lfm2-wgpu?');
  const body = page.locator('.turn.model .body').last();
  assert.equal(await body.locator('h1').innerText(), 'Title');
  assert.equal(await body.locator('strong').innerText(), 'bold');
  assert.equal(await body.locator('pre code').innerText(), 'fn main() {}\n');
  assert.equal(await body.locator('td').count(), 2);
  assert.match(await body.locator('td').last().evaluate((cell) => getComputedStyle(cell).textAlign), /right/);
  assert.equal(await body.locator('ol').getAttribute('start'), '3');
  assert.equal(await body.locator('img, script, iframe, style, [style], #raw, b').count(), 0);
  assert.match(await body.innerText(), /<b id="raw">raw<\/b>[\s\S]*<img src/, 'markup is text');
  const links = await body.locator('a[href]').evaluateAll((links) => links.map(({ href, rel, target }) => [href, rel, target]));
  assert.ok(links.length >= 1 && links.every(([href, rel, target]) => href.startsWith(evil) && rel === 'noopener noreferrer' && target === '_blank'), JSON.stringify(links));
  assert.equal(await page.evaluate(() => window.ran), undefined);

  await page.setViewportSize({ width: 360, height: 740 });
  assert.deepEqual(await overflow(), [], 'at 360 pixels');
  await page.locator('#open-settings').click();
  assert.deepEqual(await overflow(), [], 'nor the dialog');
  await page.keyboard.press('Escape');
  await page.setViewportSize({ width: 1280, height: 800 });
});

test('Arabic is shown from right to left', async () => {
  await freshConversation(page);
  const direction = (selector) => page.locator(selector).last().evaluate((element) => getComputedStyle(element).direction);
  await page.locator('#question').fill('ما اسمك؟');
  assert.equal(await direction('#question'), 'rtl');
  assert.match(await ask(page, 'ما اسمك؟'), /[\u0600-\u06ff]/);
  assert.equal(await direction('.turn.user p'), 'rtl');
  assert.equal(await direction('.turn.model .body p'), 'rtl');
  await ask(page, 'Hi');
  assert.equal(await direction('.turn.user p'), 'ltr');
});

test('dark or light follows the system until it is switched', async () => {
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.emulateMedia({ colorScheme: 'light' });
  const light = await background();
  await page.emulateMedia({ colorScheme: 'dark' });
  const dark = await background();
  assert.notEqual(light, dark);
  await page.locator('#theme').press('Enter');
  assert.equal(await background(), light);
  assert.match(await page.locator('#theme').getAttribute('aria-label'), /dark/);
});

test('after the GPU is lost the same conversation continues', async () => {
  await freshConversation(page);
  await ask(page, 'My name is Ada.');
  await page.workers()[0].evaluate(() => {
    const { createCommandEncoder } = GPUDevice.prototype;
    let n = 3;
    GPUDevice.prototype.createCommandEncoder = function (...about) {
      if (--n === 0) this.destroy();
      return createCommandEncoder.apply(this, about);
    };
  });
  await ask(page, 'What is my name?');
  assert.equal(await text('.problem p'), 'The GPU was reset or removed. Load the model again to continue.');
  const phases = page.evaluate(() => new Promise((resolve) => {
    const seen = new Set();
    const observer = new MutationObserver(() => {
      const [phase, detail] = [...document.querySelectorAll('.loading .steps span')].map(({ textContent }) => textContent);
      if (phase) seen.add(phase).add(`${phase} ${detail}`);
      else if (seen.size > 0) resolve([...seen]);
    });
    observer.observe(document.querySelector('#turns'), { childList: true, subtree: true, characterData: true });
  }));
  await page.locator('.problem .button').first().press('Enter');
  assert.ok((await phases).includes('Copying to the GPU, from the cache'), JSON.stringify(await phases));
  assert.ok((await phases).some((step) => /^Compiling the GPU programs \d+ of \d+$/.test(step)), JSON.stringify(await phases));
  assert.match(await answered(page), /Ada/);
  assert.equal(await page.locator('.problem').count(), 0);
});

/** The file that a button downloads. */
async function exported(name) {
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name }).first().press('Enter')]);
  return { name: download.suggestedFilename(), text: await readFile(await download.path(), 'utf8') };
}

test('a reload keeps the model and the conversations, which are listed, exported, imported and deleted', async () => {
  await freshConversation(page);
  await ask(page, 'What time is it in Rome?');
  await freshConversation(page);
  await ask(page, 'My name is Ada.');
  const before = await page.locator('.turn').allInnerTexts();
  // An answer that is interrupted by a reload.
  await page.workers()[0].evaluate(() => {
    const post = self.postMessage;
    self.postMessage = (message) => (['piece', 'reply'].includes(message.tell) ? undefined : post.call(self, message));
  });
  await page.locator('#question').fill('What is my name?');
  await page.keyboard.press('Enter');
  await page.locator('#stop').waitFor();
  // A page that is busy until then, which hears of its storage late.
  await page.evaluate(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      for (const start = performance.now(); performance.now() < start + 30; );
      port2.postMessage('');
    };
    port2.postMessage('');
  });
  const requests = seen.requests.length;
  await page.reload();
  await page.getByText('The last question has no answer yet.').waitFor();
  const after = await page.locator('.turn').allInnerTexts();
  assert.equal(after.length, 3, 'the last question is there, though it was not answered');
  // The earlier answer is no longer the last, and cannot be generated again.
  assert.deepEqual(after.slice(0, 2).map((turn) => turn.replace(/\s+/g, ' ')), before.map((turn) => turn.replace('Answer again', '').replace(/\s+/g, ' ')));
  assert.deepEqual(seen.requests.slice(requests).filter(({ url }) => url.endsWith('.safetensors')), [], 'the model comes from the cache');
  await page.getByRole('button', { name: 'Answer it' }).press('Enter');
  await page.locator('.problem').waitFor({ state: 'detached' });
  assert.match(await answered(page), /Ada/);
  assert.equal(await page.locator('.problem').count(), 0);

  const dialog = page.locator('#conversations');
  const titles = () => dialog.locator('.opens').allInnerTexts();
  await page.locator('#open-conversations').press('Enter');
  // The list is read from the browser's storage after the dialog opens.
  await dialog.locator('.opens').first().waitFor();
  assert.deepEqual((await titles()).slice(0, 2), ['My name is Ada.', 'What time is it in Rome?']);
  assert.equal(await dialog.locator('[aria-current]').innerText(), 'My name is Ada.');
  const json = await exported('Export as JSON: What time is it in Rome?');
  assert.equal(json.name, 'What time is it in Rome-.json');
  const { messages } = JSON.parse(json.text);
  assert.deepEqual(messages.map(({ role }) => role), ['user', 'assistant', 'tool', 'assistant']);
  assert.equal(messages[1].tool_calls[0].function.name, 'get_time');
  assert.equal(messages[2].tool_call_id, messages[1].tool_calls[0].id);
  const { text: markdown } = await exported('Export as Markdown: What time is it in Rome?');
  assert.match(markdown, /^# What time is it in Rome\?\n\n## You\n\nWhat time[\s\S]*get_time\(\{"city":"Rome"\}\)[\s\S]*"time":/);
  await page.setViewportSize({ width: 360, height: 740 });
  assert.deepEqual(await overflow(), []);
  await page.setViewportSize({ width: 1280, height: 800 });

  // A conversation from elsewhere, by a reasoning model; and files that are not conversations.
  const thought = { role: 'assistant', content: 'Four.', reasoning_content: 'Two and **two**' };
  const file = (name, text) => ({ name, mimeType: 'application/json', buffer: Buffer.from(text) });
  const count = (await titles()).length;
  await page.locator('#import').setInputFiles([
    file('a.json', JSON.stringify({ messages: [{ role: 'system', content: 'Think.' }, { role: 'user', content: 'What is 2 + 2?' }, thought] })),
    file('b.json', '{"messages": [{"role": "user"'),
    file('c.json', '[{"role": "robot", "content": "x"}]'),
  ]);
  await page.getByText('c.json is not a conversation: message 1 has the role "robot".').waitFor();
  assert.match(await text('#conversations-note'), /“What is 2 \+ 2\?” was imported\. b\.json is not a conversation: it is not JSON\./);
  assert.equal((await titles()).length, count + 1);
  await dialog.getByRole('button', { name: 'What is 2 + 2?', exact: true }).press('Enter');
  await dialog.waitFor({ state: 'hidden' });
  assert.equal(await text('.turn.model .body'), 'Four.');
  const reasoning = page.locator('.reasoning');
  assert.equal(await reasoning.locator('strong').isVisible(), false, 'folded');
  await reasoning.locator('summary').press('Enter');
  assert.equal(await reasoning.locator('strong').innerText(), 'two');
  await page.locator('#open-conversations').press('Enter');
  page.once('dialog', (dialog) => dialog.accept());
  await page.getByRole('button', { name: 'Delete What is 2 + 2?' }).press('Enter');
  await page.locator('#welcome').waitFor({ state: 'attached' });
  await page.waitForFunction((count) => document.querySelectorAll('.opens').length === count, count);
  await page.keyboard.press('Escape');
  await page.locator('#welcome').waitFor();
});

/** Tokens of the last answer's prompt that were computed and reused, and of the answer. */
async function tokens() {
  const told = await stats();
  const number = (pattern) => Number(pattern.exec(told)?.[1] ?? 0);
  return { computed: number(/prompt (\d+)/), reused: number(/(\d+) reused/), answered: number(/· (\d+) tokens/) };
}

/** The states that the page has saved. */
const states = () => page.evaluate(async () => {
  const names = [];
  const folder = await navigator.storage.getDirectory().then((root) => root.getDirectoryHandle('lfm2-wgpu')).then((own) => own.getDirectoryHandle('states', { create: true }));
  // A file may be deleted while they are listed.
  for await (const [name, handle] of folder.entries()) if ((await handle.getFile().catch(() => undefined))?.size) names.push(name);
  return names;
});

test('after a reload, nothing of an earlier turn is computed again', async () => {
  await freshConversation(page);
  await ask(page, 'My name is Ada.');
  await ask(page, 'What is 7 + 5?');
  const before = await tokens();
  const id = await page.evaluate(() => localStorage.getItem('lfm2-chat-page.conversation'));
  // The page writes the new state before it deletes the oldest one.
  const isKept = (names) => names.length <= 4 && names.some((name) => name.includes(id));
  let kept = await states();
  for (let n = 0; n < 100 && !isKept(kept); n++) {
    await page.waitForTimeout(100);
    kept = await states();
  }
  assert.ok(isKept(kept), `${kept}`);
  await page.reload();
  await page.locator('#chat').waitFor();
  assert.match(await ask(page, 'What is my name?'), /Ada/);
  const { computed, reused } = await tokens();
  const earlier = before.computed + before.reused + before.answered;
  assert.ok(reused >= earlier - 2 && computed < 20, JSON.stringify({ before, computed, reused }));

  // Without storage the page only loses this.
  await page.workers()[0].evaluate(() => (StorageManager.prototype.getDirectory = () => Promise.reject(new Error('none'))));
  assert.match(await ask(page, 'What is my name?'), /Ada/);
  await page.locator('#open-conversations').press('Enter');
  await page.locator('.opens').first().waitFor();
  await page.locator('.opens').first().press('Enter');
  assert.match(await ask(page, 'What is my name?'), /Ada/);
  assert.equal(await page.locator('.problem').count(), 0);

  await page.locator('#open-conversations').press('Enter');
  page.once('dialog', (dialog) => dialog.accept());
  await page.getByRole('button', { name: 'Delete My name is Ada.' }).first().press('Enter');
  await page.locator('#welcome').waitFor({ state: 'attached' });
  for (let n = 0; n < 100 && (await states()).some((name) => name.includes(id)); n++) await page.waitForTimeout(100);
  assert.ok(!(await states()).some((name) => name.includes(id)), 'the state goes with its conversation');
  await page.keyboard.press('Escape');
});

test('a wrong URL is reported, and the page stays usable', async () => {
  await page.locator('#change-model').press('Enter');
  await page.locator('#load').waitFor();
  assert.match(await text('#facts'), /Download\s+nothing: all 7\.0 MB are already here/);
  assert.equal(await text('#load'), 'Load');
  await page.locator('input[value=remote]').press('Space');
  const proposed = await page.locator('#proposed li').allInnerTexts();
  assert.match(proposed[0], /^LFM2\.5-8B-A1B\s+4\.8 GB/, 'the best model is first');
  assert.match(proposed.at(-1), /^LFM2\.5-350M\s+Suits this machine\s+220 MB/, 'the one for a machine without a GPU is marked');
  await page.locator('#remote').fill(`${server.address}nowhere/`);
  await page.locator('#remote').press('Enter');
  assert.equal(await text('.problem p'), 'The model is not at this address.');
  await page.getByRole('button', { name: 'Use LFM2 demonstration model' }).press('Enter');
  await page.locator('#load').waitFor();
  assert.equal(await page.locator('.problem').count(), 0);
  await page.setViewportSize({ width: 360, height: 740 });
  assert.deepEqual(await overflow(), []);
  // Files from the disk, picked and dropped.
  const files = Object.entries(packageOf(await demoFiles())).map(([name, buffer]) => ({ name, mimeType: '', buffer }));
  await page.locator('input[value=files]').press('Space');
  await page.locator('#files').setInputFiles(files);
  await page.locator('#load').waitFor();
  assert.equal(await page.locator('#chosen-files li').count(), files.length);
  assert.equal(await text('#verdict'), 'It should run here, but slowly.');
  await page.evaluate(() => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File(['GGUF'], 'broken.gguf'));
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
  });
  await page.locator('#verdict[data-verdict=no]').waitFor();
  assert.deepEqual(await page.locator('#chosen-files li').allInnerTexts(), ['broken.gguf (4 bytes)']);
  assert.equal(await page.locator('#load').isVisible(), false);
});

test('the next visit finds the model in the cache, and can delete it', async () => {
  await page.reload();
  await page.locator('#cached').waitFor();
  assert.match(await text('#cached-models'), /LFM2 demonstration model\s+7\.0 MB, comes with this page/);
  page.once('dialog', (dialog) => dialog.accept());
  await page.getByRole('button', { name: 'Delete LFM2 demonstration model from the cache' }).press('Enter');
  await page.locator('#cached').waitFor({ state: 'hidden' });
  await page.getByText('Download 7.0 MB and load').waitFor();
});

test('the policy is in force: there are no violations, no requests elsewhere, and no eval', async () => {
  assert.deepEqual(seen.violations, []);
  assert.deepEqual(seen.errors, []);
  assert.deepEqual(seen.requests.filter(({ url }) => !url.startsWith(server.address)).map(({ url }) => url), []);
  const policy = await page.locator('meta[http-equiv=Content-Security-Policy]').getAttribute('content');
  assert.match(policy, /default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self';/);
  assert.doesNotMatch(policy, /'unsafe-/);
  const refused = await page.evaluate(() => new Promise((resolve) => setTimeout(() => {
    try {
      resolve(new Function('return "allowed"')());
    } catch (error) {
      resolve(error.name);
    }
  })));
  assert.equal(refused, 'EvalError');
});
