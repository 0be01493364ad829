//! `lfm2 selftest`: compares every kernel and tiny models with their CPU references on the user's
//! adapter. A short form runs once for each adapter and driver before the first answer, so that a
//! driver that computes wrongly causes an error and not wrong answers.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::adapter_json::{adapter_json, caps_json};
use super::caches::{cache_dir, remember};
use super::error::CliError;
use super::options::Common;
use super::print::print;
use super::progress::Steps;
use crate::gpu::{AdapterReport, Device};
use crate::selftest::{self, KernelCheck, Progress, Stage, Thoroughness};

#[derive(Debug, Args)]
pub struct Selftest {
    /// Check every variant of every kernel on many shapes; takes minutes on a software adapter
    #[arg(long, env = "LFM2_FULL")]
    full: bool,
    /// Print JSON, for bug reports
    #[arg(long, env = "LFM2_JSON")]
    json: bool,
}

impl Selftest {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let device = pollster::block_on(Device::request(&common.gpu()))?;
        let thoroughness = if self.full { Thoroughness::Full } else { Thoroughness::Quick };
        let steps = Steps::new(common, CHECKING);
        let checks = check_all(&device, thoroughness, &steps, CHECKING)?;
        drop(steps);
        let failed = checks.iter().filter(|c| !c.passed).count();
        if self.json {
            print(&format!("{}\n", report(&device, &checks)))?;
        } else {
            print(&table(&device, &checks))?;
        }
        if failed == 0 {
            return Ok(());
        }
        Err(CliError::Internal(format!(
            "{failed} of {} checks failed on {}; please report it with the output of `lfm2 selftest --json`",
            checks.len(),
            device.adapter().name
        )))
    }
}

/// Progress text of the checks.
const CHECKING: &str = "checking this GPU";
/// Progress text of the checks before the first answer.
const CHECKING_ONCE: &str = "checking this GPU (first start only)";

/// Runs the checks, with progress: kernels, then tiny models.
fn check_all(
    device: &Device,
    thoroughness: Thoroughness,
    steps: &Steps,
    what: &str,
) -> Result<Vec<KernelCheck>, crate::Error> {
    let told = |Progress { stage, done, total }: Progress| {
        steps.say(match stage {
            Stage::Compiling => format!("{what}: compiling kernels {done}/{total}"),
            Stage::Kernels => format!("{what}: kernels {done}/{total}"),
            Stage::Models => format!("{what}: models {done}/{total}"),
        });
    };
    pollster::block_on(selftest::check(device, thoroughness, &told))
}

fn table(device: &Device, checks: &[KernelCheck]) -> String {
    let a = device.adapter();
    let mut text = format!("{} ({}, {}), driver {}\n", a.name, a.backend, a.kind, a.driver);
    for c in checks {
        let verdict = if c.passed { "ok    " } else { "FAILED" };
        text += &format!("{verdict} {:20} {:>16}  {}\n", c.kernel, exactness(c), c.case);
        if !c.passed {
            text += &format!("       {}: {}\n", c.variant, c.failure);
        }
    }
    let failed = checks.iter().filter(|c| !c.passed).count();
    text + &format!("{} checks, {failed} failed\n", checks.len())
}

/// The error as a share of the tolerance for rounding. An absolute error would say little: a large one
/// may be a small part of large numbers.
fn exactness(c: &KernelCheck) -> String {
    match (c.max_error, c.tolerance) {
        (0.0, _) => "exact".to_owned(),
        (error, allowed) if error < allowed => match (100.0 * error / allowed).ceil() {
            // A passed check must not look like one at the limit.
            100.0 => "< 100 % of allowed".to_owned(),
            percent => format!("{percent:.0} % of allowed"),
        },
        (error, allowed) if error <= allowed => "100 % of allowed".to_owned(),
        _ => "too far off".to_owned(),
    }
}

fn report(device: &Device, checks: &[KernelCheck]) -> serde_json::Value {
    let rows: Vec<_> = checks
        .iter()
        .map(|c| {
            json!({
                "kernel": c.kernel, "variant": c.variant, "case": c.case,
                "max_error": c.max_error, "tolerance": c.tolerance,
                "passed": c.passed, "failure": c.failure,
            })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS, "arch": std::env::consts::ARCH,
        "adapter": adapter_json(device.adapter()),
        "used": caps_json(device.caps()),
        "failed": checks.iter().filter(|c| !c.passed).count(),
        "checks": rows,
    })
}

