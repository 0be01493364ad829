//! Hostile templates are refused in under a second and with bounded memory.
//!
//! Every case runs in its own process. A stack overflow or excessive memory is then one failure and
//! can be measured.

use super::hostile_cases::{cases, deepest};
use lfm2_wgpu::text::{ChatTemplate, Conversation, Message, SpecialTokenTexts, TextError};
use std::process::{Command, Output};
use std::time::Duration;

const CASE: &str = "LFM2_TEST_HOSTILE_CASE";
/// Maximum peak memory of the child. The test binary itself takes about 30 MB of it.
const MAX_PEAK_KIB: u64 = 130_000;

fn run(source: &str) -> Result<String, TextError> {
    let template = ChatTemplate::new(source, &SpecialTokenTexts::default())?;
    template.render(&Conversation::new([Message::user("Hi")]), true)
}

/// Processor time of this thread. On a busy machine, wall-clock time would be longer.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every unix, and the pointer is to a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The child process of [`hostile_templates_are_refused`]: runs one case and prints its outcome.
#[test]
#[ignore = "run by hostile_templates_are_refused"]
fn child() {
    let Ok(name) = std::env::var(CASE) else {
        return;
    };
    let hostile = cases().into_iter().map(|(n, source, _)| (n, source));
    let (_, source) = hostile.chain(deepest()).find(|(n, _)| *n == name).unwrap();
    let start = processor_time();
    let outcome = run(&source);
    let took = (processor_time() - start).as_millis();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).map(str::trim);
    let peak = peak.and_then(|l| l.strip_suffix(" kB")).unwrap_or("0");
    match outcome {
        Ok(text) => println!("\nOUTCOME {took} {peak} accepted: {} bytes", text.len()),
        Err(error) => println!("\nOUTCOME {took} {peak} refused: {error}"),
    }
}

/// Runs the child for a case. It is stopped after 5 seconds of processor time or at 3 GB.
fn limited(name: &str) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c 0; ulimit -v 3000000; ulimit -t 5; exec \"$0\" \"$@\""]);
    command.arg(std::env::current_exe().unwrap());
    command.args([
        "text::hostile::child",
        "--exact",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    // A browser gives a module 1 MiB of stack.
    command.env("RUST_MIN_STACK", (1 << 20).to_string());
    command.env(CASE, name).output().unwrap()
}

struct Outcome {
    took: Duration,
    peak_kib: u64,
    verdict: String,
}

/// The outcome of a case, or the failure of its process.
fn outcome(name: &str) -> Result<Outcome, String> {
    let output = limited(name);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let Some(line) = stdout.lines().find_map(|l| l.strip_prefix("OUTCOME ")) else {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name}: {}: {stderr}", output.status));
    };
    let mut words = line.splitn(3, ' ');
    let took = Duration::from_millis(words.next().unwrap().parse().unwrap());
    let peak_kib = words.next().unwrap().parse().unwrap();
    let verdict = words.next().unwrap().to_owned();
    if std::env::var_os("LFM2_TEST_VERBOSE").is_some() {
        println!("{name}: {took:?} {peak_kib} KiB {verdict}");
    }
    if took >= Duration::from_secs(1) || peak_kib > MAX_PEAK_KIB {
        return Err(format!("{name}: {took:?}, {peak_kib} KiB, {verdict}"));
    }
    Ok(Outcome { took, peak_kib, verdict })
}

fn no_failures(failures: &[String], cases: usize) {
    assert!(failures.is_empty(), "{} of {cases}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn hostile_templates_are_refused() {
    let cases = cases();
    assert!(cases.len() >= 14);
    let failures = cases.iter().filter_map(|(name, _, expected)| match outcome(name) {
        Ok(o) if o.verdict.starts_with("refused:") && o.verdict.contains(expected) => None,
        Ok(o) => Some(format!("{name}: {:?}, {} KiB, {}", o.took, o.peak_kib, o.verdict)),
        Err(failure) => Some(failure),
    });
    no_failures(&failures.collect::<Vec<_>>(), cases.len());
}

#[test]
fn the_deepest_templates_fit_a_small_stack() {
    let cases = deepest();
    let failures = cases.iter().filter_map(|(name, _)| outcome(name).err());
    no_failures(&failures.collect::<Vec<_>>(), cases.len());
}
