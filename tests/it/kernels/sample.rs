use lfm2_wgpu::kernels::SampleShare;
use lfm2_wgpu::reference::{Options, gumbel};
use lfm2_wgpu::selftest::{Broken, Fill, SampleCase, check_sample, draws};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::property;
use crate::gpu::devices;

fn options() -> impl Strategy<Value = Options> {
    let temperature = select(vec![0.0f32, 1e-4, 0.01, 0.3, 0.7, 1.0, 2.0, 100.0]);
    let top_k = select(vec![0usize, 0, 1, 2, 5, 40, 999, 1_000_000]);
    let top_p = select(vec![1.0f32, 1.0, 0.0, 1e-6, 0.1, 0.5, 0.9, 0.95, 0.999_999]);
    let min_p = select(vec![0.0f32, 0.0, 1e-6, 0.05, 0.15, 0.999, 1.0]);
    let penalties = select(vec![
        (1.0f32, 0.0f32, 0.0f32),
        (1.05, 0.0, 0.0),
        (1.3, 0.5, 0.0),
        (1.0, 0.0, 0.7),
        (0.8, -0.5, 0.25),
        (1.0, 1.5, -2.0),
    ]);
    (any::<u32>(), temperature, top_k, top_p, min_p, penalties).prop_map(
        |(seed, temperature, top_k, top_p, min_p, (repetition, presence, frequency))| Options {
            seed,
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty: repetition,
            presence_penalty: presence,
            frequency_penalty: frequency,
        },
    )
}

fn cases() -> impl Strategy<Value = SampleCase> {
    let sizes = vec![1usize, 2, 31, 32, 33, 255, 256, 257, 1000, 1023, 1024, 1025, 2049, 5000];
    let vocab = prop_oneof![select(sizes), 1usize..700];
    let length = prop_oneof![select(vec![0usize, 1, 255, 256, 257, 700]), 0usize..100];
    let fill = select(vec![Fill::Normal, Fill::Normal, Fill::Normal, Fill::Equal, Fill::Zero]);
    let spread = select(vec![0.01f32, 1.0, 5.0, 30.0]);
    let rare = select(vec![0usize, 0, 1, 2, 10]);
    let value = select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    let broken = (value, any::<bool>()).prop_map(|(value, forbidden)| Broken { value, forbidden });
    (
        (vocab, vec(options(), 1..5), length, prop_oneof![Just(1usize), 1usize..4]),
        (fill, spread, select(vec![0u32, 0, 1, 4]), rare.clone(), rare),
        (select(vec![0usize, 0, 1, 7, 300, 5000]), option::weighted(0.1, broken)),
        (any::<bool>(), select(vec![0u32, 0, 1, 2, 5, 20])),
        any::<u64>(),
    )
        .prop_map(
            |(
                (vocab, options, length, logit_rows),
                (fill, spread, steps, forbidden, lowest),
                (biased, broken),
                (masks, top),
                seed,
            )| {
                SampleCase {
                    vocab,
                    options,
                    length,
                    biased,
                    logit_rows,
                    fill,
                    spread,
                    steps,
                    forbidden,
                    masks,
                    top,
                    lowest,
                    broken,
                    seed,
                }
            },
        )
}

#[test]
fn sampling_agrees_with_its_twin() {
    property(64..=300, cases(), async |device, case| {
        let mut checks = Vec::new();
        for share in SampleShare::ALL {
            checks.push(check_sample(device, case, share).await?);
        }
        Ok(checks)
    });
}

const PLAIN: Options = Options {
    seed: 1,
    temperature: 1.0,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    repetition_penalty: 1.0,
    presence_penalty: 0.0,
    frequency_penalty: 0.0,
};

/// Options and positions of `n` draws that differ in position, in seed, or in both.
fn many_rows(o: Options, n: u32) -> [Vec<(Options, u32)>; 3] {
    let with_seed = |seed: u32| Options { seed, ..o };
    [
        (0..n).map(|i| (with_seed(12_345), i)).collect(),
        (0..n).map(|i| (with_seed(i), 77)).collect(),
        (0..n).map(|i| (with_seed(i.wrapping_mul(0x9e37_79b9)), i % 64)).collect(),
    ]
}

