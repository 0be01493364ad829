// Headless Chromium, with WebGPU on its software adapter SwiftShader.
import { chromium } from 'playwright-core';

const ARGS = [
  '--headless=new',
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--no-first-run',
  '--disable-quic',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Starts the browser with further arguments. `close()` ends it. */
export function launch(more = []) {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...ARGS, ...more] });
}

/** A page of the server's origin in a browser or context, which has the package as the global `lfm2`. */
export async function openPage(context, address) {
  const page = await context.newPage();
  page.setDefaultTimeout(180_000);
  page.on('console', (message) => console.log(`[page] ${message.text()}`));
  page.on('pageerror', (error) => console.log(`[page] ${error}`));
  await page.goto(`${address}/`);
  await page.evaluate(async () => {
    globalThis.lfm2 = await import('/dist/index.js');
  });
  return page;
}
