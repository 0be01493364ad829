use lfm2_wgpu::gpu::Device;
use lfm2_wgpu::kernels::{Choices, KvFormat, Multiply, Reduce};
use lfm2_wgpu::selftest::{AttentionCase, Fill, check_attention};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Checks, property, spans};
use crate::gpu::run_all;

/// Heads: kv heads, query heads of each, dimensions. Each pair of the last two is a pipeline of its own.
fn heads() -> impl Strategy<Value = (usize, usize, usize)> {
    let group = prop_oneof![9 => 1usize..=8, 1 => Just(16)];
    (1usize..=3, group, select(vec![4usize, 12, 16, 32, 48, 64, 96, 100, 128, 256]))
}

fn fills() -> impl Strategy<Value = (f32, Fill, Fill, Fill)> {
    let keys = select(vec![
        Fill::Normal,
        Fill::Normal,
        Fill::Equal,
        Fill::Zero,
        Fill::Extreme,
        Fill::OneNan,
    ]);
    let values = select(vec![
        Fill::Normal,
        Fill::Normal,
        Fill::Normal,
        Fill::Extreme,
        Fill::Zero,
        Fill::OneNan,
    ]);
    let queries =
        select(vec![Fill::Normal, Fill::Normal, Fill::Normal, Fill::Extreme, Fill::OneNan]);
    (select(vec![1.0f32, 0.0, 5.0, 100.0]), queries, keys, values)
}

pub(super) fn cases(
    sequences: impl Strategy<Value = Vec<(u32, u32)>>,
    heads: impl Strategy<Value = (usize, usize, usize)>,
    fills: impl Strategy<Value = (f32, Fill, Fill, Fill)>,
) -> impl Strategy<Value = AttentionCase> {
    (sequences, heads, fills, any::<u64>()).prop_map(
        |(sequences, (n_kv_heads, group, head_dim), fills, seed)| AttentionCase {
            spans: spans(&sequences, seed),
            n_heads: n_kv_heads * group,
            n_kv_heads,
            head_dim,
            sharpness: fills.0,
            queries: fills.1,
            keys: fills.2,
            values: fills.3,
            seed,
        },
    )
}

/// Lanes that share keys or that own keys; both ways would take twice as long to compile.
fn choices(device: &Device, case: &AttentionCase) -> Choices {
    let reduce = [Reduce::Tree, Reduce::Serial][(case.seed / 2 % 2) as usize];
    Choices { reduce, multiply: Multiply::Lanes, ..Choices::by_capability(device.caps()) }
}

/// One format of keys and values, chosen by the case; `--all` checks each. Each is a pipeline of its own.
async fn check_formats(device: &Device, case: &AttentionCase) -> Checks {
    let takes = |kv: &KvFormat| kv.takes(case.head_dim);
    let formats: Vec<_> = KvFormat::ALL.into_iter().filter(takes).collect();
    let one = (case.seed / 4) as usize % formats.len();
    let mut checks = Vec::new();
    for (i, kv) in formats.into_iter().enumerate() {
        if run_all() || i == one {
            checks.push(check_attention(device, case, kv, &choices(device, case)).await?);
        }
    }
    Ok(checks)
}

/// First positions, many around the borders of pages (64) and splits (256 positions if that is all, else
/// 128).
pub(super) fn starts() -> impl Strategy<Value = u32> {
    prop_oneof![
        select(vec![0u32, 1, 62, 63, 64, 65, 127, 254, 255, 256, 257, 383, 384, 512, 600]),
        0u32..400,
    ]
}

#[test]
fn attention_agrees_with_its_twin() {
    let sequences = vec((starts(), 1u32..4), 1..5);
    property(16..=90, cases(sequences, heads(), fills()), async |device, case| {
        check_formats(device, case).await
    });
}

/// Splits are short up to 16,384 positions.
#[test]
fn attention_of_long_contexts_agrees_with_its_twin() {
    let ends = select(vec![(16_382, 3), (20_000, 1)]).prop_map(|end| vec![end]);
    let fills = Just((1.0, Fill::Normal, Fill::Normal, Fill::Normal));
    property(2..=2, cases(ends, Just((1, 2, 32)), fills), async |device, case| {
        Ok(vec![check_attention(device, case, KvFormat::F16, &choices(device, case)).await?])
    });
}

/// First positions and rows of sequences, of which most have tiles with several splits. In the second line a split
/// begins within the rows of a tile.
pub(super) const TILED_SPLITS: [&[(u32, u32)]; 3] = [
    &[(4_090, 20), (5, 12), (3_000, 40), (300, 2)],
    &[(250, 9), (247, 10), (1, 3), (255, 12), (245, 12)],
    &[(3_580, 9), (3_576, 9), (3_572, 16), (4_155, 9)],
];

/// Few tiles behind a long context have several splits.
#[test]
fn flash_attention_of_long_contexts_agrees_with_its_twin() {
    for sequences in TILED_SPLITS {
        let fills = Just((1.0, Fill::Normal, Fill::Normal, Fill::Normal));
        let cases = cases(Just(sequences.to_vec()), Just((1, 4, 64)), fills);
        property(1..=1, cases, async |device, case| {
            Ok(vec![check_attention(device, case, KvFormat::F16, &choices(device, case)).await?])
        });
    }
}

#[test]
fn flash_attention_agrees_with_its_twin() {
    let rows = prop_oneof![select(vec![9u32, 15, 16, 17, 31, 33, 63, 64, 65, 130]), 9u32..40];
    let start = prop_oneof![Just(0u32), starts()];
    let sequences = vec((start, rows), 1..4);
    property(6..=60, cases(sequences, heads(), fills()), async |device, case| {
        check_formats(device, case).await
    });
}
