//! KL divergence between two models' predictions, for `lfm2 eval --against`.

use std::path::Path;

use super::error::CliError;
use super::options::{ActivationsChoice, Common, Kv};
use super::{load, loras};
use crate::engine::{Engine, OpenedModel, Sequence};
use crate::text::Conversation;

/// Rows of a forward pass: few enough that kernels of decoding run, with int8 activations.
const ROWS: usize = 8;

/// The reference model's files.
pub struct Reference {
    model: OpenedModel,
    common: Common,
}

impl Reference {
    /// Opens the reference model, and checks that both models have one vocabulary. Reads no weights, so that two
    /// models that cannot be compared are refused early.
    pub fn open(path: &Path, common: &Common, model: &OpenedModel) -> Result<Self, CliError> {
        let common = Common {
            model: Some(path.to_owned()),
            weights: None,
            activations: Some(ActivationsChoice::Float),
            kv: Some(Kv::F32),
            skip_selftest: true,
            lora: Vec::new(),
            lora_scale: Vec::new(),
            ..common.clone()
        };
        let reference = load::open(&common)?;
        let (ours, theirs) = (model.config.vocab_size, reference.config.vocab_size);
        if ours != theirs {
            return Err(CliError::User(format!(
                "--against: {} has a vocabulary of {theirs}, the model one of {ours}",
                path.display()
            )));
        }
        Ok(Self { model: reference, common })
    }

    /// Loads the reference model with its stored weights, float activations and a KV cache in f32.
    pub fn load(self) -> Result<Divergence, CliError> {
        let reference = load::engine_of(self.model, &self.common, |builder| builder)?;
        Ok(Divergence { reference: reference.sequence()?, positions: 0, agree: 0, nats: 0.0 })
    }
}

/// The reference model, and the sums so far.
pub struct Divergence {
    reference: Sequence,
    positions: usize,
    agree: usize,
    nats: f64,
}

impl Divergence {
    /// Compares both models' predictions of the expected answer's tokens and of its end.
    pub async fn add(
        &mut self,
        engine: &Engine,
        conversation: &Conversation,
        expected: &str,
    ) -> Result<(), crate::Error> {
        let mut own = engine.sequence()?;
        own.set_lora(loras::first(engine).as_ref())?;
        let prompt = engine.encode_chat(conversation)?;
        let mut answer = prompt.last().copied().into_iter().collect::<Vec<_>>();
        answer.extend(engine.tokenizer()?.encode(expected, false)?);
        let before = &prompt[..prompt.len().saturating_sub(1)];
        let mut logits = Vec::new();
        for one in [&mut self.reference, &mut own] {
            one.rewind(0)?;
            if !before.is_empty() {
                one.feed(before).await?;
            }
            logits.push(one.logits(&answer, ROWS).await?);
        }
        let vocab = engine.config().vocab_size;
        for (p, q) in logits[0].chunks_exact(vocab).zip(logits[1].chunks_exact(vocab)) {
            self.positions += 1;
            self.agree += usize::from(greedy(p) == greedy(q));
            self.nats += kl_divergence(p, q);
        }
        Ok(())
    }

    /// `{"positions", "mean_kl_divergence", "greedy_agreement"}`, the divergence in nats.
    pub fn json(&self) -> serde_json::Value {
        let n = self.positions.max(1) as f64;
        serde_json::json!({
            "positions": self.positions,
            "mean_kl_divergence": self.nats / n,
            "greedy_agreement": self.agree as f64 / n,
        })
    }

    /// The same as text.
    pub fn text(&self) -> String {
        let n = self.positions.max(1) as f64;
        format!(
            "mean KL divergence       {:.3e} nats\ngreedy agreement         {} of {}  {:6.2} %\n",
            self.nats / n,
            self.agree,
            self.positions,
            100.0 * self.agree as f64 / n
        )
    }
}

/// Index of the first of the largest logits.
fn greedy(logits: &[f32]) -> usize {
    logits.iter().enumerate().fold(0, |best, (i, v)| if *v > logits[best] { i } else { best })
}

/// KL(softmax(p) || softmax(q)) of two rows of logits, in nats.
fn kl_divergence(p: &[f32], q: &[f32]) -> f64 {
    let (p_norm, q_norm) = (log_sum_exp(p), log_sum_exp(q));
    let term = |(a, b): (&f32, &f32)| {
        let (log_p, log_q) = (f64::from(*a) - p_norm, f64::from(*b) - q_norm);
        log_p.exp() * (log_p - log_q)
    };
    p.iter().zip(q).map(term).sum()
}

/// `ln(sum(exp(logits)))`.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let high = logits.iter().fold(f64::NEG_INFINITY, |m, l| m.max(f64::from(*l)));
    high + logits.iter().map(|l| (f64::from(*l) - high).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divergence_by_hand() {
        // p = (1/4, 3/4), q = (1/2, 1/2); a constant added to a row changes nothing.
        let p = [7.0, 7.0 + 3f32.ln()];
        let by_hand = 0.25 * (0.25f64 / 0.5).ln() + 0.75 * (0.75f64 / 0.5).ln();
        assert!((kl_divergence(&p, &[-2.0, -2.0]) - by_hand).abs() < 1e-6);
        assert!(kl_divergence(&p, &p).abs() < 1e-12);
        assert!(kl_divergence(&p, &[f32::NAN, 0.0]).is_nan());
        assert_eq!(greedy(&[1.0, 3.0, 3.0, 2.0]), 1);
    }
}