/// Result of the self-test on a device.
pub enum Verdict {
    /// It computes correctly: the number of checks, or `None` if it passed in an earlier run.
    Passed { checks: Option<usize> },
    /// The failure.
    Failed(String),
    /// It has not run.
    Unknown,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passed { checks: Some(n) } => write!(f, "passed: {n} checks agree with the CPU"),
            Self::Passed { checks: None } => f.write_str("passed before, with this driver"),
            Self::Failed(problem) => write!(f, "FAILED: {problem}"),
            Self::Unknown => f.write_str("not run"),
        }
    }
}

impl Verdict {
    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Passed { .. } => json!({ "passed": true }),
            Self::Failed(problem) => json!({ "passed": false, "problem": problem }),
            Self::Unknown => json!({ "passed": null }),
        }
    }
}

/// Verdict of the short form: it runs now, unless it has passed before.
pub fn verdict(device: &Device, steps: &Steps) -> Result<Verdict, CliError> {
    if passed_before(device) {
        return Ok(Verdict::Passed { checks: None });
    }
    match run_once(device, steps, Used::ALL) {
        Ok(checks) => Ok(Verdict::Passed { checks: Some(checks) }),
        Err(CliError::Internal(problem)) => Ok(Verdict::Failed(problem)),
        Err(e) => Err(e),
    }
}

/// Runs the short form, unless it has passed on this adapter and driver before.
///
/// # Errors
/// Names the adapter and the kernel whose check fails.
pub fn before_first_answer(device: &Device, steps: &Steps, used: Used) -> Result<(), CliError> {
    if passed_before(device) {
        return Ok(());
    }
    run_once(device, steps, used).map(|_| ())
}

/// The precisions that a run uses. A failed check of another precision is no error.
#[derive(Clone, Copy)]
pub struct Used {
    pub int8: bool,
    pub matrix_units: bool,
}

impl Used {
    /// All precisions.
    pub const ALL: Self = Self { int8: true, matrix_units: true };

    /// Whether the run uses the kernel that was checked. The variant of a check names its precision.
    fn needs(self, check: &KernelCheck) -> bool {
        let says = |words: &[&str]| words.iter().any(|word| check.variant.contains(word));
        (self.int8 || !says(&INT8)) && (self.matrix_units || !says(&MATRIX_UNITS))
    }
}

/// Words in the variants of checks with int8 activations, and with matrix units.
const INT8: [&str; 2] = ["int8", "Int8"];
const MATRIX_UNITS: [&str; 2] = ["matmul_coop", "MatrixUnits"];

/// Runs the short form, records that it passed, and returns the number of checks.
fn run_once(device: &Device, steps: &Steps, used: Used) -> Result<usize, CliError> {
    let passed = passed_file(device);
    steps.begin(CHECKING_ONCE);
    let checks = check_all(device, Thoroughness::Quick, steps, CHECKING_ONCE)?;
    let a = device.adapter();
    refuse_wrong(a, &checks, used)?;
    if let Some(wrong) = checks.iter().find(|c| !c.passed) {
        log::warn!("{} fails the check of {}, which this run does not use", a.name, wrong.variant);
        return Ok(checks.len());
    }
    log::info!("self-test: {} checks passed on {}", checks.len(), a.name);
    if let Some(file) = passed {
        remember(&file, &a.name);
    }
    Ok(checks.len())
}

fn refuse_wrong(a: &AdapterReport, checks: &[KernelCheck], used: Used) -> Result<(), CliError> {
    let Some(wrong) = checks.iter().find(|c| !c.passed && used.needs(c)) else { return Ok(()) };
    let without = if !(Used { int8: false, ..used }).needs(wrong) {
        "--activations float, "
    } else if !(Used { matrix_units: false, ..used }).needs(wrong) {
        "--multiply lanes, "
    } else {
        ""
    };
    Err(CliError::Internal(format!(
        "{} ({}, driver {}) fails the check of kernel {} ({}), so its answers would be wrong. Try {without}\
         another driver or --adapter, or --limits default; `lfm2 selftest` shows details, \
         --skip-selftest answers anyway",
        a.name, a.backend, a.driver, wrong.kernel, wrong.failure
    )))
}

