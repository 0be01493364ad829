use lfm2_wgpu::kernels::{Activations, InProjConv, Reduce};
use lfm2_wgpu::selftest::{
    ConvCase, Fill, InProjConvCase, Rng, Span, WeightsImport, check_conv, check_in_proj_conv,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::property;

/// Passes over up to four slots: sequences continue, go back, or start in a slot that another sequence
/// has used.
fn passes(n: usize, slots: usize, l_cache: u32, ring: u32, seed: u64) -> Vec<Vec<Span>> {
    let mut rng = Rng::new(seed);
    let mut next: Vec<u32> = (0..slots).map(|_| rng.below(40) as u32).collect();
    let lengths = [1, 2, l_cache - 1, l_cache, ring - 1, ring, ring + 1, 31, 32, 33, 100];
    let mut passes = Vec::new();
    for _ in 0..n {
        let running = 1 + rng.below(slots);
        let mut pass = Vec::new();
        for slot in rng.order(slots).into_iter().take(running) {
            let position = match rng.below(5) {
                0 => 0,
                1 => rng.below(1000) as u32,
                2 => next[slot].saturating_sub(rng.below((ring - l_cache + 2) as usize) as u32),
                _ => next[slot],
            };
            let rows = lengths[rng.below(lengths.len())].max(1);
            next[slot] = position + rows;
            pass.push(Span { slot: slot as u32, position, rows });
        }
        passes.push(pass);
    }
    passes
}

fn cases() -> impl Strategy<Value = ConvCase> {
    // Few shapes of rings, since each is a pipeline of its own.
    let shape = select(vec![(2usize, 2usize), (2, 15), (3, 3), (3, 16), (4, 17), (7, 7), (7, 20)]);
    let width = prop_oneof![select(vec![1usize, 4, 63, 64, 65, 128, 200]), 1usize..140];
    let fill = select(vec![Fill::Normal, Fill::Normal, Fill::Extreme, Fill::Zero, Fill::OneNan]);
    (1usize..5, 1usize..5, shape, width, any::<bool>(), fill, any::<u64>()).prop_map(
        |(n, slots, (l_cache, ring_columns), hidden_size, bias, fill, seed)| ConvCase {
            passes: passes(n, slots, l_cache as u32, ring_columns as u32, seed),
            slots,
            hidden_size,
            l_cache,
            ring_columns,
            bias,
            fill,
            seed,
        },
    )
}

#[test]
fn short_conv_agrees_with_its_twin() {
    property(32..=120, cases(), async |device, case| Ok(vec![check_conv(device, case).await?]));
}

fn fused_cases() -> impl Strategy<Value = InProjConvCase> {
    let shape = select(vec![(2usize, 2usize), (3, 16), (4, 17)]);
    let positions = prop::collection::vec(prop_oneof![0u32..5, 0u32..1000], 1..5);
    let quads = prop_oneof![select(vec![1usize, 64, 65]), 1usize..40];
    let fill = select(vec![Fill::Normal, Fill::Normal, Fill::Zero, Fill::OneNan]);
    (positions, quads, 1usize..70, shape, fill, any::<u64>()).prop_map(
        |(positions, quads, cols, (l_cache, ring_columns), fill, seed)| InProjConvCase {
            rows: (0..).zip(positions).collect(),
            hidden_size: 4 * quads,
            cols: 4 * cols,
            l_cache,
            ring_columns,
            lora: 0,
            fill,
            seed,
        },
    )
}

#[test]
fn in_proj_conv_agrees_with_its_twins() {
    let cases = (fused_cases(), any::<[Index; 3]>());
    property(8..=80, cases, async |device, (case, pick)| {
        let one_of = |n: usize, i: usize| pick[i].index(n);
        let weights = WeightsImport::available(device.caps());
        let reduces = Reduce::available(device.caps());
        let (weights, reduce) =
            (weights[one_of(weights.len(), 0)], reduces[one_of(reduces.len(), 1)]);
        let activations = [Activations::Float, Activations::Int8][one_of(2, 2)];
        let lora = InProjConv::binds(weights.format, true, device.caps()) && case.seed % 2 == 0;
        let case = &InProjConvCase { lora: if lora { 12 } else { 0 }, ..case.clone() };
        Ok(vec![check_in_proj_conv(device, case, weights, (reduce, activations)).await?])
    });
}
