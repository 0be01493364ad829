//! The sampling options of a request.

use super::fields::Fields;
use crate::engine::{Engine, SamplingOptions};
use crate::error::Error;

/// The sampling options of a request; the model's recommendation supplies the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Overrides {
    pub(super) temperature: Option<f32>,
    pub(super) top_k: Option<u32>,
    pub(super) top_p: Option<f32>,
    pub(super) min_p: Option<f32>,
    pub(super) repetition_penalty: Option<f32>,
    pub(super) presence_penalty: Option<f32>,
    pub(super) frequency_penalty: Option<f32>,
    pub(super) logit_bias: Vec<(u32, f32)>,
    pub(super) seed: Option<u64>,
}

impl Overrides {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Error> {
        Ok(Self {
            temperature: fields.float("temperature")?,
            top_k: fields.or_minus_one("top_k")?.map(|k| k.unwrap_or(0)),
            top_p: fields.float("top_p")?,
            min_p: fields.float("min_p")?,
            repetition_penalty: fields.float("repetition_penalty")?,
            presence_penalty: fields.float("presence_penalty")?,
            frequency_penalty: fields.float("frequency_penalty")?,
            logit_bias: fields.logit_bias()?,
            seed: fields.seed()?,
        })
    }

    /// The options on `engine`, of the answer with this index. With a given seed, answers of one request have seeds
    /// in a row.
    ///
    /// # Errors
    /// As [`SamplingOptions::check`].
    pub(super) fn on(&self, engine: &Engine, answer: usize) -> Result<SamplingOptions, Error> {
        let own = engine.recommended_sampling();
        let seed = self.seed.or(own.seed);
        let sampling = SamplingOptions {
            temperature: self.temperature.unwrap_or(own.temperature),
            top_k: self.top_k.unwrap_or(own.top_k),
            top_p: self.top_p.unwrap_or(own.top_p),
            min_p: self.min_p.unwrap_or(own.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(own.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(own.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(own.frequency_penalty),
            logit_bias: self.logit_bias.clone(),
            seed: seed.map(|seed| seed.wrapping_add(answer as u64)),
        };
        sampling.check_tokens(engine.config().vocab_size)?;
        Ok(sampling)
    }
}
