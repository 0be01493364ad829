import { createWorkerEngine } from 'lfm2-wgpu';

import { byId } from './dom.js';
import { render } from './markdown.js';

const log = byId('log', HTMLElement);
const engine = await createWorkerEngine({ model: new URL('demo/', document.baseURI), onProgress: (p) => (log.textContent = p.phase) });
const stream = await engine.chat.completions.create({ messages: [{ role: 'user', content: 'What is lfm2-wgpu?' }], stream: true });
let text = '';
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta.content ?? '';
  log.replaceChildren(render(text));
}
