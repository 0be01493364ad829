//! Cases of the kernels of sampling, which run together as in a step.

use super::compare::{Comparison, EPSILON, TINY};
use super::data::{Output, Pass, UNTOUCHED_ID, run};
use super::logprobs::{LogprobsRow, want_logprobs};
use super::{Fill, KernelCheck, Rng, Span};
use crate::gpu::{Device, GpuError};
use crate::kernels::{
    Batch, LOGPROBS_WORDS, LogitRow, Logprobs, LogprobsBuffers, LogprobsMode, MAX_LOGIT_BIAS,
    NOT_FINITE, PAGE, Row, RowLogprobs, Sample, SampleBuffers, SampleParams, SampleShare, SeqRows,
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
    /// Logit rows of each sequence.
    pub logit_rows: usize,
    /// Fill of the logits.
    pub fill: Fill,
    /// Factor on the logits.
    pub spread: f32,
    /// Steps a unit to which logits are rounded, so that many are equal; 0: no rounding.
    pub steps: u32,
    /// One id in this many is forbidden; 0: none.
    pub forbidden: usize,
    /// Whether each sequence has a mask of its own.
    pub masks: bool,
    /// Most probable tokens of rows that want log-probabilities.
    pub top: u32,
    /// One logit in this many is the lowest f32; 0: none.
    pub lowest: usize,
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
    /// Masks of tokens: that of all tokens, and those of the sequences, if they have any.
    masks: Vec<Vec<bool>>,
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
        let mut masks = Vec::new();
        for _ in 0..=if self.masks { self.options.len() } else { 0 } {
            let free = |_| self.forbidden == 0 || rng.below(self.forbidden) != 0;
            let mut mask: Vec<bool> = (0..self.vocab).map(free).collect();
            mask[rng.below(self.vocab)] = true;
            masks.push(mask);
        }
        for (mask, seq) in (1..masks.len() as u32).zip(&mut pass.batch.seqs) {
            seq.logit_rows.iter_mut().for_each(|row| row.allowed = mask);
        }
        want_logprobs(&mut pass.batch, self.top, self.vocab, &mut rng);
        let mut logits = self.fill.values(&mut rng, rows.len() * self.vocab);
        for l in &mut logits {
            *l *= self.spread;
            if self.steps > 0 {
                *l = (*l * self.steps as f32).round() / self.steps as f32;
            }
        }
        if self.lowest > 0 {
            logits.iter_mut().filter(|_| rng.below(self.lowest) == 0).for_each(|l| *l = f32::MIN);
        }
        if let Some(broken) = self.broken {
            for (row, (seq, _)) in rows.iter().enumerate() {
                let allowed = &masks[if self.masks { 1 + seq } else { 0 }];
                let free = |i: &usize| allowed[*i] != broken.forbidden;
                let ids: Vec<usize> = (0..self.vocab).filter(free).collect();
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
        Inputs { pass, logits, masks, history, context, slots, rows, generated_from }
    }
}

impl Inputs {
    /// The log-probabilities that a logit row wants.
    fn logprobs(&self, row: usize) -> Option<RowLogprobs> {
        let mut rows = self.pass.batch.seqs.iter().flat_map(|seq| &seq.logit_rows);
        rows.nth(row).and_then(|row| row.logprobs)
    }

    /// Tokens that a sequence may draw.
    fn allowed(&self, seq: usize) -> &[bool] {
        let mask = if self.masks.len() > 1 { 1 + seq } else { 0 };
        &self.masks[mask]
    }
}

fn bits(allowed: &[bool]) -> Vec<u32> {
    allowed
        .chunks(32)
        .map(|word| (0..).zip(word).fold(0, |bits, (i, a)| bits | (u32::from(*a) << i)))
        .collect()
}

/// Distances from the largest logit, in units of the temperature, from which on no token can be drawn. The
/// kernels do not look for a cut there.
const NEAR: f64 = 32.0;

/// Runs the kernels of sampling on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_sample(
    device: &Device,
    case: &SampleCase,
    share: SampleShare,
) -> Result<KernelCheck, GpuError> {
    let i = case.inputs();
    let (vocab, n_rows) = (case.vocab, i.rows.len());
    let history = device.tensor_of("history", &i.history).await?;
    let masks: Vec<u32> = i.masks.iter().flat_map(|mask| bits(mask)).collect();
    let allowed = device.tensor_of("allowed", &masks).await?;
    let logits = Output::with(device, &i.logits).await?;
    let raw_logits = device.tensor_of("logits", &i.logits).await?;
    let buffers = SampleBuffers::new(device, n_rows, vocab).await?;
    let kept = LogprobsBuffers::new(device, n_rows, vocab, true).await?;
    let in_place = LogprobsBuffers::new(device, n_rows, vocab, false).await?;
    let next_token = device.tensor_of("next_token", &vec![UNTOUCHED_ID; i.slots]).await?;
    let variant = run(device, *device.caps(), &i.pass.batch, 1, |r| {
        let (vocab, allowed, drawn) = (vocab as u32, &allowed, buffers.drawn());
        let logprobs =
            Logprobs { logits: &logits.tensor, allowed, drawn, buffers: &kept, vocab, share };
        logprobs.record_spans(r, LogprobsMode::Raw);
        Sample {
            history: &history,
            logits: &logits.tensor,
            allowed,
            buffers: &buffers,
            next_token: &next_token,
            vocab,
            context: i.context as u32,
            share,
        }
        .record(r);
        logprobs.record_spans(r, LogprobsMode::Processed);
        logprobs.record(r);
        // As in a pass that draws nothing.
        let (logits, buffers) = (&raw_logits, &in_place);
        let logprobs = Logprobs { logits, allowed, drawn, buffers, vocab, share };
        logprobs.record_spans(r, LogprobsMode::Raw);
        logprobs.record(r);
    })
    .await?;
    let mut c = Comparison::new();
    let logits = logits.read(device, &mut c).await?;
    compare_logits(&mut c, case, &i, &logits);
    let outcomes = device.read(buffers.drawn()).await?;
    let logprobs = device.read(&kept.logprobs).await?;
    let raw_logprobs = device.read(&in_place.logprobs).await?;
    let mut tokens = vec![UNTOUCHED_ID; i.slots];
    let drawn = device.read(&next_token).await?;
    for (row, &(seq, position)) in i.rows.iter().enumerate() {
        let (o, slot) = (&case.options[seq], i.pass.sequences[seq].slot);
        // The kernels' own logits, since rounding may make equal logits unequal.
        let logits = &logits[row * vocab..][..vocab];
        let (allowed, wanted) = (i.allowed(seq), i.logprobs(row));
        let cut = f32::from_bits(outcomes[2 * row + 1]);
        if let Some(wanted) = wanted {
            let words = &logprobs[row * LOGPROBS_WORDS..][..LOGPROBS_WORDS];
            let raw = wanted.mode == LogprobsMode::Raw;
            let logits = if raw { &i.logits[row * vocab..][..vocab] } else { logits };
            let allowed = if raw { &i.masks[0] } else { allowed };
            let drawn = outcomes[2 * row];
            LogprobsRow { wanted, logits, allowed, drawn, words }.compare(&mut c);
            if raw {
                c.exact(
                    "both ways",
                    &raw_logprobs[row * LOGPROBS_WORDS..][..LOGPROBS_WORDS],
                    words,
                );
            }
        }
        if (0..vocab).any(|id| allowed[id] && !logits[id].is_finite()) {
            tokens[slot] = NOT_FINITE;
            continue;
        }
        if let Err(failure) = check_cut(o, cut, logits, allowed) {
            c.fail(format!("row {row}: {failure}"));
        }
        let scores = reference::draw_scores(o, position as u32, cut, logits, |id| allowed[id]);
        let Some(token) = scores.token else {
            c.fail(format!("row {row}: the cut leaves nothing to draw"));
            continue;
        };
        tokens[slot] = token;
        let score = |id: u32| scores.scores.get(id as usize).copied().flatten();
        let own = outcomes[2 * row];
        if let (Some(best), Some(other)) = (score(token), score(own))
            && o.temperature > 0.0
        {
            // The noise has an error of up to 1e-4 where log is least exact, and distances are rounded.
            if best - other <= 1e-4 + 8.0 * EPSILON * NEAR {
                tokens[slot] = own;
            }
        }
        c.exact("token of a row", &[own], &[tokens[slot]]);
    }
    // Those of the last rows.
    c.exact("next_token", &drawn, &tokens);
    let histogram = device.read(&buffers.histogram).await?;
    c.exact("histogram", &histogram, &vec![0; histogram.len()]);
    let candidates = device.read(&buffers.candidates).await?;
    c.exact("candidates", &candidates, &vec![0; candidates.len()]);
    Ok(c.finish("sample", variant, case.to_string()))
}

