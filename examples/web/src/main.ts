import { Chat } from './chat.js';
import { byId } from './dom.js';
import { SettingsDialog } from './settings.js';
import { Setup } from './setup.js';
import { setUpTheme } from './theme.js';

const modelLine = byId('model-line', HTMLElement);
const plain = modelLine.textContent;
const changeModel = byId('change-model', HTMLButtonElement);

setUpTheme();
const chat = new Chat(new SettingsDialog(), () => void change());
const setup = new Setup((engine, choice) => {
  modelLine.textContent = `${choice.label} · ${engine.info.gpu}`;
  changeModel.hidden = false;
  chat.open(engine, choice);
});
changeModel.addEventListener('click', () => void change());
setup.show();

async function change(): Promise<void> {
  const problem: unknown = await chat.close().catch((thrown: unknown) => thrown);
  changeModel.hidden = true;
  modelLine.textContent = plain;
  setup.show(problem);
  byId('setup-title', HTMLElement).focus();
}
