//! Whole models against what is right for them, a run for each of the engine's choices.
//!
//! How far the logits may be off, as a part of the largest, follows from where values are rounded:
//!
//! - **Exact** (lanes, float activations, weights and keys in f32, as they are): only the order of
//!   sums differs from the reference's. Measured near 1e-6 on every adapter; 1e-3 leaves room for
//!   drivers' own `exp` and `inverseSqrt`.
//! - **Rounded operands.** Rounding is independent of the values, so a product of many terms is off, in
//!   the mean square, by the same part as each of its terms: the root of the squares of both operands'
//!   errors, `e`. Errors of products that follow one another add as squares. A layer has a product into
//!   its operator and one out of it, one into its FFN and one out of it; but the operator multiplies
//!   three of the first one's results (B x C, or q, k and v) and SwiGLU two, so a layer counts as
//!   3 + 1 + 2 + 1 products, and the head as one more: `n = 7 layers + 1`. The largest of the errors is
//!   as many deviations as the largest of the logits, so the logits are off by about `e sqrt(n)` of the
//!   largest. The bound is three times that, since softmax, routers and norms may amplify.
//!   - **Matrix units**: both operands become f16, which changes a value by at most 2^-11 of it and, in
//!     the mean square, by 0.42 of that; e = 2.9e-4, n = 22: 4.1e-3. Measured on an H100: 1.75e-3.
//!   - **Int8 activations**: both operands have 8 bits in blocks of 32. A step is 1/127 of the block's
//!     largest, which of 32 normal values is 2.4 deviations; e = sqrt(2) 2.4 / (127 sqrt(12)) = 7.7e-3,
//!     n = 22: 0.11. Measured on llvmpipe: 5.5e-2.
//!
//! A wrong kernel is off by about as much as the values themselves. `tests/it/model_check.rs` plants
//! errors in each choice.

use safetensors::tensor::SafeTensors;

use super::KernelCheck;
use super::compare::worst;
use super::models::{blocks_model, golden_bytes, golden_model};
use crate::engine::{Engine, GenerateOptions, SamplingOptions, Session};
use crate::error::Error;
use crate::formats::{FormatError, ModelFiles};
use crate::gpu::{Caps, Device};
use crate::kernels::{Activations, Choices, KvFormat, MatmulCoop, Multiply, Reduce};
use crate::model::{Recipe, WeightChoice};

/// Positions of the engines.
const CONTEXT: u32 = 64;
/// Rows of a pass where few rows are wanted.
const FEW: usize = 8;
/// Layers of both models.
const LAYERS: f64 = 3.0;
/// Tokens that are generated.
const GREEDY: usize = 16;

/// A choice that rounds in its own way.
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
    /// Those that an engine may make on a device.
    #[must_use]
    pub fn available(caps: &Caps) -> Vec<Self> {
        let mut all = vec![Self::Exact];
        if MatmulCoop::available(caps) {
            all.push(Self::MatrixUnits);
        }
        all.push(Self::Int8);
        all
    }

    /// By which part of the largest logit logits may be off; see the top of this file.
    #[must_use]
    pub fn bound(self) -> f64 {
        let of = |operand: f64| 3.0 * 2.0_f64.sqrt() * operand * (7.0 * LAYERS + 1.0).sqrt();
        match self {
            Self::Exact => 1e-3,
            Self::MatrixUnits => of(0.42 / 2048.0),
            Self::Int8 => of(2.4 / (127.0 * 12.0_f64.sqrt())),
        }
    }

    /// What an engine is built with.
    #[must_use]
    pub fn choices(self, caps: &Caps) -> Choices {
        let own = Choices::by_capability(caps);
        let exact = Choices { activations: Activations::Float, multiply: Multiply::Lanes, ..own };
        match self {
            Self::Exact => exact,
            // Lanes that own rows leave nothing to matrix units.
            Self::MatrixUnits => Choices {
                multiply: Multiply::MatrixUnits,
                reduce: Reduce::shared_rows(caps),
                ..exact
            },
            Self::Int8 => Choices { activations: Activations::Int8, ..exact },
        }
    }

    /// The model that it is checked with: a tiny LFM2-MoE (convolutions, attention, dense and MoE
    /// FFNs), whose widths are whole blocks of 32 where weights are to be in blocks.
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

    async fn engine(self, device: &Device, files: ModelFiles) -> Result<Engine, Error> {
        let builder = Engine::builder()
            .files(files)
            .gpu(device.clone())
            .context_length(CONTEXT)
            .kv_format(KvFormat::F32)
            .choices(self.choices(device.caps()));
        match self {
            Self::Int8 => builder.weights(Recipe::new(WeightChoice::Q8)).build().await,
            _ => builder.build().await,
        }
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

/// Runs a model by a choice. `files` is what runs, [`ModelChoice::model`] unless an error is planted;
/// what is right is always that model's.
///
/// # Errors
/// The device refuses a kernel, is lost or out of memory.
pub async fn check_model(
    device: &Device,
    choice: ModelChoice,
    files: ModelFiles,
) -> Result<KernelCheck, Error> {
    let right = match choice {
        ModelChoice::Int8 => Right::by_exact(device, choice.model()).await?,
        _ => Right::by_transformers()?,
    };
    let engine = choice.engine(device, files).await?;
    let rows = rows(&engine, &right.ids, choice.pass_rows()).await?;
    let greedy = greedy(&engine, &right.ids).await?;
    // How clear each greedy token is, is told by the logits of exact passes.
    let exact = match choice {
        ModelChoice::Exact => engine,
        other => ModelChoice::Exact.engine(device, other.model()).await?,
    };
    let margins = margins(&exact, &right).await?;
    let judged = judge(choice, &right, &rows, &greedy, &margins);
    Ok(KernelCheck {
        kernel: "(whole model)",
        variant: format!("{}; {:?}", choice.name(), choice.choices(device.caps())),
        case: format!("{}: {}", choice.name(), right.source),
        max_error: judged.error,
        tolerance: choice.bound(),
        passed: judged.failure.is_empty(),
        failure: judged.failure,
    })
}

/// A position: the experts of all layers, sorted in each, and the logits.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    experts: Vec<u32>,
    logits: Vec<f32>,
}

