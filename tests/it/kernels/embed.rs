use lfm2_wgpu::selftest::{EmbedCase, Fill, WeightsImport, check_embed};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{property, spans};

fn cases() -> impl Strategy<Value = EmbedCase> {
    let sequences = vec((0u32..200, 1u32..20), 1..6);
    let part_rows = select(vec![0usize, 2, 10, 33]);
    let fill = select(vec![Fill::Normal, Fill::Extreme, Fill::OneNan]);
    (sequences, 1usize..100, 1usize..90, part_rows, fill, any::<u64>()).prop_map(
        |(sequences, vocab, quads, part_rows, fill, seed)| EmbedCase {
            spans: spans(&sequences, seed),
            vocab,
            hidden_size: 4 * quads,
            part_rows,
            fill,
            seed,
        },
    )
}

#[test]
fn embed_agrees_with_its_twin() {
    property(16..=60, cases(), async |device, case| {
        let mut checks = Vec::new();
        for weights in WeightsImport::available(device.caps()) {
            checks.push(check_embed(device, case, weights).await?);
        }
        Ok(checks)
    });
}
