// Makes the screenshots of the chat page in docs/web: node web/tools/page_screenshots.mjs [folder]
// Build the page first. The answers are the demonstration model's.
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { launch } from '../tests/browser.mjs';
import { ask, loadDemo, openChatPage, servePage, setField } from '../tests/page.mjs';

const folder = process.argv[2] ?? fileURLToPath(new URL('../../docs/web', import.meta.url));
await mkdir(folder, { recursive: true });
const server = await servePage();
const browser = await launch();
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' });
  const { page } = await openChatPage(context, server.address);
  await loadDemo(page);
  await setField(page, 'temperature', '0');
  for (const question of ['What is lfm2-wgpu?', 'What time is it in Rome?']) await ask(page, question);
  await page.locator('#question').focus();
  await page.screenshot({ path: path.join(folder, 'page-1280.png') });
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize({ width: 360, height: 740 });
  await ask(page, 'ما اسمك؟');
  await page.screenshot({ path: path.join(folder, 'page-360.png') });
} finally {
  await browser.close();
  await server.close();
}
