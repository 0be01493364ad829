import type { Preflight } from 'lfm2-wgpu';

import { byId, make } from './dom.js';
import { bytes, count, parameters } from './format.js';

const VERDICTS: Record<Preflight['verdict'], string> = {
  ok: 'It should run here.',
  risky: 'It may run here.',
  no: 'It cannot run here.',
};

/** Shows what `preflight` says, and how it can be gone on with. */
export function showReport(told: Preflight): void {
  const { verdict, reasons, bytes: size, memory, contextLength, parameters: size2, storage, gpu } = told;
  const line = byId('verdict', HTMLElement);
  line.dataset.verdict = verdict;
  line.textContent = VERDICTS[verdict];
  byId('reasons', HTMLElement).replaceChildren(...reasons.map((reason) => make('li', {}, reason)));

  const facts: [string, string][] = [];
  if (size !== undefined) facts.push(['Download', download(size)]);
  if (memory !== undefined) {
    facts.push(['GPU memory', `${bytes(memory.total)}, ${bytes(memory.weights)} of it weights`]);
  }
  if (storage !== undefined) facts.push(['Room in this browser', bytes(storage)]);
  if (contextLength !== undefined) facts.push(['Conversation', `up to ${count(contextLength)} tokens`]);
  if (size2 !== undefined) facts.push(['Parameters', parameters(size2)]);
  if (gpu !== undefined) facts.push(['GPU', `${gpu.name}${gpu.software ? ', in software' : ''}`]);
  byId('facts', HTMLElement).replaceChildren(
    ...facts.flatMap(([name, fact]) => [make('dt', {}, name), make('dd', {}, fact)]),
  );

  const load = byId('load', HTMLButtonElement);
  load.hidden = verdict === 'no';
  const missing = size === undefined ? 0 : size.total - size.cached;
  load.textContent = missing > 0 ? `Download ${bytes(missing)} and load` : 'Load';
}

function download({ total, cached }: NonNullable<Preflight['bytes']>): string {
  if (cached === 0) return bytes(total);
  if (cached < total) return `${bytes(total - cached)}; ${bytes(cached)} of ${bytes(total)} are here already`;
  return `nothing: all ${bytes(total)} are here already`;
}
