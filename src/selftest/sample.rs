//! Cases of `sample_prepare`, `sample_threshold` and `sample_draw`.

use super::compare::{Comparison, EPSILON, TINY};
use super::data::{Output, Pass, UNTOUCHED_ID, run};
use super::{Fill, KernelCheck, Rng, Span};
use crate::gpu::{Device, GpuError};
use crate::kernels::{
    Batch, MAX_LOGIT_BIAS, NOT_FINITE, PAGE, Reduce, Row, SampleDraw, SampleParams, SamplePrepare,
    SampleThreshold, SeqRows,
};
use crate::reference::{self, Options};

/// A case of sampling: one sequence per entry of `options`.
#[derive(Clone, Debug)]
pub struct SampleCase {
    /// Ids.
    pub vocab: usize,
    /// Options of each sequence.
    pub options: Vec<Options>,
    /// Tokens of each sequence before its last row.
    pub length: usize,
    /// Tokens of each sequence with a logit bias.
    pub biased: usize,
    /// Logit rows of each sequence: 1 for `sample_draw`.
    pub logit_rows: usize,
    /// Fill of the logits.
    pub fill: Fill,
    /// Factor on the logits.
    pub spread: f32,
    /// Steps a unit to which logits are rounded, so that many are equal; 0: no rounding.
    pub steps: u32,
    /// One id in this many is forbidden; 0: none.
    pub forbidden: usize,
    /// A value that replaces one logit.
    pub broken: Option<Broken>,
    /// Seed of the values.
    pub seed: u64,
}

/// A logit that is not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Broken {
    /// NaN or an infinity.
    pub value: f32,
    /// Whether it belongs to a forbidden id: then it must not matter.
    pub forbidden: bool,
}

/// Options in the format of the batch table.
fn params(o: &Options, logit_bias: Vec<(u32, f32)>) -> SampleParams {
    SampleParams {
        seed: o.seed,
        top_k: o.top_k as u32,
        temperature: o.temperature,
        top_p: o.top_p,
        min_p: o.min_p,
        repetition_penalty: o.repetition_penalty,
        presence_penalty: o.presence_penalty,
        frequency_penalty: o.frequency_penalty,
        logit_bias,
    }
}

struct Inputs {
    pass: Pass,
    /// `[logit rows, vocab]`.
    logits: Vec<f32>,
    allowed: Vec<bool>,
    /// `[slots, context]`.
    history: Vec<u32>,
    context: usize,
    slots: usize,
    /// Sequence and position of each logit row.
    rows: Vec<(usize, usize)>,
    generated_from: usize,
}

impl SampleCase {
    fn inputs(&self) -> Inputs {
        let mut rng = Rng::new(self.seed);
        let slots = self.options.len() + 1;
        // Slots in another order than sequences.
        let order = rng.order(slots);
        let spans: Vec<Span> = order
            .iter()
            .take(self.options.len())
            .map(|slot| Span {
                slot: *slot as u32,
                position: self.length as u32,
                rows: self.logit_rows as u32,
            })
            .collect();
        let mut pass = Pass::new(&spans, &mut rng);
        pass.want_logits(&(0..pass.rows()).collect::<Vec<_>>());
        let generated_from = self.length / 2;
        for (seq, options) in pass.batch.seqs.iter_mut().zip(&self.options) {
            let biased = rng.order(self.vocab).into_iter().take(self.biased.min(MAX_LOGIT_BIAS));
            let bias = biased.map(|token| (token as u32, rng.below(2001) as f32 / 10.0 - 100.0));
            seq.sample = params(options, bias.collect());
            seq.generated_from = generated_from as u32;
        }
        let mut rows = Vec::new();
        for s in 0..self.options.len() {
            rows.extend((0..self.logit_rows).map(|r| (s, self.length + r)));
        }
        let mut allowed: Vec<bool> = (0..self.vocab)
            .map(|_| self.forbidden == 0 || rng.below(self.forbidden) != 0)
            .collect();
        let always = rng.below(self.vocab);
        allowed[always] = true;
        let mut logits = self.fill.values(&mut rng, rows.len() * self.vocab);
        for l in &mut logits {
            *l *= self.spread;
            if self.steps > 0 {
                *l = (*l * self.steps as f32).round() / self.steps as f32;
            }
        }
        if let Some(broken) = self.broken {
            let free = |i: &usize| allowed[*i] != broken.forbidden;
            let ids: Vec<usize> = (0..self.vocab).filter(free).collect();
            for row in 0..rows.len() {
                if let Some(id) = ids.get(rng.below(ids.len())) {
                    logits[row * self.vocab + id] = broken.value;
                }
            }
        }
        let context = self.length + self.logit_rows;
        // There are few different tokens, so that many repeat.
        let pool = self.vocab.min(self.length / 2 + 1);
        let tokens: Vec<u32> = rng.order(self.vocab).iter().take(pool).map(|t| *t as u32).collect();
        let history = (0..slots * context).map(|_| tokens[rng.below(pool)]).collect();
        Inputs { pass, logits, allowed, history, context, slots, rows, generated_from }
    }
}

