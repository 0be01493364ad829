import { Lfm2Error } from 'lfm2-wgpu';

import { make } from './dom.js';

/** An action that the visitor can take about a problem. */
export interface Remedy {
  label: string;
  run: () => void;
}

/** Converts any thrown value to an error of the package. */
export function asLfm2Error(thrown: unknown): Lfm2Error {
  return thrown instanceof Lfm2Error ? thrown : new Lfm2Error('internal', String(thrown), { cause: thrown });
}

/** A notice of an error: the sentence for the visitor, and the details on demand. */
export function notice({ forVisitor, code, message }: Lfm2Error, remedies: Remedy[] = []): HTMLElement {
  const buttons = remedies.map(({ label, run }) => make('button', { type: 'button', class: 'button', click: run }, label));
  // The visitor stopped it, and needs no details.
  const behind = code === 'aborted' ? [] : [make('details', {}, make('summary', {}, 'Details'), make('code', {}, `${code}: ${message}`))];
  return make(
    'div',
    { class: code === 'aborted' ? 'problem calm' : 'problem', role: 'alert' },
    make('p', {}, forVisitor),
    ...behind,
    ...(buttons.length > 0 ? [make('div', { class: 'row' }, ...buttons)] : []),
  );
}
