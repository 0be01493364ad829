//! Compares whole models with their reference, once for each of the engine's choices.
//!
//! The bound on the logits' error, relative to the largest logit, follows from the roundings:
//!
//! - **Exact** (lanes, float activations, weights and keys in f32): only the order of sums differs
//!   from the reference's. The error was near 1e-6 on every adapter; 1e-3 allows for the drivers'
//!   own `exp` and `inverseSqrt`.
//! - **Rounded operands.** Rounding errors are independent of the values, so a product of many
//!   terms has the same relative error, in the mean square, as each of its terms: `e`, the root of
//!   the sum of squares of both operands' errors. Errors of consecutive products add as squares. A
//!   layer has a product into its operator and one out of it, one into its FFN and one out of it.
//!   The operator multiplies three results of its first product (B x C, or q, k and v), and SwiGLU
//!   two, so a layer counts as 3 + 1 + 2 + 1 products, and the head as one more: `n = 7 layers +
//!   1`. The largest error is as many deviations as the largest logit, so the logits' error is
//!   about `e sqrt(n)` of the largest. The bound is three times that, since softmax, routers and
//!   norms may amplify errors.
//!   - **Matrix units**: both operands become f16, which changes a value by at most 2^-11 of it
//!     and, in the mean square, by 0.42 of that. With e = 2.9e-4 and n = 22 the bound is 4.1e-3; an
//!     H100 measured 1.75e-3.
//!   - **Int8 activations**: both operands have 8 bits in blocks of 32. A step is 1/127 of the
//!     block's largest value, which is 2.4 deviations for 32 normal values. With e = sqrt(2) 2.4 /
//!     (127 sqrt(12)) = 7.7e-3 and n = 22 the bound is 0.11; llvmpipe measured 5.5e-2.
//!
//! A wrong kernel has an error of about the size of the values themselves.
//! `tests/it/model_check.rs` plants errors in each choice.

use safetensors::tensor::SafeTensors;

use super::KernelCheck;
use super::compare::worst;
use super::forward::{CONTEXT, ModelOnDevice, Outputs, sorted};
use super::models::{blocks_model, golden_bytes, golden_model};
use crate::error::Error;
use crate::formats::{FormatError, ModelFiles};
use crate::gpu::{Caps, Device};
use crate::kernels::{Activations, Choices, MatmulCoop, Multiply, Reduce};
use crate::model::{Recipe, WeightChoice};

/// Rows of a pass of few rows.
const FEW: usize = 8;
/// Layers of both models.
const LAYERS: f64 = 3.0;
/// Tokens that are generated.
const GREEDY: usize = 16;

/// Kernel choices with the same rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelChoice {
    /// Everything in f32.
    Exact,
    /// Products of many rows by matrix units, their inputs in f16.
    MatrixUnits,
    /// Products of few rows with int8 weights and activations.
    Int8,
}

impl ModelChoice {
    /// The choices that an engine may make on a device.
    #[must_use]
    pub fn available(caps: &Caps) -> Vec<Self> {
        let mut all = vec![Self::Exact];
        if MatmulCoop::available(caps) {
            all.push(Self::MatrixUnits);
        }
        all.push(Self::Int8);
        all
    }

    /// Bound on the logits' error, relative to the largest logit; the top of this file derives it.
    #[must_use]
    pub fn bound(self) -> f64 {
        let of = |operand: f64| 3.0 * 2.0_f64.sqrt() * operand * (7.0 * LAYERS + 1.0).sqrt();
        match self {
            Self::Exact => 1e-3,
            Self::MatrixUnits => of(0.42 / 2048.0),
            Self::Int8 => of(2.4 / (127.0 * 12.0_f64.sqrt())),
        }
    }

    /// Kernel choices of a run.
    #[must_use]
    pub fn choices(self, caps: &Caps) -> Choices {
        // A prompt of the check has at most 64 rows, so the kernels for many rows begin at nine.
        let own = Choices { matvec_rows: FEW as u32, ..Choices::by_capability(caps) };
        let exact = Choices { activations: Activations::Float, multiply: Multiply::Lanes, ..own };
        match self {
            Self::Exact => exact,
            // Serial kernels do not use matrix units.
            Self::MatrixUnits => Choices {
                multiply: Multiply::MatrixUnits,
                reduce: Reduce::shared_rows(caps),
                ..exact
            },
            Self::Int8 => Choices { activations: Activations::Int8, ..exact },
        }
    }

