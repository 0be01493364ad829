//! The expected results of the product kernels, and the errors that rounding allows.

use super::compare::{EPSILON, TINY};
use super::linear::{Inputs, LinearCase, Rounding, Rows};
use super::lora::Factors;
use crate::kernels::{Epilogue, Format};
use crate::reference::{self, After};

impl LinearCase {
    /// The expected elements and their tolerances.
    pub(super) fn expected(
        &self,
        i: &Inputs,
        format: Format,
        rounded: Rounding,
    ) -> (Vec<f32>, Vec<f64>) {
        let largest = |v: &[f32]| f64::from(v.iter().fold(0.0f32, |m, v| m.max(v.abs())));
        let absolute = Inputs {
            weight: magnitudes(&i.weight, format),
            bias: i.bias.as_ref().map(|b| b.iter().map(|v| v.abs()).collect()),
            x: i.x.iter().map(|v| v.abs()).collect(),
            lora: i.lora.as_ref().map(Factors::magnitudes),
            ..Inputs { ids: i.ids.clone(), gates: i.gates.clone(), ..Inputs::none() }
        };
        // Number of operations on a term, and the possible loss by flushing denormals.
        let terms = if rounded == Rounding::Half { self.cols } else { self.cols / 4 };
        // A gate's score has an error of 12 to 40 ulps, and so has the sum of all.
        let gates = if self.mode == Rows::Combine { 100 } else { 0 };
        let norm = if self.norm { self.cols / 8 + 32 } else { 0 };
        let lora = if self.lora > 0 { self.cols / 4 + self.lora } else { 0 };
        let depth = (terms + 16 + self.top_k + gates + norm + lora) as f64;
        let flushed =
            (self.cols * self.top_k) as f64 * (largest(&i.weight) + largest(&i.x) + 2.0) * TINY;
        let magnitudes = reference::matvec(&self.product(&absolute, After::Store));
        let mut errors: Vec<f64> =
            magnitudes.iter().map(|m| f64::from(*m) * depth * EPSILON + flushed).collect();
        // Errors by rounding: |w| times an input's error, and the reverse.
        let mut add = |weight: Vec<f32>, x: Vec<f32>| {
            let (ids, gates) = (i.ids.clone(), i.gates.clone());
            let inputs = Inputs { weight, x, ids, gates, ..Inputs::none() };
            let more = reference::matvec(&self.product(&inputs, After::Store));
            errors.iter_mut().zip(more).for_each(|(e, r)| *e += f64::from(r));
        };
        let abs = |v: &[f32]| v.iter().map(|v| v.abs()).collect::<Vec<_>>();
        match rounded {
            Rounding::None => {}
            Rounding::Int8 => add(abs(&i.weight), rounding(&i.x)),
            Rounding::Half => {
                let half = |v: &f32, least: f32| (v.abs() / 2047.0).max(least);
                add(abs(&i.weight), i.x.iter().map(|v| half(v, 2e-6)).collect());
                add(i.weight.iter().map(|v| half(v, 3e-8)).collect(), abs(&i.x));
            }
        }
        match self.epilogue {
            Epilogue::Store => (reference::matvec(&self.product(i, After::Store)), errors),
            Epilogue::Add => {
                let want = reference::matvec(&self.product(i, After::Add(&i.before)));
                let bounds = want
                    .iter()
                    .zip(&i.before)
                    .zip(errors)
                    .map(|((w, b), e)| e + f64::from(w.abs() + b.abs()) * 2.0 * EPSILON)
                    .collect();
                (want, bounds)
            }
            Epilogue::Swiglu => {
                let raw = reference::matvec(&self.product(i, After::Store));
                let bounds = raw
                    .chunks(2)
                    .zip(errors.chunks(2))
                    .map(|(v, e)| {
                        let (gate, up) = (f64::from(v[0]), f64::from(v[1]).abs());
                        let silu = gate / (1.0 + (-gate).exp());
                        // The slope of silu is at most 1.1; exp of a large value has an error of
                        // some ulps.
                        let own = silu.abs() * (16.0 + 4.0 * gate.abs().min(100.0)) * EPSILON
                            + 1.1 * e[0]
                            + 1e-35;
                        own * (up + e[1]) + silu.abs() * e[1]
                    })
                    .collect();
                (reference::matvec(&self.product(i, After::Swiglu)), bounds)
            }
        }
    }
}

/// Largest change of each input by rounding to 8 bits in blocks of 32: half a step of the block's
/// largest, or the value itself in a block too small for steps.
fn rounding(x: &[f32]) -> Vec<f32> {
    let largest = |block: &[f32]| block.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    x.chunks(32).flat_map(|b| vec![(largest(b) / 253.0).max(1e-30); b.len()]).collect()
}

/// Size of a weight for bounds: |w|, plus twice the largest of the block if the block has an offset, which is
/// multiplied and added separately.
fn magnitudes(weight: &[f32], format: Format) -> Vec<f32> {
    let largest = |block: &[f32]| block.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    match format.block().0 {
        1 => weight.iter().map(|v| v.abs()).collect(),
        _ => weight.chunks(32).flat_map(|b| b.iter().map(|v| v.abs() + 2.0 * largest(b))).collect(),
    }
}
