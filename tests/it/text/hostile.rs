//! Hostile templates: each refused in under a second and with bounded memory.
//!
//! Every case runs in a process of its own, so that one that overflows the stack or eats the memory
//! is one failure and can be measured.

use lfm2_wgpu::text::{ChatTemplate, Conversation, Message, SpecialTokenTexts, TextError};
use std::process::{Command, Output};
use std::time::Duration;

const CASE: &str = "LFM2_TEST_HOSTILE_CASE";
/// Peak memory of the child, which holds the test binary's own 30 MB or so.
const MAX_PEAK_KIB: u64 = 130_000;

/// Name, template, and a word that the refusal must hold.
fn cases() -> Vec<(&'static str, String, &'static str)> {
    let s = str::to_owned;
    vec![
        (
            "double a string",
            s(
                "{% set n = namespace(s='ab') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
            ),
            "stopped",
        ),
        (
            "double by plus",
            s(
                "{% set n = namespace(s='ab') %}{% for i in range(40) %}{% set n.s = n.s + n.s %}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "double a captured block",
            s(
                "{% set n = namespace(s='ab') %}{% for i in range(40) %}{% set b %}{{ n.s }}{{ n.s }}{% endset %}{% set n.s = b %}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "double a list",
            s(
                "{% set n = namespace(l=[1, 2]) %}{% for i in range(40) %}{% set n.l = n.l + n.l %}{% endfor %}{{ n.l | length }}",
            ),
            "",
        ),
        (
            "print a doubled list",
            s(
                "{% set n = namespace(l=[1, 2]) %}{% for i in range(40) %}{% set n.l = n.l + n.l %}{% endfor %}{{ n.l }}",
            ),
            "",
        ),
        (
            "a list in itself twice",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(40) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l | tojson }}",
            ),
            "",
        ),
        (
            "print a list in itself twice",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(40) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
            ),
            "",
        ),
        (
            "join a list in itself twice",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(40) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l | join('x') }}{{ n.l | string }}",
            ),
            "",
        ),
        (
            "compare lists in themselves twice",
            s(
                "{% set n = namespace(l=[1], m=[1]) %}{% for i in range(40) %}{% set n.l = [n.l, n.l] %}{% set n.m = [n.m, n.m] %}{% endfor %}{{ n.l == n.m }}",
            ),
            "",
        ),
        (
            "a list in itself deep",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(90000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l | tojson }}",
            ),
            "",
        ),
        (
            "a dict in itself deep",
            s(
                "{% set n = namespace(l={}) %}{% for i in range(90000) %}{% set n.l = {'a': n.l} %}{% endfor %}{{ n.l | tojson }}",
            ),
            "",
        ),
        (
            "tojson of a list in itself deep",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(5000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l | tojson }}",
            ),
            "nested too deeply",
        ),
        (
            "print a list in itself deep",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(20000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}{{ raise_exception('printed') }}",
            ),
            "",
        ),
        (
            "compare lists in themselves deep",
            s(
                "{% set n = namespace(l=[1], m=[1]) %}{% for i in range(12000) %}{% set n.l = [n.l] %}{% set n.m = [n.m] %}{% endfor %}{{ n.l == n.m }}{{ raise_exception('compared') }}",
            ),
            "",
        ),
        (
            "a namespace in itself",
            s("{% set n = namespace() %}{% set n.n = n %}{{ n }}{{ n | tojson }}"),
            "",
        ),
        (
            "nested loops",
            s("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
            "stopped",
        ),
        (
            "four nested loops",
            s(
                "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}{% for d in range(999) %}x{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
            ),
            "stopped",
        ),
        ("a huge range", s("{% for i in range(100000000000000) %}{% endfor %}"), "range"),
        ("a huge range as a list", s("{{ range(100000000000) | list | length }}"), "range"),
        (
            "range below zero by steps",
            s("{% for i in range(0, -1000000000000, -1) %}{% endfor %}"),
            "range",
        ),
        (
            "a macro that calls itself",
            s("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}"),
            "recursion",
        ),
        (
            "two macros that call each other",
            s(
                "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
            ),
            "",
        ),
        (
            "a macro that calls itself twice",
            s(
                "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}x{% endmacro %}{{ f(40) }}",
            ),
            "recursion",
        ),
        (
            "a recursive loop without end",
            s("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
            "recursion",
        ),
        (
            "a caller in a caller",
            s("{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}"),
            "",
        ),
        ("include itself", s("{% include 'chat_template' %}"), ""),
        ("import itself", s("{% import 'chat_template' as t %}{{ t }}"), ""),
        ("extend itself", s("{% extends 'chat_template' %}"), ""),
        ("include a file", s("{% include '/etc/passwd' %}"), ""),
        ("deep ifs", "{% if true %}\n".repeat(5_000) + &"{% endif %}\n".repeat(5_000), "recursion"),
        ("deep fors", "{% for a in [1] %}".repeat(149) + "x" + &"{% endfor %}".repeat(149), ""),
        ("deep parentheses", deep("(", "1", 20_000), "words"),
        ("deep lists", deep("[", "1", 20_000), "words"),
        ("deep nots", deep("not", "1", 20_000), "words"),
        ("deep minus", deep("-", "1", 20_000), "words"),
        ("deep filters", deep("", "'a'", 0) + &after("'a'", "|upper", 20_000), "words"),
        ("deep attributes", after("messages", ".a", 20_000), "words"),
        ("deep sums", after("1", "+1", 20_000), "words"),
        ("deep powers", after("2", "**2", 20_000), "words"),
        ("deep conditions", after("1", " if 1 else 1", 10_000), "words"),
        (
            "deep elifs",
            "{% if 0 %}".to_owned() + &"{% elif 0 %}\n".repeat(10_000) + "{% endif %}",
            "elif",
        ),
        (
            "many macros",
            (0..5000)
                .map(|i| format!("{{% macro m{i}() %}}\n{{% endmacro %}}\n"))
                .collect::<String>()
                + "{{ raise_exception('built') }}",
            "built",
        ),
        ("one long line", "x".repeat(100_000), "lines"),
        ("many lines", "x\n".repeat(100_000), "lines"),
        (
            "constant lists multiplied",
            format!("{{{{ [1]*1000000000 {} }}}}", "+ [1]*1000000000 ".repeat(50)),
            "beside a product",
        ),
        ("splats", s("{{ messages.get(*[1, 2]) }}"), "not supported"),
        ("a string times a number", s("{{ 'abcdefgh' * 1000000000 }}"), "stopped"),
        ("a list times a number", s("{{ ([1, 2] * 1000000000) | list | length }}"), ""),
        ("a wide format", s("{{ '%2000000000d' | format(1) }}"), ""),
        ("a precise format", s("{{ '%.2000000000f' | format(1.5) }}"), ""),
        ("a wide str.format", s("{{ '{:2000000000}'.format(1) }}"), ""),
        ("a wide indent", s("{{ 'a\nb' | indent(2000000000) }}"), ""),
        ("a wide tojson indent", s("{{ [1] | tojson(indent=2000000000) }}"), "indent"),
        (
            "long tojson separators",
            s("{{ range(9000) | list | tojson(separators=('x' * 100000, ':')) }}"),
            "",
        ),
        (
            "long tojson indent text",
            s("{{ range(9000) | list | tojson(indent='x' * 100000) }}"),
            "",
        ),
        (
            "replace that grows",
            s(
                "{% set n = namespace(s='aaaaaaaaaa') %}{% for i in range(40) %}{% set n.s = n.s.replace('a', 'aaaaaaaaaa') %}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "join that grows",
            s(
                "{% set n = namespace(s='ab') %}{% for i in range(40) %}{% set n.s = n.s.join([n.s, n.s, n.s]) %}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "a list of one long text",
            s(
                "{% set t = 'x' * 1000000 %}{% set l = [t, t, t, t, t, t, t, t, t, t] %}{% set l = [l, l, l, l, l, l, l, l, l, l] %}{% set l = [l, l, l, l, l, l, l, l, l, l] %}{{ l }}",
            ),
            "stopped",
        ),
        (
            "join one long text",
            s(
                "{% set t = 'x' * 1000000 %}{% set l = [t, t, t, t, t, t, t, t, t, t] %}{% set l = l + l + l + l %}{{ l | join | length }}",
            ),
            "stopped",
        ),
        (
            "a long text as text of a list",
            s(
                "{% set t = 'x' * 1000000 %}{% set l = [t, t, t, t, t, t, t, t, t, t] %}{% set l = [l, l, l, l, l, l, l, l, l, l] %}{{ (l ~ l) | length }}{{ l | string | length }}",
            ),
            "stopped",
        ),
        ("many fields of str.format", s("{{ ('{:999}' * 100000).format(1) | length }}"), ""),
        (
            "one argument in many fields",
            s("{{ ('{0}' * 100000).format('x' * 1000000) | length }}"),
            "stopped",
        ),
        (
            "one argument in many places",
            s("{{ ('%(a)s' * 100000) | format(a='x' * 1000000) | length }}"),
            "stopped",
        ),
        (
            "indent many lines",
            s("{{ ('\n' * 1000000) | indent(999, true, true) | length }}"),
            "stopped",
        ),
        ("split to many pieces", s("{{ ('a' * 8000000).split('a') | length }}"), "stopped"),
        ("split to many lines", s("{{ ('\n' * 8000000).splitlines() | length }}"), "stopped"),
        (
            "filter to many pieces",
            s(
                "{{ ('a' * 8000000) | split('a') | list | length }}{{ ('a' * 8000000) | list | length }}",
            ),
            "stopped",
        ),
        (
            "chained comparisons",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(14) %}{% set n.l = [n.l, n.l] %}{% endfor %}{% for i in range(9000) %}{{ n.l == n.l == n.l }}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "in many lists",
            s(
                "{% set l = range(10000) | list %}{% for i in range(9000) %}{{ l | select('in', l) | list | length }}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "sort again and again",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(14) %}{% set n.l = [n.l, n.l] %}{% endfor %}{% for i in range(9000) %}{{ n.l | sort | length }}{% endfor %}",
            ),
            "stopped",
        ),
        ("a batch of one", s("{{ [1] | batch(2000000000, 0) | list | length }}"), ""),
        ("many slices", s("{{ [1] | slice(2000000000) | list | length }}"), ""),
        ("a huge power", s("{{ 10 ** 100000000 }}"), ""),
        ("a division by zero", s("{{ 1 // 0 }}"), ""),
        (
            "a remainder of the smallest",
            s(
                "{{ (-9223372036854775807 - 1) // -1 }}{{ (-9223372036854775807 - 1) % -1 }}{{ raise_exception('counted') }}",
            ),
            "",
        ),
        ("internals of a string", s("{{ ''.__class__.__mro__[1].__subclasses__() }}"), ""),
        ("internals of a function", s("{{ raise_exception.__globals__['os'].system('id') }}"), ""),
        ("an attribute of undefined", s("{{ nothing.at.all }}"), "undefined"),
        ("an unknown method", s("{{ messages.pop() }}"), ""),
        ("an unknown filter", s("{{ 1 | shell }}"), "filter"),
        ("an unknown function", s("{{ open('/etc/passwd') }}"), ""),
        ("an unknown tag", s("{% do messages %}{% shell %}"), ""),
        (
            "raise_exception",
            s("{{ raise_exception('only one user') }}"),
            "refuses this conversation: only one user",
        ),
        (
            "raise_exception in a macro",
            s("{% macro f() %}{{ raise_exception('inner ' ~ 5) }}{% endmacro %}{{ f() }}"),
            "refuses this conversation: inner 5",
        ),
        ("an unclosed if", s("{% if true %}x"), ""),
        ("an unclosed expression", s("line\n{{ 1 + "), "line 2"),
        ("an unclosed comment", s("{# comment"), ""),
        ("an unclosed string", s("{{ 'abc }}"), ""),
        ("an end without a beginning", s("{% endfor %}"), ""),
        ("a lone generation", s("{% generation %}x"), ""),
        ("openings only", "{%\n".repeat(50_000), ""),
        ("comments only", "{#\n".repeat(50_000), ""),
        ("expressions without end", "{{\n".repeat(50_000), ""),
        ("a template of 2 MB", "x".repeat(2 << 20), "at most"),
        ("a long date", s("{{ strftime_now('%B' * 100000000) }}"), "stopped"),
        ("an unknown date", s("{{ strftime_now('%Q') }}"), "%Q"),
        (
            "dates in a loop",
            s(
                "{% set n = namespace(s='%A') %}{% for i in range(40) %}{% set n.s = strftime_now(n.s ~ '%%A%%A') ~ n.s %}{% endfor %}",
            ),
            "",
        ),
        ("tojson of a function", s("{{ raise_exception | tojson }}"), ""),
        ("tojson of undefined", s("{{ nothing | tojson }}"), "undefined"),
    ]
}

/// An expression behind many prefixes, a line each.
fn deep(prefix: &str, inner: &str, times: usize) -> String {
    let close = match prefix {
        "(" => ")\n",
        "[" => "]\n",
        _ => "",
    };
    let open = format!("{prefix}\n").repeat(times);
    format!("{{{{ {open}{inner}{} }}}}", close.repeat(times))
}

/// An expression before many suffixes, a line each.
fn after(inner: &str, suffix: &str, times: usize) -> String {
    format!("{{{{ {inner}{} }}}}", format!("\n{suffix}").repeat(times))
}

/// Templates that are as deep as the limits allow: they may fail, but not by an overflow.
fn deepest() -> Vec<(&'static str, String)> {
    vec![
        ("nots within limits", deep("not", "1", 990)),
        ("minus within limits", deep("-", "1", 990)),
        ("parentheses within limits", deep("(", "1", 70)),
        ("lists within limits", deep("[", "1", 70)),
        ("filters within limits", after("'a'", "|upper", 490)),
        ("attributes within limits", after("messages", ".a", 490)),
        ("sums within limits", after("1", "+1", 490)),
        ("lists added within limits", after("[1]", "+[1]", 240)),
        ("list variables added within limits", s_add()),
        ("powers within limits", after("2", "**2", 490)),
        ("conditions within limits", after("1", " if 1 else 1", 240)),
        ("elifs within limits", "{% if 0 %}".to_owned() + &"{% elif 0 %}\n".repeat(499) + "{% endif %}"),
        ("slices within limits", after("messages", "[0:]", 190)),
        ("ifs within limits", "{% if 1 %}".repeat(140) + "x" + &"{% endif %}".repeat(140)),
        ("fors within limits", "{% for a in [1] %}".repeat(60) + "x" + &"{% endfor %}".repeat(60)),
        ("macros within limits", "{% macro f(n) %}{{ f(n - 1) if n else 'x' }}{% endmacro %}{{ f(12) }}".to_owned()),
        ("nesting within limits", "{% set n = namespace(l=[1]) %}{% for i in range(150) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}{{ n.l | tojson }}{{ n.l == n.l }}".to_owned()),
    ]
}

fn s_add() -> String {
    format!("{{% set l = range(1000) | list %}}{}", after("l", "+l", 240))
}

fn run(source: &str) -> Result<String, TextError> {
    let template = ChatTemplate::new(source, &SpecialTokenTexts::default())?;
    template.render(&Conversation::new([Message::user("Hi")]), true)
}

/// What this thread has computed so far: on a busy machine the clock says more.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every unix, and the pointer is to a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The other side of [`hostile_templates_are_refused`]: runs one case and tells how it went.
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

/// Runs the child for a case; a case that gets out of hand ends by itself after 5 seconds of
/// processor time or at 3 GB.
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

/// How a case went, or how its process died.
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
