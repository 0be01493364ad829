//! Counts and times for Prometheus.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::engine::{Engine, FinishReason, Timings};

/// The names of a label and its value.
type Labels = Vec<(&'static str, String)>;

/// The metrics of a server. Their names begin with `lfm2_`.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    answers: Family<Labels, Counter>,
    pub failed: Counter,
    pub refused: Counter,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    generated_tokens: Counter,
    first_token: Histogram,
    next_token: Histogram,
    answer_time: Histogram,
    engine: Arc<OnceLock<Engine>>,
}

impl Metrics {
    pub fn new() -> Self {
        let times = || Histogram::new(exponential_buckets(0.005, 2.0, 16));
        let metrics = Self {
            registry: Registry::with_prefix("lfm2"),
            requests: Family::default(),
            answers: Family::default(),
            failed: Counter::default(),
            refused: Counter::default(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            generated_tokens: Counter::default(),
            first_token: times(),
            next_token: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            answer_time: times(),
            engine: Arc::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        r.register("requests", "Requests by route and status", self.requests.clone());
        r.register("answers", "Answers that have ended, by reason", self.answers.clone());
        r.register("answers_failed", "Answers that ended with an error", self.failed.clone());
        r.register("requests_refused", "Requests that found the queue full", self.refused.clone());
        r.register("prompt_tokens", "Tokens of prompts", self.prompt_tokens.clone());
        let help = "Tokens of prompts whose state was cached";
        r.register("prompt_tokens_cached", help, self.cached_tokens.clone());
        r.register("generated_tokens", "Tokens generated", self.generated_tokens.clone());
        let seconds = || Unit::Seconds;
        let help = "Time from the request to the first token";
        r.register_with_unit("time_to_first_token", help, seconds(), self.first_token.clone());
        let help = "Time between two tokens of an answer";
        r.register_with_unit("inter_token_latency", help, seconds(), self.next_token.clone());
        let help = "Time from the request to the end of its answer";
        r.register_with_unit("request_latency", help, seconds(), self.answer_time.clone());
        let engine = OfEngine(self.engine.clone());
        r.register_collector(Box::new(engine));
        self
    }

    /// Counts a request.
    pub fn request(&self, route: &str, status: u16) {
        let labels = vec![("route", route.to_owned()), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
    }

    /// Takes the time of an answer's first token.
    pub fn first_token(&self, time: Duration) {
        self.first_token.observe(time.as_secs_f64());
    }

    /// Takes the time between two tokens.
    pub fn next_token(&self, time: Duration) {
        self.next_token.observe(time.as_secs_f64());
    }

    /// Counts an answer that has ended; without a reason, its client has left, or it has failed.
    pub fn ended(&self, timings: &Timings, finish: Option<FinishReason>, time: Duration) {
        let reason = match finish {
            Some(FinishReason::Stop) => "stop",
            Some(FinishReason::ToolCalls) => "tool_calls",
            Some(FinishReason::Length) => "length",
            None => "cancelled",
        };
        self.answers.get_or_create(&vec![("reason", reason.to_owned())]).inc();
        self.prompt_tokens.inc_by((timings.cache_n + timings.prompt_n) as u64);
        self.cached_tokens.inc_by(timings.cache_n as u64);
        self.generated_tokens.inc_by(timings.predicted_n as u64);
        self.answer_time.observe(time.as_secs_f64());
    }

    /// Takes the engine, whose own counts are metrics too.
    pub fn of(&self, engine: &Engine) {
        let _ = self.engine.set(engine.clone());
    }

    /// All metrics in the format of OpenMetrics. It waits for the engine's current step.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String never fails.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// The engine's own counts, read when they are asked for.
struct OfEngine(Arc<OnceLock<Engine>>);

impl fmt::Debug for OfEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfEngine(..)")
    }
}

impl Collector for OfEngine {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(engine) = self.0.get() else { return Ok(()) };
        let (queue, cache) = (engine.queue_counts(), engine.cache_counts());
        let bytes = engine.device().counters().allocated_bytes;
        for (name, help, value) in [
            ("answers_running", "Answers that run", queue.running as u64),
            ("answers_waiting", "Answers that wait", queue.waiting as u64),
            ("answers_at_once", "Most answers that run at once", engine.sequences() as u64),
            ("context_tokens", "Context length", engine.context_length() as u64),
            ("gpu_memory_bytes", "GPU memory in use", bytes),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, help, value) in [
            ("prefix_cache_hits", "Prompts that began with cached state", cache.hits),
            ("prefix_cache_misses", "Prompts that began without cached state", cache.misses),
            ("prefix_cache_evictions", "Cached prefixes that were freed", cache.evictions),
            ("preemptions", "Answers that gave up their memory and began again", cache.preemptions),
            ("device_losses", "Losses of the GPU device", engine.device_losses()),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        Ok(())
    }
}
