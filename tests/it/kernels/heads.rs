use lfm2_wgpu::kernels::KvFormat;
use lfm2_wgpu::selftest::{Fill, HeadsCase, check_heads};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{property, spans};

fn cases() -> impl Strategy<Value = HeadsCase> {
    // Many starts and lengths are around the borders of pages.
    let position = prop_oneof![select(vec![0u32, 1, 62, 63, 64, 65, 127, 128, 600]), 0u32..300];
    let sequences = vec((position, 1u32..12), 1..5);
    let head_dim = select(vec![4usize, 8, 12, 16, 20, 32, 48, 64, 96, 100, 128, 256]);
    let fill = select(vec![Fill::Normal, Fill::Extreme, Fill::Equal, Fill::Zero, Fill::OneNan]);
    (sequences, 1usize..=4, 1usize..=8, head_dim, fill, any::<u64>()).prop_map(
        |(sequences, n_kv_heads, group, head_dim, fill, seed)| HeadsCase {
            spans: spans(&sequences, seed),
            n_heads: n_kv_heads * group,
            n_kv_heads,
            head_dim,
            fill,
            seed,
        },
    )
}

#[test]
fn qk_norm_rope_append_agrees_with_its_twin() {
    property(12..=60, cases(), async |device, case| {
        let mut checks = Vec::new();
        for kv in KvFormat::ALL.into_iter().filter(|kv| kv.takes(case.head_dim)) {
            checks.push(check_heads(device, case, kv).await?);
        }
        Ok(checks)
    });
}
