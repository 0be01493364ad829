//! Progress on one line of the terminal, rewritten in place.
//!
//! Without a terminal, nothing is shown: logs and other programs need only the answer and errors. With
//! -v, each step is also a line of the log.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::options::Common;
use crate::engine::{BuildProgress, PrefillProgress, Timings};

/// The current line, which other output on the terminal must suspend.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Interval of redrawing, also without news: it shows that the program runs.
const TICK: Duration = Duration::from_millis(120);

fn target(common: &Common) -> ProgressDrawTarget {
    if common.quiet || !std::io::stderr().is_terminal() {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    }
}

/// Redraws a shown bar also without news. A step of the work may take seconds: the first pass of a new
/// driver compiles.
fn keep_moving(bar: &ProgressBar) {
    if !bar.is_hidden() {
        bar.enable_steady_tick(TICK);
    }
}

/// A bar on stderr; hidden if stderr is no terminal or with -q.
pub fn bar(common: &Common, total: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), target(common));
    if let Ok(style) = ProgressStyle::with_template(&format!("{{spinner}} {template}")) {
        bar.set_style(style.progress_chars("=> "));
    }
    keep_moving(&bar);
    bar
}

/// A bar for the prefill of a prompt; cached tokens count as done.
pub fn prompt(common: &Common, t: &Timings) -> ProgressBar {
    let reused = match t.cache_n {
        0 => String::new(),
        n => format!(" ({n} reused)"),
    };
    // The count comes first, since a narrow terminal cuts the end.
    let template = format!("prompt {{pos}}/{{len}} tokens{reused} [{{bar:32}}] {{eta}}");
    let bar = bar(common, (t.cache_n + t.prompt_n) as u64, &template);
    bar.set_position(t.cache_n as u64);
    bar.reset_eta();
    bar
}

/// Advances a prompt's bar, and removes it at the end.
pub fn advance_prompt(bar: &ProgressBar, p: PrefillProgress) {
    bar.set_position(p.processed as u64);
    if p.processed == p.total {
        bar.finish_and_clear();
    }
}

/// The steps before an answer. Dropping it removes the line.
pub struct Steps {
    bar: ProgressBar,
}

impl Steps {
    /// Shows the first step.
    pub fn new(common: &Common, first: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, target(common));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        keep_moving(&bar);
        *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        let steps = Self { bar };
        steps.begin(first);
        steps
    }

    /// Starts the next step.
    pub fn begin(&self, step: &str) {
        log::info!("{step}");
        self.say(step.to_owned());
    }

    /// Updates the text of the step.
    pub fn say(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Shows the progress of building an engine.
    pub fn building(&self) -> impl FnMut(BuildProgress) + Send + 'static {
        let (bar, mut building) = (self.bar.clone(), Building::default());
        move |progress| {
            building.note(progress);
            bar.set_message(building.text(building.began.elapsed()));
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.bar.finish_and_clear();
    }
}

/// Kernels are compiled while weights are loaded.
struct Building {
    began: Instant,
    kernels: (usize, usize),
    weights: (u64, u64),
}

impl Default for Building {
    fn default() -> Self {
        Self { began: Instant::now(), kernels: (0, 0), weights: (0, 0) }
    }
}

impl Building {
    fn note(&mut self, progress: BuildProgress) {
        match progress {
            BuildProgress::Kernels { done, total } => {
                // Threads may report in another order than they counted.
                self.kernels = (done.max(self.kernels.0), total);
            }
            BuildProgress::Weights { loaded, total } => self.weights = (loaded, total),
        }
    }

    fn text(&self, elapsed: Duration) -> String {
        let mut parts = Vec::new();
        let (loaded, total) = self.weights;
        if loaded < total {
            let mut part = format!("loading {}", of(loaded, total));
            let seconds = elapsed.as_secs_f64();
            if loaded > 0 && seconds > 2.0 {
                let left = seconds * (total - loaded) as f64 / loaded as f64;
                part += &format!(", {left:.0} s left");
            }
            parts.push(part);
        }
        if self.kernels.0 < self.kernels.1 {
            parts.push(format!("compiling kernels {}/{}", self.kernels.0, self.kernels.1));
        }
        if parts.is_empty() { "starting".to_owned() } else { parts.join(" · ") }
    }
}

/// `1.2/4.7 GB`.
fn of(done: u64, total: u64) -> String {
    let (unit, scale) = match total {
        1_000_000_000.. => ("GB", 1e9),
        1_000_000.. => ("MB", 1e6),
        _ => ("kB", 1e3),
    };
    format!("{:.1}/{:.1} {unit}", done as f64 / scale, total as f64 / scale)
}

/// stderr for the log: removes the line of progress, writes, and restores the line.
pub struct BesideTheLine;

impl Write for BesideTheLine {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let write = || std::io::stderr().write(bytes);
        match shown {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_of_building_has_counts() {
        let text = |building: &Building, seconds| building.text(Duration::from_secs(seconds));
        let mut building = Building::default();
        building.note(BuildProgress::Kernels { done: 40, total: 61 });
        assert_eq!(text(&building, 0), "compiling kernels 40/61");
        building.note(BuildProgress::Kernels { done: 39, total: 61 });
        building.note(BuildProgress::Weights { loaded: 1_200_000_000, total: 4_700_000_000 });
        let both = "loading 1.2/4.7 GB · compiling kernels 40/61";
        assert_eq!(text(&building, 1), both);
        assert!(text(&building, 12).starts_with("loading 1.2/4.7 GB, 35 s left · "));
        building.note(BuildProgress::Weights { loaded: 4_700_000_000, total: 4_700_000_000 });
        building.note(BuildProgress::Kernels { done: 61, total: 61 });
        assert_eq!(text(&building, 1), "starting");
        assert_eq!(
            (of(5_000, 9_000), of(0, 2_500_000)),
            ("5.0/9.0 kB".into(), "0.0/2.5 MB".into())
        );
    }
}
