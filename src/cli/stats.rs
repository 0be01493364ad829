//! Lines with figures about engines and answers.

use crate::engine::{Engine, FinishReason, Generation, Recommendation, SamplingOptions, Timings};
use crate::text::ToolCall;

pub(super) use crate::gpu::size;

/// A tool call in Python's syntax: `get_weather(city="Rome", days=2)`.
pub fn call(call: &ToolCall) -> String {
    let fields: serde_json::Map<_, _> = serde_json::from_str(&call.arguments).unwrap_or_default();
    let arguments: Vec<_> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("{}({})", call.name, arguments.join(", "))
}

/// The line of figures after an answer.
pub fn answer_line(t: &Timings) -> String {
    let cached = match t.cache_n {
        0 => String::new(),
        n => format!(" (+{n} cached)"),
    };
    format!(
        "[ prompt {} tok{cached} {:.1} t/s | {} tok {:.1} t/s | first token {:.2} s ]",
        t.prompt_n,
        t.prompt_per_second(),
        t.predicted_n,
        t.predicted_per_second(),
        t.first_token_ms / 1000.0
    )
}

/// The reason that an answer was cut; `None` if the model ended it, or it has not ended.
pub fn cut_short(generation: &Generation, context: usize) -> Option<String> {
    if generation.finish_reason()? != FinishReason::Length {
        return None;
    }
    let t = generation.timings();
    Some(if t.cache_n + t.prompt_n + t.predicted_n >= context {
        format!("The answer was cut: the context of {context} tokens is full.")
    } else {
        format!("The answer was cut at {} tokens (--max-tokens).", t.predicted_n)
    })
}

/// The sampling options and their source: the end of the line after loading.
pub fn sampling_note(used: Option<&SamplingOptions>, recommended: &Recommendation) -> String {
    let own = &recommended.sampling;
    let used = SamplingOptions { seed: own.seed, ..used.unwrap_or(own).clone() };
    let source = &recommended.source;
    if used == *own {
        format!(" · sampling: {recommended}")
    } else {
        format!(" · sampling: {used} (your options; recommended: {own}, {source})")
    }
}

/// The line after loading: model, size, weights, adapter and backend, context, memory.
pub fn model_line(engine: &Engine, available: Option<u64>) -> String {
    let device = engine.device();
    let adapter = device.adapter();
    let memory = engine.memory();
    let software = if adapter.is_software() { ", software" } else { "" };
    let name = match engine.place() {
        "embedded" => "LFM2 demonstration model".to_owned(),
        _ => engine.name(),
    };
    let used = match available {
        Some(have) => format!("{} of {}", size(memory.total()), size(have)),
        None => size(memory.total()),
    };
    format!(
        "{name} {} · {} · {} ({}{software}) · context {} · {used}",
        engine.weight_format(),
        size(memory.weights),
        adapter.name,
        adapter.backend,
        memory.context,
    )
}
