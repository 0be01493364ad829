//! Sampling options, checked.

use std::fmt;

use crate::error::Error;
use crate::kernels::{MAX_LOGIT_BIAS, SampleParams};

/// Sampling options. They apply in transformers' order: biases, penalties, temperature, top-k,
/// top-p, min-p.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingOptions {
    /// 0 is greedy; larger values give more varied text.
    pub temperature: f32,
    /// Keep the k most likely tokens; 0 is off.
    pub top_k: u32,
    /// Keep the most likely tokens of this total probability; 1 is off.
    pub top_p: f32,
    /// Keep tokens of at least this probability relative to the most likely one; 0 is off.
    pub min_p: f32,
    /// Divides (or multiplies) the logits of tokens of the context; 1 is off.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens generated already; 0 is off.
    pub presence_penalty: f32,
    /// Subtracted once for each time the token was generated; 0 is off.
    pub frequency_penalty: f32,
    /// Biases of tokens' logits, from -100 (nearly a ban) to 100. Each token may occur once, at
    /// most [`MAX_LOGIT_BIAS`] in all.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the draws. The same seed gives the same text with the same version of this crate,
    /// model, adapter and driver, the same options (including
    /// [`Engine::choices`](super::Engine::choices)), and the same earlier calls of the session,
    /// since cached state is not computed again. Other sessions do not matter. With
    /// [`EngineBuilder::reproducible`](super::EngineBuilder::reproducible) earlier calls do not either. `None` takes a
    /// random seed for each answer, which [`Timings`](super::Timings) reports.
    pub seed: Option<u64>,
}

impl Default for SamplingOptions {
    /// The recommendation of LFM2's page: temperature 0.3, min_p 0.15, repetition_penalty 1.05. The
    /// recommendation for a loaded model is
    /// [`Engine::recommended_sampling`](super::Engine::recommended_sampling).
    fn default() -> Self {
        Self {
            temperature: 0.3,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.15,
            repetition_penalty: 1.05,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

impl fmt::Display for SamplingOptions {
    /// Lists the options that are not off, e.g. `temperature 0.2, top_k 80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "temperature {}", self.temperature)?;
        // Cuts never remove the most likely token, so greedy sampling ignores them.
        let draws = self.temperature != 0.0;
        if draws && self.top_k != 0 {
            write!(f, ", top_k {}", self.top_k)?;
        }
        let numbers = [
            ("top_p", if draws { self.top_p } else { 1.0 }, 1.0),
            ("min_p", if draws { self.min_p } else { 0.0 }, 0.0),
            ("repetition", self.repetition_penalty, 1.0),
            ("presence", self.presence_penalty, 0.0),
            ("frequency", self.frequency_penalty, 0.0),
        ];
        for (name, value, off) in numbers {
            if value != off {
                write!(f, ", {name} {value}")?;
            }
        }
        Ok(())
    }
}

impl SamplingOptions {
    /// Always the most likely token, no penalties.
    #[must_use]
    pub fn greedy() -> Self {
        Self { temperature: 0.0, min_p: 0.0, repetition_penalty: 1.0, ..Self::default() }
    }

    /// Checks every option.
    ///
    /// # Errors
    /// [`Error::Option`] for the first one that is NaN or out of its range.
    pub fn check(&self) -> Result<(), Error> {
        let ranges = [
            ("temperature", self.temperature, 0.0, 100.0),
            ("top_p", self.top_p, 0.0, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("repetition_penalty", self.repetition_penalty, 0.01, 100.0),
            ("presence_penalty", self.presence_penalty, -100.0, 100.0),
            ("frequency_penalty", self.frequency_penalty, -100.0, 100.0),
        ];
        for (option, value, low, high) in ranges {
            // The comparison is written so that NaN is refused.
            if !(value >= low && value <= high) {
                let need = format!("a number from {low} to {high}");
                return Err(Error::Option { option, got: value.to_string(), need });
            }
        }
        let wrong = |got: String, need: &str| {
            Err(Error::Option { option: "logit_bias", got, need: need.to_owned() })
        };
        if self.logit_bias.len() > MAX_LOGIT_BIAS {
            let need = format!("at most {MAX_LOGIT_BIAS}");
            return wrong(format!("{} tokens", self.logit_bias.len()), &need);
        }
        if let Some((_, bias)) = self.logit_bias.iter().find(|(_, b)| !(-100.0..=100.0).contains(b))
        {
            return wrong(bias.to_string(), "numbers from -100 to 100");
        }
        let mut tokens: Vec<u32> = self.logit_bias.iter().map(|(token, _)| *token).collect();
        tokens.sort_unstable();
        match tokens.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => wrong(format!("token {} twice", pair[0]), "each token once"),
            None => Ok(()),
        }
    }

    /// Checks that a model of `vocab` ids has all tokens of `logit_bias`.
    pub(crate) fn check_tokens(&self, vocab: usize) -> Result<(), Error> {
        match self.logit_bias.iter().find(|(token, _)| *token as usize >= vocab) {
            None => Ok(()),
            Some((token, _)) => Err(Error::Option {
                option: "logit_bias",
                got: format!("token {token}"),
                need: format!("token ids below {vocab}"),
            }),
        }
    }

    /// The kernels' parameters, with `seed` in place of the option.
    pub(super) fn params(&self, seed: u64) -> SampleParams {
        SampleParams {
            // Both halves of the seed matter.
            seed: (seed ^ (seed >> 32).wrapping_mul(0x9e37_79b9)) as u32,
            top_k: self.top_k,
            // A division by a smaller temperature overflows; sampling is greedy in effect there.
            temperature: if self.temperature < 1e-4 { 0.0 } else { self.temperature },
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias.clone(),
        }
    }
}

/// A random seed, short enough to be typed again.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() >> 32
}

/// A random seed, short enough to be typed again, from the browser's random numbers: hashes have
/// the same keys on every page.
#[cfg(target_arch = "wasm32")]
pub(super) fn random_seed() -> u64 {
    getrandom::u32().map_or(0, u64::from)
}