/// What is right for a model.
struct Right {
    source: &'static str,
    ids: Vec<u32>,
    rows: Vec<Row>,
    greedy: Vec<u32>,
}

impl Right {
    /// As transformers computed it in f32.
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
        let rows = logits.chunks(logits.len() / n).enumerate().map(|(i, logits)| Row {
            experts: (0..layers)
                .flat_map(|layer| sorted(&experts[(layer * n + i) * top_k..][..top_k]))
                .collect(),
            logits: logits.iter().map(|w| f32::from_bits(*w)).collect(),
        });
        Ok(Self { source: "tiny LFM2-MoE against transformers", rows: rows.collect(), ids, greedy })
    }

    /// As the exact choice computes it on the device, in f32.
    async fn by_exact(device: &Device, files: ModelFiles) -> Result<Self, Error> {
        let engine = ModelChoice::Exact.engine(device, files).await?;
        let vocab = engine.config().vocab_size as u32;
        let ids: Vec<u32> = (0..3 * FEW as u32).map(|i| (i * i * 7 + 5 * i + 3) % vocab).collect();
        let rows = rows(&engine, &ids, FEW).await?;
        let greedy = greedy(&engine, &ids).await?;
        Ok(Self { source: "tiny LFM2-MoE in blocks against its f32", ids, rows, greedy })
    }
}

fn sorted(ids: &[u32]) -> Vec<u32> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

/// Runs a prompt in passes of `per` rows.
async fn rows(engine: &Engine, ids: &[u32], per: usize) -> Result<Vec<Row>, Error> {
    let config = engine.config();
    let top_k = config.moe.as_ref().map_or(0, |moe| moe.top_k);
    let mut session = engine.session()?;
    let mut all = Vec::new();
    for piece in ids.chunks(per) {
        let trace = session.trace(piece).await?;
        let mut rows = vec![Row { experts: Vec::new(), logits: Vec::new() }; piece.len()];
        for (name, words) in &trace {
            if name.ends_with(".feed_forward.ids") && top_k > 0 {
                let layer = rows.iter_mut().zip(words.chunks(top_k));
                layer.for_each(|(row, ids)| row.experts.extend(sorted(ids)));
            } else if name == "logits" {
                let logits = rows.iter_mut().zip(words.chunks(config.vocab_size));
                layer_logits(logits);
            }
        }
        all.extend(rows);
    }
    Ok(all)
}

fn layer_logits<'a>(rows: impl Iterator<Item = (&'a mut Row, &'a [u32])>) {
    rows.for_each(|(row, words)| row.logits = words.iter().map(|w| f32::from_bits(*w)).collect());
}

/// Greedy tokens behind a prompt.
async fn greedy(engine: &Engine, ids: &[u32]) -> Result<Vec<u32>, Error> {
    let options = GenerateOptions {
        sampling: Some(SamplingOptions::greedy()),
        max_tokens: Some(GREEDY),
        ignore_end: true,
        ..Default::default()
    };
    let mut session: Session = engine.session()?;
    let mut generation = session.generate(ids, &options)?;
    let mut tokens = Vec::new();
    while let Some(delta) = generation.next().await {
        match delta {
            Ok(delta) => tokens.extend(delta.token),
            // Broken logits: the answer is too short, and the comparison says so.
            Err(Error::NotFinite { .. }) => break,
            Err(e) => return Err(e),
        }
    }
    Ok(tokens)
}