/// Draws follow the softmax of the kept logits, by a chi-square test at a level that a correct sampler
/// fails about once in 10^5 times. The seeds are fixed, so the result is the same in every run.
#[test]
fn draws_follow_the_softmax() {
    let logits: Vec<f32> = vec![0.0, 0.3, 0.5, -0.3, 1.0, 0.8, -0.6, 0.15, 0.95, -1.0, 0.05];
    let cases = [
        (PLAIN, 11),
        (Options { temperature: 0.5, ..PLAIN }, 11),
        (Options { temperature: 3.0, ..PLAIN }, 11),
        (Options { top_k: 4, ..PLAIN }, 4),
        (Options { min_p: 0.4, ..PLAIN }, 6),
        (Options { top_p: 0.6, ..PLAIN }, 5),
    ];
    for (name, device) in devices() {
        for (o, n_kept) in cases {
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            let kept = &order[..n_kept];
            let weight = |i: usize| (f64::from(logits[i]) / f64::from(o.temperature)).exp();
            let total: f64 = kept.iter().map(|&i| weight(i)).sum();
            // A cut takes two more kernels, which are slow on a CPU.
            let n = if o.top_k > 0 || o.top_p < 1.0 { 512 } else { 2048 };
            for rows in many_rows(o, n) {
                let drawn =
                    pollster::block_on(draws(device, &logits.repeat(rows.len()), &rows)).unwrap();
                let mut counts = vec![0u32; logits.len()];
                drawn.iter().for_each(|t| counts[*t as usize] += 1);
                for (i, count) in counts.iter().enumerate() {
                    assert!(kept.contains(&i) || *count == 0, "{name}: {i} drawn with {o:?}");
                }
                let chi_square: f64 = kept
                    .iter()
                    .map(|&i| {
                        let expected = drawn.len() as f64 * weight(i) / total;
                        (f64::from(counts[i]) - expected).powi(2) / expected
                    })
                    .sum();
                // Quantile at 4.3 deviations, by the approximation of Wilson and Hilferty.
                let freedom = (n_kept - 1) as f64;
                let spread = 2.0 / (9.0 * freedom);
                let most = freedom * (1.0 - spread + 4.3 * spread.sqrt()).powi(3);
                assert!(chi_square < most, "{name}: {chi_square} >= {most}: {counts:?} {o:?}");
            }
        }
    }
}

/// The scores of two tokens differ by too little for statistics, but by more than twice the error bound of
/// the kernel's noise.
#[test]
fn noise_is_within_its_error_bound() {
    let rows: Vec<(Options, u32)> =
        (0..4000).map(|i| (Options { seed: i / 50, ..PLAIN }, i % 50)).collect();
    let mut logits = Vec::new();
    let mut want = Vec::new();
    for (i, (o, position)) in (0u32..).zip(&rows) {
        let lead = if i % 2 == 0 { 1.3e-4 } else { -1.3e-4 };
        logits.push((lead - gumbel(o.seed, *position, 0)) as f32);
        logits.push((-lead - gumbel(o.seed, *position, 1)) as f32);
        want.push(i % 2);
    }
    for (name, device) in devices() {
        let drawn = pollster::block_on(draws(device, &logits, &rows)).unwrap();
        if let Some(i) = (0..rows.len()).find(|i| drawn[*i] != want[*i]) {
            panic!("{name}: {:?} draws {} from {:?}", rows[i], drawn[i], &logits[2 * i..][..2]);
        }
    }
}

/// 0 and -0 are equal logits: top-k keeps both or none, and top-p counts the probability of both.
#[test]
fn both_zeros_are_equal_logits() {
    let logits = [1.0, 0.0, -0.0, -0.0, -0.0, -1.0];
    // Of five kept logits the first has 1 / (1 + 4 / e) = 40 %, less than top_p; of two it had 73 %.
    let o = Options { top_k: 2, top_p: 0.6, ..PLAIN };
    for (_, device) in devices() {
        let rows: Vec<_> = (0..200).map(|i| (o, i)).collect();
        let drawn = pollster::block_on(draws(device, &logits.repeat(rows.len()), &rows)).unwrap();
        for (token, possible) in (0..).zip([true, true, true, true, true, false]) {
            assert_eq!(drawn.contains(&token), possible, "token {token}");
        }
    }
}

/// A draw is a function of logits, options, seed and position. It does not depend on other rows, on the
/// place of its row or on the run.
#[test]
fn the_same_seed_draws_the_same_token() {
    let logits: Vec<f32> = (0..300).map(|i| ((i * 37) % 100) as f32 / 50.0).collect();
    for (_, device) in devices() {
        let rows: Vec<(Options, u32)> =
            (0..64).map(|i| (Options { seed: i / 2, ..PLAIN }, 100 + i % 7)).collect();
        let run = |rows: &[(Options, u32)]| {
            pollster::block_on(draws(device, &logits.repeat(rows.len()), rows)).unwrap()
        };
        let first = run(&rows);
        assert_eq!(first, run(&rows));
        let reversed: Vec<_> = rows.iter().rev().copied().collect();
        assert_eq!(first, run(&reversed).into_iter().rev().collect::<Vec<_>>());
        for i in [0, 31, 63] {
            assert_eq!(first[i], run(&rows[i..=i])[0]);
        }
        // Other seeds and other positions draw other tokens.
        let others: Vec<_> = rows.iter().map(|(o, p)| (*o, p + 1000)).collect();
        assert_ne!(first, run(&others));
        let others: Vec<_> =
            rows.iter().map(|(o, p)| (Options { seed: o.seed + 1000, ..*o }, *p)).collect();
        assert_ne!(first, run(&others));
    }
}
