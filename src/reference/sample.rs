//! Twins of sampling: `shaders/sample_prepare.wgsl` ([`biases`], [`penalties`]); `sample_histogram.wgsl`,
//! `sample_draw.wgsl` and `sample_select.wgsl` together ([`kept_from`], [`draw_scores`]).

/// Sampling options of one sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Seed of its draws.
    pub seed: u32,
    /// 0: greedy.
    pub temperature: f32,
    /// Keep the k largest logits; 0: off.
    pub top_k: usize,
    /// Keep the smallest set of the largest logits whose probability reaches this; 1: off.
    pub top_p: f32,
    /// Keep tokens of at least this times the largest probability; 0: off.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens of the context; 1: off.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens that were generated; 0: off.
    pub presence_penalty: f32,
    /// Subtracted from them for each time they were generated; 0: off.
    pub frequency_penalty: f32,
}

/// Adds the biases of single tokens to their logits, before any other step.
///
/// Source: OpenAI's API; the order is llama.cpp's and vLLM's.
pub fn biases(bias: &[(u32, f32)], logits: &mut [f32]) {
    for &(token, bias) in bias {
        logits[token as usize] += bias;
    }
}

/// Applies penalties to the logits of the sequence's `tokens`. Those from position `generated_from` on
/// were generated.
///
/// Source: transformers `RepetitionPenaltyLogitsProcessor` (whole context); OpenAI's API for
/// presence and frequency (generated text only).
pub fn penalties(o: &Options, tokens: &[u32], generated_from: usize, logits: &mut [f32]) {
    let mut count = vec![None; logits.len()];
    for (position, &token) in tokens.iter().enumerate() {
        let n = count[token as usize].get_or_insert(0);
        if position >= generated_from {
            *n += 1;
        }
    }
    let repetition = f64::from(o.repetition_penalty);
    for (logit, n) in logits.iter_mut().zip(count) {
        let Some(n) = n else { continue };
        let mut l = f64::from(*logit);
        l = if l > 0.0 { l / repetition } else { l * repetition };
        if n > 0 {
            l -= f64::from(o.presence_penalty) + f64::from(o.frequency_penalty) * f64::from(n);
        }
        *logit = l as f32;
    }
}

/// The smallest logit that may be drawn: top-k, top-p and min-p in this order, all on
/// `logits / temperature`, over the ids that are `allowed`. Equal logits are kept or dropped together.
///
/// Source: transformers `TopKLogitsWarper`, `TopPLogitsWarper`, `MinPLogitsWarper`.
#[must_use]
pub fn kept_from(o: &Options, logits: &[f32], allowed: impl Fn(usize) -> bool) -> f64 {
    let mut sorted: Vec<f64> =
        (0..logits.len()).filter(|i| allowed(*i)).map(|i| f64::from(logits[i])).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let Some(&high) = sorted.first() else { return f64::NEG_INFINITY };
    let temperature = f64::from(o.temperature);
    let probability = |l: f64| ((l - high) / temperature).exp();
    let mut cut = f64::NEG_INFINITY;
    if o.top_k > 0 && o.top_k < sorted.len() {
        cut = sorted[o.top_k - 1];
        sorted.retain(|l| *l >= cut);
    }
    if o.top_p < 1.0 {
        let wanted = f64::from(o.top_p) * sorted.iter().map(|l| probability(*l)).sum::<f64>();
        let mut reached = 0.0;
        for &l in &sorted {
            reached += probability(l);
            cut = l;
            if reached >= wanted {
                break;
            }
        }
    }
    if o.min_p > 0.0 {
        cut = cut.max(high + temperature * f64::from(o.min_p).ln());
    }
    cut.min(high)
}