fn bits(allowed: &[bool]) -> Vec<u32> {
    allowed
        .chunks(32)
        .map(|word| (0..).zip(word).fold(0, |bits, (i, a)| bits | (u32::from(*a) << i)))
        .collect()
}

/// Runs `sample_prepare` on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_penalties(device: &Device, case: &SampleCase) -> Result<KernelCheck, GpuError> {
    let i = case.inputs();
    let vocab = case.vocab;
    let mut want = i.logits.clone();
    for (row, &(seq, position)) in i.rows.iter().enumerate() {
        let slot = i.pass.sequences[seq].slot;
        let tokens = &i.history[slot * i.context..][..=position];
        let logits = &mut want[row * vocab..][..vocab];
        reference::biases(&i.pass.batch.seqs[seq].sample.logit_bias, logits);
        reference::penalties(&case.options[seq], tokens, i.generated_from, logits);
    }
    let history = device.tensor_of("history", &i.history).await?;
    let counts = device.tensor::<u32>("counts", i.rows.len() * vocab).await?;
    let logits = Output::with(device, &i.logits).await?;
    let variant = run(device, *device.caps(), &i.pass.batch, 1, |r| {
        SamplePrepare {
            history: &history,
            counts: &counts,
            logits: &logits.tensor,
            vocab: vocab as u32,
            context: i.context as u32,
        }
        .record(r);
    })
    .await?;
    let mut c = Comparison::new();
    let got = logits.read(device, &mut c).await?;
    c.floats("logits", &got, &want, |at| {
        let o = &case.options[i.rows[at / vocab].0];
        let penalty = f64::from(o.presence_penalty.abs())
            + f64::from(o.frequency_penalty.abs()) * i.context as f64;
        if want[at] == i.logits[at] && want[at] != 0.0 {
            return TINY;
        }
        (f64::from(want[at].abs()) + penalty) * 4.0 * EPSILON + 8.0 * TINY
    });
    let left = device.read(&counts).await?;
    c.exact("counts", &left, &vec![0; left.len()]);
    Ok(c.finish("sample_prepare", variant, case.to_string()))
}

/// Runs `sample_threshold` on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_threshold(
    device: &Device,
    case: &SampleCase,
    reduce: Reduce,
) -> Result<KernelCheck, GpuError> {
    let i = case.inputs();
    let vocab = case.vocab;
    let logits = device.tensor_of("logits", &i.logits).await?;
    let allowed = device.tensor_of("allowed", &bits(&i.allowed)).await?;
    let cut = Output::with(device, &vec![f32::MAX; i.rows.len()]).await?;
    let variant = run(device, *device.caps(), &i.pass.batch, 1, |r| {
        SampleThreshold {
            logits: &logits,
            allowed: &allowed,
            cut: &cut.tensor,
            vocab: vocab as u32,
            reduce,
        }
        .record(r);
    })
    .await?;
    let mut c = Comparison::new();
    let got = cut.read(device, &mut c).await?;
    for (row, &(seq, _)) in i.rows.iter().enumerate() {
        let o = &case.options[seq];
        let logits = &i.logits[row * vocab..][..vocab];
        if o.temperature == 0.0 {
            continue;
        }
        // Rounding may move a sum of probabilities across the limit by this much.
        let e = 5e-5;
        let allowed = |id: usize| i.allowed[id];
        let kept = |sign: f32| {
            let top_p = if o.top_p < 1.0 { o.top_p * (1.0 + sign * e) } else { 1.0 };
            let min_p = (o.min_p * (1.0 - sign * e)).min(1.0);
            reference::kept_from(&Options { top_p, min_p, ..*o }, logits, allowed)
        };
        let high = (0..vocab)
            .filter(|id| i.allowed[*id])
            .map(|id| f64::from(logits[id]))
            .fold(f64::NEG_INFINITY, f64::max);
        let steps = f64::from(o.temperature) * f64::from(o.min_p.max(1e-30)).ln().abs();
        let slack = if o.min_p > 0.0 { 4.0 * EPSILON * (high.abs() + steps) } else { 0.0 };
        let (loose, tight) = (kept(1.0) - slack, kept(-1.0) + slack);
        // A cut at or below the least allowed logit keeps everything, like no cut.
        let low = (0..vocab).filter(|id| i.allowed[*id]).map(|id| f64::from(logits[id]));
        let all = low.fold(f64::INFINITY, f64::min).max(f64::from(f32::MIN));
        let cut = f64::from(got[row]);
        if !(cut >= loose && cut <= tight.max(all) && cut <= high) {
            c.fail(format!(
                "row {row}: the cut is {cut}, should be from {loose} to {tight}; the largest \
                 logit is {high}; {o:?}"
            ));
        }
    }
    Ok(c.finish("sample_threshold", variant, case.to_string()))
}

