//! `lfm2` at a terminal: a pseudo-terminal of script(1), which every Linux has.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lfm2;

/// Longest wait for text on the screen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program at a terminal, and its user.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
    /// Times of output, and the length of the screen's text after each.
    moments: Arc<Mutex<Vec<(Instant, usize)>>>,
    /// Number of bytes of the screen already checked.
    seen: usize,
}

impl Terminal {
    /// Starts the program; `redirect` is shell text after the command.
    fn start(args: &[&str], redirect: &str) -> Self {
        Self::of(&lfm2(args), redirect)
    }

    pub fn of(inner: &Command, redirect: &str) -> Self {
        let quoted = |s: &std::ffi::OsStr| format!("'{}'", s.to_str().unwrap());
        let words: Vec<_> =
            std::iter::once(inner.get_program()).chain(inner.get_args()).map(quoted).collect();
        let mut script = Command::new("script");
        // Without `exec`, Ctrl-C also reaches the shell in between, and some shells exit with 130.
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
                let mut screen = shown.lock().unwrap();
                screen.extend_from_slice(&piece[..n]);
                noted.lock().unwrap().push((Instant::now(), screen.len()));
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

    /// Waits for a new text; returns all new output up to it.
    pub fn wait(&mut self, words: &str) -> String {
        self.wait_until(words, |text| text.contains(words))
    }

    /// Waits for a new text and the prompt after it; returns all new output. Without the prompt the terminal is not
    /// in raw mode, and a Ctrl-D would end nothing.
    pub fn wait_for_prompt(&mut self, words: &str) -> String {
        self.wait_until(words, |text| {
            text.split_once(words).is_some_and(|(_, rest)| rest.contains("Send a message"))
        })
    }

    /// The time to the first output, the longest pause after it, and the last text before that pause.
    pub fn silences(&self, started: Instant) -> (Duration, Duration, String) {
        let moments = self.moments.lock().unwrap();
        let gaps = moments.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[0].1));
        let (longest, end) = gaps.max().unwrap_or_default();
        let before = &self.screen.lock().unwrap()[end.saturating_sub(200)..end];
        (moments[0].0 - started, longest, String::from_utf8_lossy(before).into_owned())
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
        panic!("the program does not end: {:?}", self.new_text());
    }
}

#[test]
fn ctrl_c_stops_the_answer_and_ctrl_d_ends_the_chat() {
    let random = ["chat", "--temp", "100", "--min-p", "0", "-s", "1", "--no-history"];
    let mut t = Terminal::start(&random, "");
    t.wait("Send a message (/? for help)");
    t.press("\x03");
    t.wait("Use Ctrl-D or /exit to leave.");
    // The placeholder cannot be sent as a message.
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
    t.wait_for_prompt("user: two");
    t.press("\x04");
    assert_eq!(t.exit_code(), Some(0));
}

#[test]
fn quotes_enclose_several_lines_and_the_history_is_kept() {
    let mut t = Terminal::start(&["chat", "--temp", "0", "-n", "4"], "");
    t.wait("Send a message");
    t.press("\"\"\"\rHello\rthere\r\"\"\"\r");
    t.wait("first token");
    t.press("/show\r");
    assert!(t.wait("user: Hello").contains("temperature 0"));
    t.press("/bye\r");
    assert_eq!(t.exit_code(), Some(0));
    // The next chat has the history; two arrows up show the line before /bye.
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
    t.wait_for_prompt("first token");
    t.press("\x04");
    assert_eq!(t.exit_code(), Some(0));
    let answer = std::fs::read_to_string(file).unwrap();
    assert!(!answer.contains(">>>") && !answer.contains('\x1b'), "{answer:?}");
    assert_eq!(answer.lines().count(), 1, "{answer:?}");
}

/// The program in a shell that writes down its process id, and the terminal's modes after its end.
struct InShell {
    folder: tempfile::TempDir,
    terminal: Terminal,
}

impl InShell {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let inner = lfm2(args);
        let words = std::iter::once(inner.get_program()).chain(inner.get_args());
        let words: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let run = format!(
            "trap : INT; (exec sh -c 'echo $$ > {}; exec \"$@\"' sh {}); code=$?\n\
             stty -a > '{}'; exit $code",
            file("pid"),
            words.join(" "),
            file("modes")
        );
        std::fs::write(file("run.sh"), run).unwrap();
        let mut shell = Command::new("sh");
        shell.arg(file("run.sh"));
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let terminal = Terminal::of(&shell, "");
        Self { folder, terminal }
    }

    fn terminate(&self) {
        let pid = std::fs::read_to_string(self.folder.path().join("pid")).unwrap();
        assert!(Command::new("kill").args(["-TERM", pid.trim()]).status().unwrap().success());
    }

    /// Asserts the exit code, and that the terminal echoes whole lines again.
    fn ends_with(self, code: i32) {
        assert_eq!(self.terminal.exit_code(), Some(code));
        let modes = std::fs::read_to_string(self.folder.path().join("modes")).unwrap();
        let on: Vec<_> = modes.split_whitespace().map(|word| word.trim_end_matches(';')).collect();
        assert!(on.contains(&"echo") && on.contains(&"icanon"), "{modes}");
    }
}

/// A text with a prefill long enough to be interrupted.
fn long_file() -> (tempfile::TempDir, String) {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("long");
    std::fs::write(&file, "word ".repeat(1500)).unwrap();
    let path = file.to_str().unwrap().to_owned();
    (folder, path)
}

/// The second Ctrl-C ends the process at once, while the echo is off.
#[test]
fn a_second_ctrl_c_during_prefill_restores_the_terminal() {
    let (_folder, file) = long_file();
    let mut shell = InShell::start(&["generate", "-f", &file, "--temp", "0", "-n", "1"]);
    shell.terminal.wait("prompt 0/15");
    shell.terminal.press("\x03");
    std::thread::sleep(Duration::from_millis(30));
    shell.terminal.press("\x03");
    shell.ends_with(130);
}

#[test]
fn sigterm_during_an_answer_restores_the_terminal() {
    let (_folder, file) = long_file();
    let mut shell = InShell::start(&["generate", "-f", &file, "--temp", "0", "-n", "1"]);
    shell.terminal.wait("prompt 0/15");
    shell.terminate();
    shell.ends_with(143);
}

#[test]
fn sigterm_at_the_prompt_of_a_chat_restores_the_terminal() {
    let mut shell = InShell::start(&["chat", "--no-history"]);
    shell.terminal.wait("Send a message");
    shell.terminate();
    shell.ends_with(143);
}