/// 32 random bits, a hash of three counters.
///
/// Source: pcg3d, Jarzynski and Olano, Hash Functions for GPU Rendering, JCGT 9(3), 2020.
#[must_use]
pub fn random_bits(seed: u32, position: u32, token: u32) -> u32 {
    let [mut x, mut y, mut z] =
        [seed, position, token].map(|v| v.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let turn = |x: &mut u32, y: &mut u32, z: &mut u32| {
        *x = x.wrapping_add(y.wrapping_mul(*z));
        *y = y.wrapping_add(z.wrapping_mul(*x));
        *z = z.wrapping_add(x.wrapping_mul(*y));
    };
    turn(&mut x, &mut y, &mut z);
    [x, y, z] = [x, y, z].map(|v| v ^ (v >> 16));
    turn(&mut x, &mut y, &mut z);
    x
}

/// Standard Gumbel noise of a token: `-log(-log(u))`, where u has 23 bits and is strictly between 0 and 1.
#[must_use]
pub fn gumbel(seed: u32, position: u32, token: u32) -> f64 {
    let u = (f64::from(random_bits(seed, position, token) >> 9) + 0.5) / f64::from(1 << 23);
    -(-u.ln()).ln()
}

/// Scores of a draw: the token of the highest score is drawn.
#[derive(Clone, Debug)]
pub struct DrawScores {
    /// `[vocab]`; `None` for ids that are not allowed or below the cut.
    pub scores: Vec<Option<f64>>,
    /// The drawn token: highest score; of equal ones the lower id.
    pub token: Option<u32>,
}

/// Scores of a row. At temperature 0 they are the logits, else `logit / temperature` plus Gumbel noise for
/// logits of at least `cut`; the maximum of these is distributed as the softmax.
#[must_use]
pub fn draw_scores(
    o: &Options,
    position: u32,
    cut: f32,
    logits: &[f32],
    allowed: impl Fn(usize) -> bool,
) -> DrawScores {
    let mut drawn = DrawScores { scores: Vec::with_capacity(logits.len()), token: None };
    let mut best = f64::NEG_INFINITY;
    for (id, (i, &l)) in (0u32..).zip(logits.iter().enumerate()) {
        let score = if !allowed(i) {
            None
        } else if o.temperature == 0.0 {
            Some(f64::from(l))
        } else if l < cut {
            None
        } else {
            Some(f64::from(l) / f64::from(o.temperature) + gumbel(o.seed, position, id))
        };
        if let Some(s) = score
            && (drawn.token.is_none() || s > best)
        {
            best = s;
            drawn.token = Some(id);
        }
        drawn.scores.push(score);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Options = Options {
        seed: 0,
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
    };

    fn kept(o: Options, probabilities: &[f64]) -> Vec<usize> {
        let logits: Vec<f32> = probabilities.iter().map(|p| p.ln() as f32).collect();
        let cut = kept_from(&o, &logits, |_| true);
        (0..logits.len()).filter(|i| f64::from(logits[*i]) >= cut).collect()
    }

    #[test]
    fn thresholds_keep_the_same_tokens_as_transformers() {
        let p = [0.1, 0.4, 0.05, 0.25, 0.2];
        assert_eq!(kept(OFF, &p), [0, 1, 2, 3, 4]);
        assert_eq!(kept(Options { top_k: 2, ..OFF }, &p), [1, 3]);
        assert_eq!(kept(Options { top_k: 9, ..OFF }, &p), [0, 1, 2, 3, 4]);
        assert_eq!(kept(Options { top_p: 0.6, ..OFF }, &p), [1, 3]);
        assert_eq!(kept(Options { top_p: 0.66, ..OFF }, &p), [1, 3, 4]);
        assert_eq!(kept(Options { top_p: 0.0, ..OFF }, &p), [1]);
        assert_eq!(kept(Options { min_p: 0.4, ..OFF }, &p), [1, 3, 4]);
        assert_eq!(kept(Options { min_p: 1.0, ..OFF }, &p), [1]);
        // top-k keeps 0.4, 0.25 and 0.2, and two of them reach 0.75 of their sum.
        assert_eq!(kept(Options { top_k: 3, top_p: 0.75, ..OFF }, &p), [1, 3]);
        // A low temperature sharpens before top-p and min-p.
        assert_eq!(kept(Options { temperature: 0.5, top_p: 0.5, ..OFF }, &p), [1]);
        assert_eq!(kept(Options { temperature: 0.5, min_p: 0.3, ..OFF }, &p), [1, 3]);
        // Equal logits are kept together.
        assert_eq!(kept(Options { top_k: 1, ..OFF }, &[0.3, 0.3, 0.4 / 2.0, 0.2]), [0, 1]);
    }

    #[test]
    fn penalties_equal_those_computed_by_hand() {
        let o = Options {
            repetition_penalty: 2.0,
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            ..OFF
        };
        let mut logits = [4.0, -1.0, 3.0, 0.0];
        // Token 0 is only in the prompt, 1 also in the generated text, 3 was generated twice.
        penalties(&o, &[0, 1, 1, 3, 3], 2, &mut logits);
        assert_eq!(logits, [2.0, -2.0 - 0.75, 3.0, -1.0]);
    }

    #[test]
    fn greedy_takes_the_lower_of_equals() {
        let o = Options { temperature: 0.0, ..OFF };
        let drawn = draw_scores(&o, 0, f32::MIN, &[1.0, 3.0, 3.0, 2.0], |i| i != 0);
        assert_eq!(drawn.token, Some(1));
        assert_eq!(draw_scores(&o, 0, 0.0, &[1.0], |_| false).token, None);
    }

    #[test]
    fn noise_has_the_mean_and_spread_of_gumbel() {
        let n = 100_000;
        let noise: Vec<f64> = (0..n).map(|i| gumbel(7, i / 100, i % 100)).collect();
        let mean = noise.iter().sum::<f64>() / f64::from(n);
        let variance = noise.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!((mean - 0.577_215_664_9).abs() < 0.02, "{mean}");
        assert!((variance - std::f64::consts::PI.powi(2) / 6.0).abs() < 0.05, "{variance}");
    }
}
