//! Results of `lfm2 bench`: llama-bench's field names, tables, profiles.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;

use super::measure::{Once, Sample, Test};
use crate::cli::{loras, stats};
use crate::engine::Engine;
use crate::gpu::{KernelTime, Profile};

/// `--output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A Markdown table
    Md,
    /// A JSON array
    Json,
    /// Comma-separated values with a header
    Csv,
}

/// The names and values of one row, in order.
pub type Fields = Vec<(String, serde_json::Value)>;

/// One row of results: llama-bench's fields, then our own.
pub struct Row {
    fields: Fields,
    table: [String; 8],
}

fn mean_sd(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, variance.sqrt())
}

impl Row {
    pub fn new(engine: &Engine, test: Test, samples: &[Sample], once: &Once) -> Self {
        use serde_json::json;
        let n = test.tokens() as f64;
        let ns: Vec<f64> = samples.iter().map(|s| (s.seconds * 1e9).round()).collect();
        let ts: Vec<f64> = samples.iter().map(|s| n / s.seconds).collect();
        let ((avg_ns, sd_ns), (avg_ts, sd_ts)) = (mean_sd(&ns), mean_sd(&ts));
        let of = |f: fn(&Sample) -> f64| mean_sd(&samples.iter().map(f).collect::<Vec<_>>()).0;
        let size = engine.size();
        let device = engine.device();
        let adapter = device.adapter();
        let mut model = format!("{} {}", engine.config().model_type.name(), engine.weight_format());
        let lora = loras::first(engine).map(|choice| choice.name);
        if let Some(name) = &lora {
            model += &format!(", LoRA {name}");
        }
        // Bytes of weights that decoding one token reads.
        let active = size.weight_bytes as f64 * size.active_parameters as f64
            / size.total_parameters.max(1) as f64;
        let sequences = test.parallel.unwrap_or(1);
        // Several sequences share what they read, as far as they choose the same experts.
        let read = match (test.parallel, &once.profile) {
            (None, _) => Some(active),
            (Some(n), Some(profile)) => {
                let bytes = profile.kernels.iter().map(|k| k.weight_bytes).sum::<f64>();
                Some(bytes / n as f64)
            }
            (Some(_), None) => None,
        };
        let gb_per_second = read.map(|bytes| bytes * avg_ts / 1e9);
        let gpu_ms = once.profile.as_ref().map(|p| p.whole * 1e3 / sequences as f64);
        let generates = test.n_gen > 0;
        let generated = |value: f64| if generates { json!(value) } else { json!(null) };
        let peak = engine.device().counters().peak_allocated_bytes;
        let fields = vec![
            ("build_commit", json!(concat!("v", env!("CARGO_PKG_VERSION")))),
            ("backends", json!(adapter.backend)),
            ("gpu_info", json!(adapter.name)),
            ("driver", json!(adapter.driver)),
            ("software_adapter", json!(adapter.is_software())),
            ("choices", json!(engine.choices())),
            ("model_filename", json!(engine.place())),
            ("model_type", json!(model)),
            ("lora", json!(lora)),
            ("model_size", json!(size.weight_bytes)),
            ("model_n_params", json!(size.total_parameters)),
            ("n_prompt", json!(test.n_prompt)),
            ("n_gen", json!(test.n_gen)),
            ("n_depth", json!(test.n_depth)),
            ("n_parallel", json!(sequences)),
            ("sampling", json!(test.sampling.name())),
            ("test", json!(test.name())),
            ("test_time", json!(now())),
            ("avg_ns", json!(avg_ns.round() as u64)),
            ("stddev_ns", json!(sd_ns.round() as u64)),
            ("avg_ts", json!(avg_ts)),
            ("stddev_ts", json!(sd_ts)),
            ("samples_ns", json!(ns.iter().map(|n| *n as u64).collect::<Vec<_>>())),
            ("samples_ts", json!(ts)),
            ("avg_ts_each", json!(avg_ts / sequences as f64)),
            (
                "time_to_first_token_ms",
                match test.parallel {
                    None => json!(of(|s| s.first_token_ms)),
                    Some(_) => json!(null),
                },
            ),
            ("peak_gpu_bytes", json!(peak)),
            ("gb_per_second", json!(gb_per_second.filter(|_| generates))),
            ("dispatches_per_token", generated(of(|s| s.dispatches))),
            ("submissions_per_token", generated(of(|s| s.submissions))),
            ("readback_bytes_per_token", generated(of(|s| s.readback_bytes))),
            ("cpu_us_per_token", generated(of(|s| s.host_us))),
            ("gpu_ms_per_token", json!(gpu_ms)),
            ("distinct_experts", json!(once.distinct_experts)),
        ];
        let mut notes = Vec::new();
        if test.parallel.is_some() {
            notes.push(format!("{:.2} t/s each", avg_ts / sequences as f64));
        }
        notes.extend(once.distinct_experts.map(|n| format!("{n:.1} experts a layer")));
        if generates {
            notes.push(format!(
                "per token {} dispatches, {:.2} submissions, {:.0} B read back, {:.0} us of CPU",
                rounded(of(|s| s.dispatches)),
                of(|s| s.submissions),
                of(|s| s.readback_bytes),
                of(|s| s.host_us),
            ));
            notes.extend(gpu_ms.map(|ms| format!("{ms:.3} ms of GPU")));
            notes.extend(gb_per_second.map(|gb| format!("{gb:.2} GB/s")));
        } else {
            notes.push(format!("first token {:.1} ms", of(|s| s.first_token_ms)));
        }
        let table = [
            model,
            stats::size(size.weight_bytes),
            format!("{:.2} M", size.total_parameters as f64 / 1e6),
            adapter.backend.clone(),
            adapter.name.clone(),
            test.name(),
            format!("{avg_ts:.2} ± {sd_ts:.2}"),
            notes.join(", "),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { fields, table }
    }
}

/// A whole number, or a fraction below 10.
fn rounded(value: f64) -> String {
    if value >= 10.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// The time now, as `2026-11-24T09:30:00Z`.
pub fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let time = i64::try_from(seconds).unwrap_or(0);
    crate::text::strftime("%Y-%m-%dT%H:%M:%SZ", crate::text::Moment::utc(time)).unwrap_or_default()
}

/// The results in a format.
pub fn render(rows: &[Row], output: Output) -> String {
    match output {
        Output::Md => {
            let mut text = String::from(
                "| model | size | params | backend | adapter | test | t/s | |\n\
                 | --- | ---: | ---: | --- | --- | ---: | ---: | --- |\n",
            );
            for row in rows {
                text += &format!("| {} |\n", row.table.join(" | "));
            }
            text
        }
        Output::Json => json_text(&fields(rows)),
        Output::Csv => csv_text(&fields(rows)),
    }
}

fn fields(rows: &[Row]) -> Vec<Fields> {
    rows.iter().map(|row| row.fields.clone()).collect()
}

/// Rows as a JSON array of objects.
pub fn json_text(rows: &[Fields]) -> String {
    let object = |row: &Fields| row.iter().cloned().collect::<serde_json::Map<_, _>>();
    let objects: Vec<_> = rows.iter().map(object).collect();
    format!("{}\n", serde_json::json!(objects))
}

/// Rows as comma-separated values with a header.
pub fn csv_text(rows: &[Fields]) -> String {
    let quoted = |v: &serde_json::Value| match v {
        serde_json::Value::String(s) => format!("\"{}\"", s.replace('"', "\"\"")),
        serde_json::Value::Null => String::new(),
        other => format!("\"{}\"", other.to_string().replace('"', "\"\"")),
    };
    let names = rows.first().into_iter().flatten().map(|(name, _)| name.as_str());
    let mut text = names.collect::<Vec<_>>().join(",") + "\n";
    for row in rows {
        let values: Vec<_> = row.iter().map(|(_, value)| quoted(value)).collect();
        text += &(values.join(",") + "\n");
    }
    text
}

/// A profile as JSON.
pub fn profile_json(rows: usize, test: Test, profile: &Profile) -> serde_json::Value {
    use serde_json::json;
    let kernel = |t: &KernelTime| {
        json!({
            "kernel": t.kernel, "calls": t.calls, "ms": t.seconds * 1e3, "weight_bytes": t.weight_bytes,
        })
    };
    json!({
        "rows": rows,
        "n_depth": test.n_depth,
        "n_parallel": test.parallel.unwrap_or(1),
        "whole_ms": profile.whole * 1e3,
        "empty_pass_ms": profile.empty_pass * 1e3,
        "replays": profile.replays,
        "kernels": profile.kernels.iter().map(kernel).collect::<Vec<_>>(),
    })
}

/// A profile as text.
pub fn profile_table(title: &str, profile: &Profile) -> String {
    let total: f64 = profile.kernels.iter().map(|t| t.seconds).sum();
    let calls: u32 = profile.kernels.iter().map(|t| t.calls).sum();
    let mut text = format!(
        "{title}: {:.3} ms in one pass; {:.3} ms with a pass for each kernel, of which about {:.3} ms for \
         timing {calls} kernels ({:.2} us each); medians of {} passes after a warm-up\n",
        profile.whole * 1e3,
        total * 1e3,
        profile.empty_pass * f64::from(calls) * 1e3,
        profile.empty_pass * 1e6,
        profile.replays,
    );
    for t in &profile.kernels {
        text += &format!(
            "{:9.3} ms {:5.1} % {} {:4} x {}\n",
            t.seconds * 1e3,
            100.0 * t.seconds / total,
            match t.weight_bytes {
                0.0 => " ".repeat(13),
                bytes => format!("{:8.2} GB/s", bytes / t.seconds / 1e9),
            },
            t.calls,
            t.kernel
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_those_of_llama_bench() {
        assert_eq!(mean_sd(&[1.0, 2.0, 3.0]), (2.0, 1.0));
        assert_eq!(mean_sd(&[5.0]), (5.0, 0.0));
    }

    #[test]
    fn a_profile_includes_the_cost_of_measuring() {
        let kernel = |name: &str, calls, seconds| KernelTime {
            kernel: name.to_owned(),
            calls,
            seconds,
            weight_bytes: 0.0,
        };
        let kernels = vec![kernel("matvec a", 6, 3e-3), kernel("rms_norm", 4, 1e-3)];
        let profile = Profile { kernels, whole: 3e-3, empty_pass: 4e-6, replays: 9 };
        let text = profile_table("1 rows after 0 tokens", &profile);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "1 rows after 0 tokens: 3.000 ms in one pass; 4.000 ms with a pass for each kernel, of which \
             about 0.040 ms for timing 10 kernels (4.00 us each); medians of 9 passes after a warm-up"
        );
        assert_eq!(lines[1], format!("    3.000 ms  75.0 % {} {:4} x matvec a", " ".repeat(13), 6));
        assert_eq!(lines.len(), 3);
    }
}