/// Compares the logits after biases and penalties.
fn compare_logits(c: &mut Comparison, case: &SampleCase, i: &Inputs, got: &[f32]) {
    let vocab = case.vocab;
    let mut want = i.logits.clone();
    for (row, &(seq, position)) in i.rows.iter().enumerate() {
        let slot = i.pass.sequences[seq].slot;
        let tokens = &i.history[slot * i.context..][..=position];
        let logits = &mut want[row * vocab..][..vocab];
        reference::biases(&i.pass.batch.seqs[seq].sample.logit_bias, logits);
        reference::penalties(&case.options[seq], tokens, i.generated_from, logits);
    }
    c.floats("logits", got, &want, |at| {
        let o = &case.options[i.rows[at / vocab].0];
        let penalty = f64::from(o.presence_penalty.abs())
            + f64::from(o.frequency_penalty.abs()) * i.context as f64;
        if want[at] == i.logits[at] && want[at] != 0.0 {
            return TINY;
        }
        (f64::from(want[at].abs()) + penalty) * 4.0 * EPSILON + 8.0 * TINY
    });
}

/// Compares the smallest logit that may be drawn with the twin's.
fn check_cut(o: &Options, cut: f32, logits: &[f32], allowed: &[bool]) -> Result<(), String> {
    if o.temperature == 0.0 {
        return Ok(());
    }
    // Rounding may move a sum of probabilities across the limit by this much.
    let e = 5e-5;
    let kept = |sign: f32| {
        let top_p = if o.top_p < 1.0 { o.top_p * (1.0 + sign * e) } else { 1.0 };
        let min_p = (o.min_p * (1.0 - sign * e)).min(1.0);
        reference::kept_from(&Options { top_p, min_p, ..*o }, logits, |id| allowed[id])
    };
    let own = || (0..logits.len()).filter(|id| allowed[*id]).map(|id| f64::from(logits[id]));
    let (low, high) = (own().fold(f64::INFINITY, f64::min), own().fold(f64::MIN, f64::max));
    let temperature = f64::from(o.temperature);
    let steps = temperature * f64::from(o.min_p.max(1e-30)).ln().abs();
    let slack = if o.min_p > 0.0 { 4.0 * EPSILON * (high.abs() + steps) } else { 0.0 };
    let (loose, tight) = (kept(1.0) - slack, kept(-1.0) + slack);
    // A cut at or below the least allowed logit keeps everything, like no cut.
    let all = low.max(f64::from(f32::MIN));
    let cut = f64::from(cut);
    // Below this no token can be drawn, wherever the cut is.
    let near = high - NEAR * temperature * (1.0 - 4.0 * EPSILON) + EPSILON * high.abs();
    let irrelevant = cut <= near && loose <= near;
    if (cut >= loose && cut <= tight.max(all) && cut <= high) || irrelevant {
        return Ok(());
    }
    Err(format!(
        "the cut is {cut}, should be from {loose} to {tight}; the largest logit is {high}; {o:?}"
    ))
}

/// Draws one token for each of `rows` (options and position) from its row of `logits`, `[rows,
/// vocab]`, with the engine's kernels. They have no penalties.
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
        lora: None,
        sample: params(options, Vec::new()),
        pages: vec![0; (*position / PAGE) as usize + 1],
        logit_rows: vec![LogitRow::new(0)],
        snapshot_columns: Vec::new(),
    });
    let batch = Batch { seqs: seqs.collect() };
    let logits = device.tensor_of("logits", logits).await?;
    let allowed = device.tensor_of("allowed", &vec![u32::MAX; vocab.div_ceil(32) as usize]).await?;
    // It is read for penalties only.
    let history = device.tensor::<u32>("history", 1).await?;
    let buffers = SampleBuffers::new(device, rows.len(), vocab as usize).await?;
    let next_token = device.tensor::<u32>("next_token", rows.len()).await?;
    run(device, *device.caps(), &batch, 1, |r| {
        Sample {
            history: &history,
            logits: &logits,
            allowed: &allowed,
            buffers: &buffers,
            next_token: &next_token,
            vocab,
            context: 1,
            share: SampleShare::by_capability(device.caps()),
        }
        .record(r);
    })
    .await?;
    device.read(&next_token).await
}
