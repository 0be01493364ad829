//! Cost of a command: an error may take a second and 100 MB more than a valid start.

use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::lfm2;

/// Cost of one run.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    elapsed: Duration,
    /// Processor time, if the system reports it.
    processor: Option<Duration>,
    /// Peak memory in bytes, if the system reports it.
    pub memory: Option<u64>,
}

/// A longer run is a hang, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const MORE_TIME: Duration = Duration::from_secs(1);
const MORE_MEMORY: u64 = 100_000_000;

/// Checks the cost of an error. Compares processor time, since the machine may be busy.
pub fn assert_small(command: &Command, cost: Cost) {
    let start = valid_start();
    assert!(cost.elapsed < PATIENCE, "{command:?} took {cost:?}");
    if let (Some(a), Some(b)) = (cost.processor, start.processor) {
        assert!(a < b + MORE_TIME, "{command:?}: {cost:?}, a valid start {start:?}");
    }
    if let (Some(a), Some(b)) = (cost.memory, start.memory) {
        assert!(a < b + MORE_MEMORY, "{command:?}: {cost:?}, a valid start {start:?}");
    }
}

/// Cost of a valid answer of one token, after the self-test.
fn valid_start() -> Cost {
    static COST: OnceLock<Cost> = OnceLock::new();
    *COST.get_or_init(|| {
        let run = || measured(&mut lfm2(&["-q", "generate", "-p", "x", "-n", "1"]));
        assert!(run().0.status.success());
        run().1
    })
}

#[cfg(not(unix))]
pub fn measured(command: &mut Command) -> (Output, Cost) {
    let started = Instant::now();
    let output = command.output().unwrap();
    (output, Cost { elapsed: started.elapsed(), processor: None, memory: None })
}

#[cfg(unix)]
#[allow(clippy::zombie_processes, reason = "wait4 waits for it")]
pub fn measured(command: &mut Command) -> (Output, Cost) {
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitStatus, Stdio};

    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let reader = std::thread::spawn(move || {
        err.read_to_end(&mut stderr).unwrap();
        stderr
    });
    out.read_to_end(&mut stdout).unwrap();
    let stderr = reader.join().unwrap();
    let (pid, mut status) = (libc::pid_t::try_from(child.id()).unwrap(), 0);
    // SAFETY: a zeroed rusage is a valid one, both pointers live over the call, and nobody else
    // waits for this child.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &raw mut status, 0, &raw mut usage), usage)
    };
    assert_eq!(waited, pid);
    let time = |t: libc::timeval| {
        let seconds = Duration::from_secs(u64::try_from(t.tv_sec).unwrap());
        seconds + Duration::from_micros(u64::try_from(t.tv_usec).unwrap())
    };
    // Linux counts in KiB, Apple in bytes.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let cost = Cost {
        elapsed: started.elapsed(),
        processor: Some(time(usage.ru_utime) + time(usage.ru_stime)),
        memory: Some(u64::try_from(usage.ru_maxrss).unwrap() * unit),
    };
    (Output { status: ExitStatus::from_raw(status), stdout, stderr }, cost)
}

/// lavapipe kept 1 MB of every dispatch whose loop ended at a uniform (`bound` in the shaders).
#[test]
fn memory_does_not_grow_with_the_tokens() {
    let folder = tempfile::TempDir::new().unwrap();
    let out = folder.path().join("logits.safetensors");
    // Mixtures of 32-bit and 16-bit weights.
    for model in ["tests/fixtures/tiny-a", "tests/fixtures/tiny-b"] {
        let memory = |tokens: usize| {
            let ids = vec!["1"; tokens].join(",");
            let model = super::root(model);
            let args = ["-q", "-c", "512", "-m", model.to_str().unwrap(), "logits", "--chunk", "1"];
            let mut command = lfm2(&args);
            command.args(["--tokens", &ids, "--out"]).arg(&out);
            let (output, cost) = measured(&mut command);
            assert!(output.status.success(), "{output:?}");
            cost.memory
        };
        if let (Some(few), Some(many)) = (memory(20), memory(320)) {
            assert!(many < few + 50_000_000, "{model}: {few} bytes, then {many}");
        }
    }
}
