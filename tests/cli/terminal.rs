//! `lfm2 chat` at a terminal: a pseudo-terminal from script(1), which every Linux has.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lfm2;

/// How long to wait for something on the screen before it counts as a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with a person at it.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
    /// When something came to the screen.
    moments: Arc<Mutex<Vec<Instant>>>,
    /// How much of the screen has been looked at.
    seen: usize,
}

impl Terminal {
    /// Starts the program; `redirect` is shell text behind the command.
    fn start(args: &[&str], redirect: &str) -> Self {
        Self::of(&lfm2(args), redirect)
    }

    pub fn of(inner: &Command, redirect: &str) -> Self {
        let quoted = |s: &std::ffi::OsStr| format!("'{}'", s.to_str().unwrap());
        let words: Vec<_> =
            std::iter::once(inner.get_program()).chain(inner.get_args()).map(quoted).collect();
        let mut script = Command::new("script");
        // Without `exec` the shell between gets Ctrl-C too, and some shells then end with 130.
        script.args(["-qec", &format!("exec {} {redirect}", words.join(" ")), "/dev/null"]);
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().expect("script(1) of bsdutils or util-linux");
        let (keys, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = screen.clone();
        let moments = Arc::new(Mutex::new(Vec::new()));
        let noted = moments.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut piece) {
                shown.lock().unwrap().extend_from_slice(&piece[..n]);
                noted.lock().unwrap().push(Instant::now());
            }
        });
        Self { child, keys, screen, moments, seen: 0 }
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn new_text(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()[self.seen..]).into_owned()
    }

    fn wait_until(&mut self, what: &str, done: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let text = self.new_text();
            if done(&text) {
                self.seen += text.len().min(self.screen.lock().unwrap().len() - self.seen);
                return text;
            }
            assert!(started.elapsed() < PATIENCE, "{what} is not in {text:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a text that has not been waited for yet; gives all that came with it.
    pub fn wait(&mut self, words: &str) -> String {
        self.wait_until(words, |text| text.contains(words))
    }

    /// Until something was first shown, and the longest silence behind that so far.
    pub fn silences(&self, started: Instant) -> (Duration, Duration) {
        let moments = self.moments.lock().unwrap();
        let gaps = moments.windows(2).map(|pair| pair[1] - pair[0]);
        (moments[0] - started, gaps.max().unwrap_or_default())
    }

    pub fn exit_code(mut self) -> Option<i32> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill().unwrap();
        panic!("it does not end: {:?}", self.new_text());
    }
}

#[test]
fn ctrl_c_stops_the_answer_and_ctrl_d_leaves() {
    let random = ["chat", "--temp", "100", "--min-p", "0", "-s", "1", "--no-history"];
    let mut t = Terminal::start(&random, "");
    t.wait("Send a message (/? for help)");
    t.press("\x03");
    t.wait("Use Ctrl-D or /exit to leave.");
    // The placeholder cannot be taken over as a message.
    t.press("\x1b[C\r/tokens\r");
    t.wait("0 of 2048 tokens used, 2048 free");
    t.press("/he\t\r");
    t.wait("start a new conversation");
    // A pasted text of two lines is one message.
    t.press("\x1b[200~two\nlines\x1b[201~\r");
    t.wait_until("an answer", |text| text.len() > 300);
    t.press("\x03");
    let rest = t.wait("first token");
    assert!(!rest.contains("is full"), "the answer went on: {rest:?}");
    t.press("/show\r");
    t.wait("user: two");
    t.press("\x04");
    assert_eq!(t.exit_code(), Some(0));
}

#[test]
fn several_lines_between_quotes_and_a_history() {
    let mut t = Terminal::start(&["chat", "--temp", "0", "-n", "4"], "");
    t.wait("Send a message");
    t.press("\"\"\"\rHello\rthere\r\"\"\"\r");
    t.wait("first token");
    t.press("/show\r");
    assert!(t.wait("user: Hello").contains("temperature 0"));
    t.press("/bye\r");
    assert_eq!(t.exit_code(), Some(0));
    // The next chat remembers what was typed; arrow up twice is the message before /bye.
    let mut t = Terminal::start(&["chat"], "");
    t.wait("Send a message");
    t.press("\x1b[A\x1b[A");
    t.wait("/show");
    t.press("\x15/exit\r");
    assert_eq!(t.exit_code(), Some(0));
}

#[test]
fn a_redirected_answer_has_no_prompt_in_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("answer.txt");
    let args = ["chat", "--temp", "0", "-n", "4", "--no-history"];
    let mut t = Terminal::start(&args, &format!("> '{}'", file.display()));
    t.wait("Send a message");
    t.press("Hello\r");
    t.wait("first token");
    t.press("\x04");
    assert_eq!(t.exit_code(), Some(0));
    let answer = std::fs::read_to_string(file).unwrap();
    assert!(!answer.contains(">>>") && !answer.contains('\x1b'), "{answer:?}");
    assert_eq!(answer.lines().count(), 1, "{answer:?}");
}

/// The second one ends the process at once, while keys are held back.
#[test]
fn ctrl_c_twice_while_the_prompt_is_read_leaves_the_terminal_as_it_was() {
    let folder = tempfile::TempDir::new().unwrap();
    let (long, state) = (folder.path().join("long"), folder.path().join("state"));
    std::fs::write(&long, "word ".repeat(1500)).unwrap();
    let inner = lfm2(&["generate", "-f", long.to_str().unwrap(), "--temp", "0", "-n", "1"]);
    let mut words = inner.get_args().map(|word| word.to_str().unwrap());
    let run = format!(
        "trap : INT; '{}' '{}'; code=$?; stty -a > '{}'; exit $code",
        inner.get_program().to_str().unwrap(),
        words.by_ref().collect::<Vec<_>>().join("' '"),
        state.display()
    );
    let file = folder.path().join("run.sh");
    std::fs::write(&file, run).unwrap();
    let mut shell = Command::new("sh");
    shell.arg(&file);
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut t = Terminal::of(&shell, "");
    t.wait("prompt 0/15");
    t.press("\x03");
    std::thread::sleep(Duration::from_millis(30));
    t.press("\x03");
    assert_eq!(t.exit_code(), Some(130));
    let state = std::fs::read_to_string(state).unwrap();
    let modes: Vec<_> = state.split_whitespace().map(|word| word.trim_end_matches(';')).collect();
    assert!(modes.contains(&"echo") && modes.contains(&"icanon"), "{state}");
}
