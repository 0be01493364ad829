// The page as `lfm2 serve` sends it: its model is the server's.
import { Chat } from './chat.js';
import { ConversationsDialog } from './conversations.js';
import { byId } from './dom.js';
import { count, parameters } from './format.js';
import { KeptConversations } from './kept.js';
import { asProblem, notice } from './problem.js';
import { ServerModel } from './server-model.js';
import { SettingsDialog } from './settings.js';
import { setUpTheme } from './theme.js';

/** The key's name in the session's storage, which ends with the tab. */
const KEY = 'lfm2-chat-page.key';

const modelLine = byId('model-line', HTMLElement);
const section = byId('connection', HTMLElement);

setUpTheme();
const kept = new KeptConversations();
const chat = new Chat(new SettingsDialog(), kept);
chat.list = new ConversationsDialog(kept, (one) => void chat.show(one), (id) => chat.leave(id));
void connect();

async function connect(): Promise<void> {
  byId('connection-problem', HTMLElement).replaceChildren();
  const hint = byId('connection-hint', HTMLElement);
  hint.hidden = false;
  try {
    const model = await ServerModel.connect(sessionStorage.getItem(KEY) ?? '', askKey);
    const { id, max_model_len, meta } = model.served;
    modelLine.textContent = `${id} · ${meta.gpu}, on the server`;
    const about = [id, `${parameters(meta.n_params)} parameters in ${meta.weights}`, `${count(max_model_len)} tokens of context`, `on ${meta.gpu}`];
    section.hidden = true;
    chat.open(model, about);
  } catch (thrown) {
    hint.hidden = true;
    const again = { label: 'Try again', run: () => void connect() };
    byId('connection-problem', HTMLElement).replaceChildren(notice(asProblem(thrown), [again]));
  }
}

/** Asks the visitor for the server's key, and keeps it until the tab is closed. */
function askKey(): Promise<string> {
  const dialog = byId('key', HTMLDialogElement);
  const field = byId('key-text', HTMLInputElement);
  field.value = '';
  dialog.showModal();
  return new Promise((resolve) => {
    const given = () => {
      sessionStorage.setItem(KEY, field.value);
      resolve(field.value);
    };
    dialog.addEventListener('close', given, { once: true });
  });
}