/// Whether the short form has passed on this adapter and driver before.
fn passed_before(device: &Device) -> bool {
    passed_file(device).is_some_and(|file| file.exists())
}

/// File that records that the short form passed for this version, adapter, driver and limits.
fn passed_file(device: &Device) -> Option<PathBuf> {
    Some(cache_dir()?.join("selftest").join(device_key(device)))
}

/// This version, adapter, driver and limits, as a file name.
fn device_key(device: &Device) -> String {
    let a = device.adapter();
    let mut hash = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), &a.name, &a.backend, &a.driver, device.caps()).hash(&mut hash);
    // Shaders may change between builds of a version.
    crate::gpu::SHADERS.iter().for_each(|f| f.text.hash(&mut hash));
    format!("{:016x}", hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Caps;

    #[test]
    fn an_adapter_that_computes_wrongly_is_refused_by_name() {
        let adapter = AdapterReport {
            index: 0,
            name: "Odd GPU".to_owned(),
            backend: "Vulkan".to_owned(),
            kind: "integrated",
            driver: "odd 1.2".to_owned(),
            memory: None,
            features: Vec::new(),
            caps: Caps::core(),
        };
        let check = |kernel: &'static str, passed: bool| KernelCheck {
            kernel,
            variant: format!("{kernel} product=q4"),
            case: String::new(),
            max_error: 1.0,
            tolerance: 0.1,
            passed,
            failure: if passed { String::new() } else { "error 1.0".to_owned() },
        };
        assert!(refuse_wrong(&adapter, &[check("embed", true)], Used::ALL).is_ok());
        let checks = [check("embed", true), check("matvec", false)];
        let message = refuse_wrong(&adapter, &checks, Used::ALL).unwrap_err().to_string();
        for word in ["Odd GPU", "odd 1.2", "matvec", "error 1.0", "--skip-selftest"] {
            assert!(message.contains(word), "{word:?} is not in {message}");
        }
        assert!(!message.contains('\n'));

        // A precision that the run does not use is no error; else the message names the option.
        let float = Used { int8: false, matrix_units: true };
        let lanes = Used { int8: true, matrix_units: false };
        for (kernel, option, without, with) in [
            ("matmul_coop", "--multiply lanes", lanes, float),
            ("int8", "--activations float", float, lanes),
        ] {
            let checks = [check(kernel, false)];
            assert!(refuse_wrong(&adapter, &checks, without).is_ok(), "{kernel}");
            let message = refuse_wrong(&adapter, &checks, with).unwrap_err().to_string();
            assert!(message.contains(option), "{message}");
        }
    }

    #[test]
    fn a_share_of_the_tolerance_reaches_100_only_at_the_limit() {
        let shown = |max_error, tolerance| {
            exactness(&KernelCheck {
                kernel: "embed",
                variant: String::new(),
                case: String::new(),
                max_error,
                tolerance,
                passed: true,
                failure: String::new(),
            })
        };
        assert_eq!(shown(0.0, 1.0), "exact");
        assert_eq!(shown(0.001, 1.0), "1 % of allowed");
        assert_eq!(shown(0.985, 1.0), "99 % of allowed");
        assert_eq!(shown(0.991, 1.0), "< 100 % of allowed");
        assert_eq!(shown(1.0, 1.0), "100 % of allowed");
        assert_eq!(shown(1.5, 1.0), "too far off");
    }

    /// The words occur in the variants of the checks.
    #[test]
    fn checks_of_int8_and_matrix_units_are_known_by_their_variants() {
        use crate::selftest::ModelChoice;
        for choice in [ModelChoice::Int8, ModelChoice::MatrixUnits] {
            let caps = Caps::core();
            let variant = format!("{:?}", choice.choices(&caps));
            let words = if choice == ModelChoice::Int8 { INT8 } else { MATRIX_UNITS };
            assert!(words.iter().any(|word| variant.contains(word)), "{variant}");
        }
        let variants: Vec<String> = crate::kernels::KERNELS
            .iter()
            .flat_map(|kernel| (kernel.variants)(&Caps::core()))
            .map(|variant| variant.to_string())
            .collect();
        assert!(variants.iter().any(|v| INT8.iter().any(|word| v.contains(word))));
        assert!(variants.iter().any(|v| INT8.iter().all(|word| !v.contains(word))));
    }
}
