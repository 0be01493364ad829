import type { Preflight } from 'lfm2-wgpu';

import { byId, make } from './dom.js';
import { bytes, count, parameters } from './format.js';
import { sized, smallerThan } from './models.js';

const VERDICTS: Record<Preflight['verdict'], string> = {
  ok: 'It should run here.',
  risky: 'It may run here.',
  no: 'It cannot run here.',
};

/** Shows the result of `preflight`, and buttons to continue; `use` is called for a smaller model. */
export function showReport(told: Preflight, use: (model: string) => void): void {
  const { verdict, reasons, bytes: size, memory, contextLength, parameters: size2, storage, gpu } = told;
  const line = byId('verdict', HTMLElement);
  line.dataset.verdict = verdict;
  // On a software adapter the model runs, only slowly.
  const slow = verdict === 'risky' && gpu?.software === true && reasons.length === 1;
  line.textContent = slow ? 'It should run here, but slowly.' : VERDICTS[verdict];
  byId('reasons', HTMLElement).replaceChildren(...reasons.map((reason) => make('li', {}, reason)));

  const facts: [string, string][] = [];
  if (size !== undefined) facts.push(['Download', download(size)]);
  if (memory !== undefined) {
    facts.push(['GPU memory', `${bytes(memory.total)}, ${bytes(memory.weights)} of it weights`]);
  }
  if (storage !== undefined) facts.push(['Free space in this browser', bytes(storage)]);
  if (contextLength !== undefined) facts.push(['Conversation', `up to ${count(contextLength)} tokens`]);
  if (size2 !== undefined) facts.push(['Parameters', parameters(size2)]);
  if (gpu !== undefined) facts.push(['GPU', `${gpu.name}${gpu.software ? ', in software' : ''}`]);
  byId('facts', HTMLElement).replaceChildren(
    ...facts.flatMap(([name, fact]) => [make('dt', {}, name), make('dd', {}, fact)]),
  );

  const smaller = verdict === 'ok' ? [] : smallerThan(size?.total ?? 0);
  const choices = smaller.map((proposed) =>
    make('button', { type: 'button', class: 'button', click: () => use(proposed.model) }, sized(proposed)),
  );
  byId('smaller', HTMLElement).hidden = choices.length === 0;
  byId('smaller-models', HTMLElement).replaceChildren(...choices);

  const load = byId('load', HTMLButtonElement);
  load.hidden = verdict === 'no';
  const missing = size === undefined ? 0 : size.total - size.cached;
  load.textContent = missing > 0 ? `Download ${bytes(missing)} and load` : 'Load';
}

function download({ total, cached }: NonNullable<Preflight['bytes']>): string {
  if (cached === 0) return bytes(total);
  if (cached < total) return `${bytes(total - cached)}; ${bytes(cached)} of ${bytes(total)} are already here`;
  return `nothing: all ${bytes(total)} are already here`;
}
