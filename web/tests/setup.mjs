// The server and the browser that the tests of a file share.
import { after, before } from 'node:test';

import { launch } from './browser.mjs';
import { serve } from './server.mjs';

/** Starts both before the file's first test, and ends them after its last one. */
export function serverAndBrowser() {
  const both = {};
  before(async () => {
    both.server = await serve();
    both.browser = await launch();
  });
  after(async () => {
    await both.browser?.close();
    await both.server?.close();
  });
  return both;
}