    /// The model of the check: a tiny LFM2-MoE with convolutions, attention, dense and MoE FFNs.
    /// For weights in blocks its widths are multiples of 32.
    #[must_use]
    pub fn model(self) -> ModelFiles {
        match self {
            Self::Int8 => blocks_model(),
            _ => golden_model(),
        }
    }

    fn rounds(self) -> bool {
        self != Self::Exact
    }

    async fn load(self, device: &Device, files: ModelFiles) -> Result<ModelOnDevice, Error> {
        let recipe = (self == Self::Int8).then(|| Recipe::new(WeightChoice::Q8));
        ModelOnDevice::load(device, files, self.choices(device.caps()), recipe.as_ref()).await
    }

    /// Int8 activations are for few rows, matrix units for many.
    fn pass_rows(self) -> usize {
        if self == Self::Int8 { FEW } else { CONTEXT as usize }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact: lanes, float activations, f32",
            Self::MatrixUnits => "matrix units: inputs in f16",
            Self::Int8 => "int8 activations, weights in Q8",
        }
    }
}

/// Runs a model with a choice. `files` is the model that runs: [`ModelChoice::model`], unless a
/// test plants an error. The reference is always of that model.
///
/// # Errors
/// The device refuses a kernel, is lost or out of memory.
pub async fn check_model(
    device: &Device,
    choice: ModelChoice,
    files: ModelFiles,
) -> Result<KernelCheck, Error> {
    let reference = match choice {
        ModelChoice::Int8 => Reference::by_exact(device, choice.model()).await?,
        _ => Reference::by_transformers()?,
    };
    let model = choice.load(device, files).await?;
    let outputs = model.outputs(&reference.ids, choice.pass_rows()).await?;
    let greedy = model.greedy(&reference.ids, GREEDY).await?;
    // The logits of exact passes give the margin of each greedy token.
    let exact = match choice {
        ModelChoice::Exact => model,
        other => ModelChoice::Exact.load(device, other.model()).await?,
    };
    let margins = margins(&exact, &reference).await?;
    let judged = judge(choice, &reference, &outputs, &greedy, &margins);
    Ok(KernelCheck {
        kernel: "(whole model)",
        variant: format!("{}; {:?}", choice.name(), choice.choices(device.caps())),
        case: format!("{}: {}", choice.name(), reference.source),
        max_error: judged.error,
        tolerance: choice.bound(),
        passed: judged.failure.is_empty(),
        failure: judged.failure,
    })
}

/// Reference results of a model.
struct Reference {
    source: &'static str,
    ids: Vec<u32>,
    rows: Vec<Outputs>,
    greedy: Vec<u32>,
}

impl Reference {
    /// The results of transformers in f32.
    fn by_transformers() -> Result<Self, Error> {
        let broken = |e: safetensors::SafeTensorError| FormatError::File {
            file: "golden.safetensors".to_owned(),
            problem: e.to_string(),
        };
        let golden =
            SafeTensors::deserialize(golden_bytes("golden.safetensors")).map_err(broken)?;
        let words = |name: &str| -> Result<Vec<u32>, Error> {
            Ok(bytemuck::pod_collect_to_vec(golden.tensor(name).map_err(broken)?.data()))
        };
        let (ids, greedy) = (words("input_ids")?, words("greedy")?);
        let (logits, experts) = (words("logits")?, words("router_experts")?);
        let n = ids.len().max(1);
        let layers = golden.tensor("router_experts").map_err(broken)?.shape()[0].max(1);
        let top_k = experts.len() / (layers * n);
        let rows = logits.chunks(logits.len() / n).enumerate().map(|(i, logits)| Outputs {
            experts: (0..layers)
                .flat_map(|layer| sorted(&experts[(layer * n + i) * top_k..][..top_k]))
                .collect(),
            logits: logits.iter().map(|w| f32::from_bits(*w)).collect(),
        });
        Ok(Self { source: "tiny LFM2-MoE against transformers", rows: rows.collect(), ids, greedy })
    }

