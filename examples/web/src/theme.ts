import { byId } from './dom.js';
import { read, write } from './storage.js';

/** The switch between light and dark. Until it is used, the system's setting applies. */
export function setUpTheme(): void {
  const button = byId('theme', HTMLButtonElement);
  const label = byId('theme-label', HTMLElement);
  const system = matchMedia('(prefers-color-scheme: dark)');
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme === undefined ? system.matches : root.dataset.theme === 'dark');
  const show = () => {
    label.textContent = isDark() ? 'Light' : 'Dark';
    button.setAttribute('aria-label', isDark() ? 'Switch to light colours' : 'Switch to dark colours');
  };
  const kept = read('theme');
  if (kept === 'dark' || kept === 'light') root.dataset.theme = kept;
  button.addEventListener('click', () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    write('theme', root.dataset.theme);
    show();
  });
  system.addEventListener('change', show);
  show();
}
