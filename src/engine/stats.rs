//! Timings of an answer, under llama-server's names.

/// Counts and times of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Timings {
    /// Prompt tokens whose state was cached.
    pub cache_n: usize,
    /// Prompt tokens that were computed.
    pub prompt_n: usize,
    /// Milliseconds for them.
    pub prompt_ms: f64,
    /// Tokens generated, the end token included.
    pub predicted_n: usize,
    /// Of these, tokens of the reasoning and its markers.
    pub reasoning_n: usize,
    /// Milliseconds from the first token to the last.
    pub predicted_ms: f64,
    /// Milliseconds from the call to the first token.
    pub first_token_ms: f64,
    /// The seed of the draws: the given one, or a random one. Passing it again repeats the answer.
    pub seed: u64,
}

impl Timings {
    /// Prompt tokens a second.
    #[must_use]
    pub fn prompt_per_second(&self) -> f64 {
        rate(self.prompt_n, self.prompt_ms)
    }

    /// Generated tokens a second, after the first.
    #[must_use]
    pub fn predicted_per_second(&self) -> f64 {
        rate(self.predicted_n.saturating_sub(1), self.predicted_ms)
    }
}

fn rate(n: usize, ms: f64) -> f64 {
    if n == 0 || ms <= 0.0 { 0.0 } else { n as f64 * 1000.0 / ms }
}
