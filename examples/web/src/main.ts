import { Chat } from './chat.js';
import { ConversationsDialog } from './conversations.js';
import { byId } from './dom.js';
import { bytes, count, parameters } from './format.js';
import { KeptConversations } from './kept.js';
import { SettingsDialog } from './settings.js';
import { Setup } from './setup.js';
import { KeptStates } from './states.js';
import { write } from './storage.js';
import { setUpTheme } from './theme.js';

const modelLine = byId('model-line', HTMLElement);
const plain = modelLine.textContent;
const changeModel = byId('change-model', HTMLButtonElement);

setUpTheme();
const kept = new KeptConversations();
const chat = new Chat(new SettingsDialog(), kept, () => void change());
chat.list = new ConversationsDialog(kept, (one) => void chat.show(one), (id) => chat.leave(id));
const setup = new Setup((engine, choice) => {
  modelLine.textContent = `${choice.label} · ${engine.info.gpu}`;
  changeModel.hidden = false;
  const { info } = engine;
  const about = [
    choice.label,
    `${parameters(info.parameters)} parameters in ${info.weightFormat}`,
    `${count(info.contextLength)} tokens of context`,
    `${bytes(info.memory.total)} on ${info.gpu}`,
    ...(typeof choice.model === 'string' ? [info.cached ? 'kept for the next visit' : 'not kept: the next visit downloads it again'] : []),
  ];
  chat.open(engine, about, new KeptStates(engine));
});
changeModel.addEventListener('click', () => void change());
void setup.resume();

async function change(): Promise<void> {
  write('model', '');
  const problem: unknown = await chat.close().catch((thrown: unknown) => thrown);
  changeModel.hidden = true;
  modelLine.textContent = plain;
  setup.show(problem);
  byId('setup-title', HTMLElement).focus();
}
