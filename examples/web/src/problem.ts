import { make } from './dom.js';

/** An error with a sentence for the visitor, as the package's errors have one. */
export interface Problem {
  code: string;
  /** For the developer. */
  message: string;
  forVisitor: string;
}

/** An action that the visitor can take about a problem. */
export interface Remedy {
  label: string;
  run: () => void;
}

/** Describes any thrown value. */
export function asProblem(thrown: unknown): Problem {
  if (thrown instanceof Error && 'code' in thrown && 'forVisitor' in thrown) return thrown as Error & Problem;
  return { code: 'internal', message: String(thrown), forVisitor: 'An unexpected error occurred. Reload the page.' };
}

/** A notice of an error: the sentence for the visitor, and the details on demand. */
export function notice({ forVisitor, code, message }: Problem, remedies: Remedy[] = []): HTMLElement {
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
