//! Random prompts and times of arrival, the same for the same seed.

use crate::selftest::Rng;

/// A generator of random numbers.
pub struct Random(Rng);

impl Random {
    /// A generator for one purpose of a seed.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mixed = Rng::new(seed).bits();
        Self(Rng::new(mixed ^ purpose.wrapping_mul(0xd134_2543_de82_ef95)))
    }

    /// A number from 0 to below 1.
    fn fraction(&mut self) -> f64 {
        (self.0.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of the items; `None` if there are none.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get((self.fraction() * items.len() as f64) as usize)
    }
}

/// Seconds from the first request at which requests arrive: a Poisson process with `rate` arrivals a second.
pub fn arrivals(rate: f64, requests: usize, random: &mut Random) -> Vec<f64> {
    let mut at = 0.0;
    let mut next = || {
        let now = at;
        at += -(1.0 - random.fraction()).ln() / rate;
        now
    };
    (0..requests).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_the_rate_and_spread_of_a_poisson_process() {
        let times = arrivals(4.0, 20_001, &mut Random::new(7, 1));
        assert_eq!(times[0], 0.0);
        assert_eq!(times, arrivals(4.0, 20_001, &mut Random::new(7, 1)));
        assert_ne!(times, arrivals(4.0, 20_001, &mut Random::new(8, 1)));
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap >= 0.0 && gap.is_finite()));
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((mean - 0.25).abs() < 0.005, "{mean}");
        // Gaps of an exponential distribution: the standard deviation is the mean, and 1 / e are longer than it.
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() - mean).abs() < 0.01, "{variance}");
        let longer = gaps.iter().filter(|gap| **gap > mean).count() as f64 / gaps.len() as f64;
        assert!((longer - (-1.0_f64).exp()).abs() < 0.01, "{longer}");
    }

    #[test]
    fn choices_reach_every_item() {
        let mut random = Random::new(1, 2);
        let items = [0, 1, 2, 3, 4];
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[*random.choose(&items).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| *count > 150), "{seen:?}");
        assert_eq!(random.choose::<u32>(&[]), None);
    }
}