    /// The results of the exact choice on the device, in f32.
    async fn by_exact(device: &Device, files: ModelFiles) -> Result<Self, Error> {
        let model = ModelChoice::Exact.load(device, files).await?;
        let vocab = model.config.vocab_size as u32;
        let ids: Vec<u32> = (0..3 * FEW as u32).map(|i| (i * i * 7 + 5 * i + 3) % vocab).collect();
        let rows = model.outputs(&ids, FEW).await?;
        let greedy = model.greedy(&ids, GREEDY).await?;
        Ok(Self { source: "tiny LFM2-MoE in blocks against its f32", ids, rows, greedy })
    }
}

/// For each greedy token, its lead over the second one, relative to the largest logit.
async fn margins(exact: &ModelOnDevice, reference: &Reference) -> Result<Vec<f64>, Error> {
    let mut text = reference.ids.clone();
    text.extend(reference.greedy.iter().take(reference.greedy.len().saturating_sub(1)));
    let outputs = exact.outputs(&text, CONTEXT as usize).await?;
    let largest = largest(reference.rows.iter().flat_map(|row| &row.logits));
    let rows = outputs.iter().skip(reference.ids.len() - 1);
    Ok(rows.map(|row| margin(&row.logits) / largest).collect())
}

fn margin(logits: &[f32]) -> f64 {
    let (mut first, mut second) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for logit in logits.iter().map(|l| f64::from(*l)) {
        if logit > first {
            (first, second) = (logit, first);
        } else if logit > second {
            second = logit;
        }
    }
    first - second
}

fn largest<'a>(values: impl Iterator<Item = &'a f32>) -> f64 {
    values.fold(0.0, |m, v| m.max(f64::from(v.abs())))
}

struct Judged {
    error: f64,
    failure: String,
}