/// Runs `sample_draw` on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_draw(device: &Device, case: &SampleCase) -> Result<KernelCheck, GpuError> {
    let i = case.inputs();
    let vocab = case.vocab;
    let allowed = |id: usize| i.allowed[id];
    let cuts: Vec<f32> = i
        .rows
        .iter()
        .enumerate()
        .map(|(row, &(seq, _))| {
            let logits = &i.logits[row * vocab..][..vocab];
            let cut = reference::kept_from(&case.options[seq], logits, allowed);
            // Rounding must not move the cut above the largest logit.
            (cut as f32).next_down().max(f32::MIN)
        })
        .collect();
    let logits = device.tensor_of("logits", &i.logits).await?;
    let allowed_bits = device.tensor_of("allowed", &bits(&i.allowed)).await?;
    let cut = device.tensor_of("cut", &cuts).await?;
    let next_token = device.tensor_of("next_token", &vec![UNTOUCHED_ID; i.slots]).await?;
    let variant = run(device, *device.caps(), &i.pass.batch, 1, |r| {
        SampleDraw {
            logits: &logits,
            allowed: &allowed_bits,
            cut: &cut,
            next_token: &next_token,
            vocab: vocab as u32,
        }
        .record(r);
    })
    .await?;
    let mut c = Comparison::new();
    let got = device.read(&next_token).await?;
    let mut want = vec![UNTOUCHED_ID; i.slots];
    for (row, &(seq, position)) in i.rows.iter().enumerate() {
        let (o, slot) = (&case.options[seq], i.pass.sequences[seq].slot);
        if case.broken.is_some_and(|b| !b.forbidden) {
            want[slot] = NOT_FINITE;
            continue;
        }
        let logits = &i.logits[row * vocab..][..vocab];
        let drawn = reference::draw_scores(o, position as u32, cuts[row], logits, allowed);
        let Some(token) = drawn.token else {
            c.fail(format!("row {row}: the case leaves nothing to draw"));
            continue;
        };
        want[slot] = token;
        let score = |id: u32| drawn.scores.get(id as usize).copied().flatten();
        if let (Some(best), Some(other)) = (score(token), score(got[slot]))
            && o.temperature > 0.0
        {
            // The noise has an error of up to 1e-4 where log is least exact, and scores are
            // rounded.
            let slack = 1e-4 + 8.0 * EPSILON * best.abs().max(other.abs());
            if best - other <= slack {
                want[slot] = got[slot];
            }
        }
    }
    c.exact("next_token", &got, &want);
    Ok(c.finish("sample_draw", variant, case.to_string()))
}

/// Draws one token for each of `rows` (options and position) from its row of `logits`, `[rows,
/// vocab]`, with the engine's kernels: threshold, then draw.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn draws(
    device: &Device,
    logits: &[f32],
    rows: &[(Options, u32)],
) -> Result<Vec<u32>, GpuError> {
    let vocab = (logits.len() / rows.len().max(1)) as u32;
    let seqs = (0..).zip(rows).map(|(slot, (options, position))| SeqRows {
        slot,
        rows: vec![Row { token: 0, position: *position }],
        generated_from: 0,
        sample: params(options, Vec::new()),
        pages: vec![0; (*position / PAGE) as usize + 1],
        logit_rows: vec![0],
    });
    let batch = Batch { seqs: seqs.collect() };
    let logits = device.tensor_of("logits", logits).await?;
    let allowed = device.tensor_of("allowed", &vec![u32::MAX; vocab.div_ceil(32) as usize]).await?;
    let cut = device.tensor::<f32>("cut", rows.len()).await?;
    let next_token = device.tensor::<u32>("next_token", rows.len()).await?;
    let reduce = Reduce::shared_rows(device.caps());
    run(device, *device.caps(), &batch, 1, |r| {
        SampleThreshold { logits: &logits, allowed: &allowed, cut: &cut, vocab, reduce }.record(r);
        SampleDraw {
            logits: &logits,
            allowed: &allowed,
            cut: &cut,
            next_token: &next_token,
            vocab,
        }
        .record(r);
    })
    .await?;
    device.read(&next_token).await
}
