//! Twin of `shaders/logprobs_spans.wgsl` and `logprobs.wgsl`.

/// Natural logarithms of the softmax of `logits` over the ids for which `counts` holds; those of other ids have no
/// meaning.
#[must_use]
pub fn log_softmax(logits: &[f32], counts: impl Fn(usize) -> bool) -> Vec<f64> {
    let counted = || logits.iter().enumerate().filter(|(id, _)| counts(*id));
    let high = counted().map(|(_, l)| f64::from(*l)).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = counted().map(|(_, l)| (f64::from(*l) - high).exp()).sum();
    logits.iter().map(|l| f64::from(*l) - high - sum.ln()).collect()
}

/// The ids of the `n` largest logits among those for which `listed` holds, largest first; of equal logits the lower id
/// comes first.
#[must_use]
pub fn largest(logits: &[f32], n: usize, listed: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..logits.len()).filter(|id| listed(*id)).collect();
    // The sort is stable. 0 and -0 are equal.
    ids.sort_by(|a, b| logits[*b].partial_cmp(&logits[*a]).unwrap_or(std::cmp::Ordering::Equal));
    ids.truncate(n);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_over_the_counted_ids() {
        let logits = [1.0, 2.0, 50.0, -3.0];
        let sum = |counts: fn(usize) -> bool| -> f64 {
            let all = log_softmax(&logits, counts);
            (0..4).filter(|id| counts(*id)).map(|id| all[id].exp()).sum()
        };
        assert!((sum(|_| true) - 1.0).abs() < 1e-12);
        assert!((sum(|id| id != 2) - 1.0).abs() < 1e-12);
        let two = log_softmax(&[0.0, 0.0], |_| true);
        assert!((two[0] + std::f64::consts::LN_2).abs() < 1e-12);
    }

    #[test]
    fn equal_logits_are_listed_by_rising_id() {
        assert_eq!(largest(&[1.0, 3.0, 3.0, -0.0, 0.0], 4, |id| id != 0), [1, 2, 3, 4]);
        assert_eq!(largest(&[1.0, 2.0], 9, |_| true), [1, 0]);
    }
}