/// Of each greedy token: by which part of the largest logit it leads the second.
async fn margins(exact: &Engine, right: &Right) -> Result<Vec<f64>, Error> {
    let mut text = right.ids.clone();
    text.extend(right.greedy.iter().take(right.greedy.len().saturating_sub(1)));
    let logits = exact.session()?.logits(&text, CONTEXT as usize).await?;
    let largest = largest(right.rows.iter().flat_map(|row| &row.logits));
    let all = logits.chunks(exact.config().vocab_size).skip(right.ids.len() - 1);
    Ok(all.map(|row| margin(row) / largest).collect())
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

/// Compares what a choice computed with what is right. A row of a rounding choice whose router chose
/// other experts, being undecided, is another function and is not compared; of four rows at most one
/// may be such. Greedy tokens are compared up to the first difference at a token that is not clear.
fn judge(
    choice: ModelChoice,
    right: &Right,
    rows: &[Row],
    greedy: &[u32],
    margins: &[f64],
) -> Judged {
    let bound = choice.bound();
    let largest = largest(right.rows.iter().flat_map(|row| &row.logits));
    let pairs: Vec<_> = rows
        .iter()
        .zip(&right.rows)
        .filter(|(row, right)| !choice.rounds() || row.experts == right.experts)
        .collect();
    let errors = pairs.iter().flat_map(|(row, right)| {
        let pairs = row.logits.iter().zip(&right.logits);
        pairs.map(|(g, w)| (f64::from(*g) - f64::from(*w)).abs() / largest)
    });
    // What is no number counts in every row.
    let broken = rows.iter().flat_map(|row| &row.logits).filter(|logit| logit.is_nan());
    let error = worst(errors.chain(broken.map(|_| f64::NAN)));
    let clear = |i: usize| margins.get(i).is_some_and(|margin| *margin > 2.0 * bound);
    let differs = greedy.iter().zip(&right.greedy).position(|(got, want)| got != want);
    let sizes = |rows: &[Row]| rows.iter().map(|row| row.logits.len()).collect::<Vec<_>>();
    let failure = if sizes(rows) != sizes(&right.rows) {
        "the numbers of logits are not the reference's".to_owned()
    } else if error > bound || error.is_nan() {
        format!("logits differ by {error:e} of the largest, at most {bound:e} is rounding")
    } else if 4 * pairs.len() < 3 * rows.len() {
        format!("{} of {} rows chose other experts", rows.len() - pairs.len(), rows.len())
    } else if greedy.len() != right.greedy.len() {
        format!("{} greedy tokens, the reference has {}", greedy.len(), right.greedy.len())
    } else if let Some(i) = differs.filter(|i| clear(*i)) {
        format!("greedy tokens {greedy:?}, the reference has {:?} (token {i})", right.greedy)
    } else {
        String::new()
    };
    Judged { error, failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> Right {
        let row = |i: u32| Row { experts: vec![0, 1], logits: vec![i as f32, -4.0, 1.0] };
        Right {
            source: "",
            ids: vec![1, 2, 3, 4],
            rows: (0..4).map(row).collect(),
            greedy: vec![5, 6, 7],
        }
    }

    fn judged(choice: ModelChoice, change: impl FnOnce(&mut Vec<Row>, &mut Vec<u32>)) -> Judged {
        let right = right();
        let (mut rows, mut greedy) = (right.rows.clone(), right.greedy.clone());
        change(&mut rows, &mut greedy);
        judge(choice, &right, &rows, &greedy, &[0.5, 1e-5, 0.5])
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
    fn tokens_are_compared_where_they_are_clear() {
        for choice in ALL {
            let other = |i: usize| judged(choice, |_, greedy| greedy[i] = 9).failure;
            assert!(other(0).contains("greedy tokens"), "{choice:?}");
            // Not clear: and what follows is another text.
            assert_eq!(other(1), "", "{choice:?}");
            assert_eq!(judged(choice, |_, greedy| greedy[1..].fill(9)).failure, "");
            assert!(other(2).contains("greedy tokens"), "{choice:?}");
        }
    }

    #[test]
    fn rows_of_other_experts_count_only_where_operands_are_rounded() {
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
            rows[0] = Row { experts: vec![0, 2], logits: vec![0.0, f32::NAN, 1.0] };
        });
        assert!(nan.error.is_nan() && !nan.failure.is_empty());
    }

    #[test]
    fn the_engines_own_choices_are_among_those_checked() {
        let gpu = Caps {
            f16: true,
            subgroups: true,
            min_subgroup: 32,
            max_subgroup: 32,
            coop_side: 16,
            max_workgroup_memory: 48 << 10,
            ..Caps::core()
        };
        for caps in [
            Caps::core(),
            Caps { software: true, ..Caps::core() },
            gpu,
            Caps { coop_side: 0, ..gpu },
            Caps { software: true, ..gpu },
        ] {
            let checked: Vec<_> =
                ModelChoice::available(&caps).iter().map(|c| c.choices(&caps)).collect();
            let own = Choices::by_capability(&caps);
            for own in [own, Choices { multiply: Multiply::Lanes, ..own }] {
                assert!(checked.contains(&own), "{caps:?}");
            }
        }
    }
}