/// Compares a choice's results with the reference. If rounding makes a router choose other experts
/// at a near tie, the row computes another function and is not compared; at most one row in four
/// may do so. Greedy tokens are compared up to the first difference at a token without a clear
/// margin.
fn judge(
    choice: ModelChoice,
    reference: &Reference,
    rows: &[Outputs],
    greedy: &[u32],
    margins: &[f64],
) -> Judged {
    let bound = choice.bound();
    let largest = largest(reference.rows.iter().flat_map(|row| &row.logits));
    let pairs: Vec<_> = rows
        .iter()
        .zip(&reference.rows)
        .filter(|(row, reference)| !choice.rounds() || row.experts == reference.experts)
        .collect();
    let errors = pairs.iter().flat_map(|(row, reference)| {
        let pairs = row.logits.iter().zip(&reference.logits);
        pairs.map(|(g, w)| (f64::from(*g) - f64::from(*w)).abs() / largest)
    });
    // A NaN counts in every row.
    let broken = rows.iter().flat_map(|row| &row.logits).filter(|logit| logit.is_nan());
    let error = worst(errors.chain(broken.map(|_| f64::NAN)));
    let clear = |i: usize| margins.get(i).is_some_and(|margin| *margin > 2.0 * bound);
    let differs = greedy.iter().zip(&reference.greedy).position(|(got, want)| got != want);
    let sizes = |rows: &[Outputs]| rows.iter().map(|row| row.logits.len()).collect::<Vec<_>>();
    let failure = if sizes(rows) != sizes(&reference.rows) {
        "the numbers of logits are not the reference's".to_owned()
    } else if error > bound || error.is_nan() {
        format!("logits differ by {error:e} of the largest, at most {bound:e} is rounding")
    } else if 4 * pairs.len() < 3 * rows.len() {
        format!("{} of {} rows chose other experts", rows.len() - pairs.len(), rows.len())
    } else if greedy.len() != reference.greedy.len() {
        format!("{} greedy tokens, the reference has {}", greedy.len(), reference.greedy.len())
    } else if let Some(i) = differs.filter(|i| clear(*i)) {
        format!("greedy tokens {greedy:?}, the reference has {:?} (token {i})", reference.greedy)
    } else {
        String::new()
    };
    Judged { error, failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Reference {
        let row = |i: u32| Outputs { experts: vec![0, 1], logits: vec![i as f32, -4.0, 1.0] };
        Reference {
            source: "",
            ids: vec![1, 2, 3, 4],
            rows: (0..4).map(row).collect(),
            greedy: vec![5, 6, 7],
        }
    }

    fn judged(
        choice: ModelChoice,
        change: impl FnOnce(&mut Vec<Outputs>, &mut Vec<u32>),
    ) -> Judged {
        let reference = reference();
        let (mut rows, mut greedy) = (reference.rows.clone(), reference.greedy.clone());
        change(&mut rows, &mut greedy);
        judge(choice, &reference, &rows, &greedy, &[0.5, 1e-5, 0.5])
    }

    const ALL: [ModelChoice; 3] = [ModelChoice::Exact, ModelChoice::MatrixUnits, ModelChoice::Int8];

    #[test]
    fn errors_up_to_the_bound_pass_and_no_others() {
        for choice in ALL {
            assert_eq!(judged(choice, |_, _| {}).failure, "");
            // The largest logit is 4.
            let off = |by: f64| {
                judged(choice, |rows, _| rows[2].logits[1] += (4.0 * by * choice.bound()) as f32)
            };
            assert_eq!(off(0.9).failure, "", "{choice:?}");
            assert!(off(1.1).failure.contains("logits differ"), "{choice:?}");
            let nan = judged(choice, |rows, _| rows[1].logits[0] = f32::NAN);
            assert!(nan.failure.contains("NaN") && nan.error.is_nan(), "{choice:?}");
            let short = judged(choice, |rows, _| {
                rows[3].logits.pop();
            });
            assert!(short.failure.contains("numbers"), "{choice:?}");
            let ended = judged(choice, |_, greedy| greedy.truncate(2));
            assert!(ended.failure.contains("2 greedy tokens"), "{choice:?}");
        }
        assert!(
            judged(ModelChoice::MatrixUnits, |r, _| r[0].logits[0] += 4.0 * 1.75e-3)
                .failure
                .is_empty()
        );
    }

    #[test]
    fn greedy_tokens_are_compared_at_clear_margins() {
        for choice in ALL {
            let other = |i: usize| judged(choice, |_, greedy| greedy[i] = 9).failure;
            assert!(other(0).contains("greedy tokens"), "{choice:?}");
            // The margin is not clear, and the text after it may differ.
            assert_eq!(other(1), "", "{choice:?}");
            assert_eq!(judged(choice, |_, greedy| greedy[1..].fill(9)).failure, "");
            assert!(other(2).contains("greedy tokens"), "{choice:?}");
        }
    }

    #[test]
    fn rows_with_other_experts_are_ignored_only_with_rounding() {
        let flip = |choice, n: usize| {
            judged(choice, |rows, _| {
                for row in &mut rows[..n] {
                    row.experts = vec![0, 2];
                    row.logits[0] += 9.0;
                }
            })
            .failure
        };
        assert!(flip(ModelChoice::Exact, 1).contains("logits differ"));
        assert_eq!(flip(ModelChoice::Int8, 1), "");
        assert!(flip(ModelChoice::Int8, 2).contains("other experts"));
        let nan = judged(ModelChoice::Int8, |rows, _| {
            rows[0] = Outputs { experts: vec![0, 2], logits: vec![0.0, f32::NAN, 1.0] };
        });
        assert!(nan.error.is_nan() && !nan.failure.is_empty());
    }

    #[test]
    fn the_engines_own_choices_are_among_those_checked() {
        let gpu = Caps::everything();
        for caps in [
            Caps::core(),
            Caps { software: true, ..Caps::core() },
            gpu,
            Caps { coop_side: 0, ..gpu },
            Caps { software: true, ..gpu },
        ] {
            let checked: Vec<_> =
                ModelChoice::available(&caps).iter().map(|c| c.choices(&caps)).collect();
            // The check has fewer rows where the kernels for many begin.
            let own = Choices { matvec_rows: FEW as u32, ..Choices::by_capability(&caps) };
            for own in [own, Choices { multiply: Multiply::Lanes, ..own }] {
                assert!(checked.contains(&own), "{caps:?}");
            }
        }
    }
}
