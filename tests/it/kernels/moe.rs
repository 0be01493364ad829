use lfm2_wgpu::kernels::TILE_ITEMS;
use lfm2_wgpu::selftest::{Fill, GroupCase, Routing, check_combine, check_group};
use proptest::prelude::*;
use proptest::sample::select;

use super::property;

fn cases() -> impl Strategy<Value = GroupCase> {
    let rows = prop_oneof![select(vec![1usize, 8, 31, 32, 33, 65, 257]), 1usize..100];
    let experts = select(vec![1usize, 2, 7, 8, 31, 32, 33, 63, 64]);
    let fill = prop_oneof![4 => select(Fill::ALL.to_vec()), 1 => Just(Fill::OneNan)];
    (
        (rows, 0usize..3, experts, 1usize..9, select(Routing::ALL.to_vec())),
        (1usize..140, fill, any::<u64>()),
    )
        .prop_map(|((rows, spare, experts, top_k, routing), (quads, fill, seed))| GroupCase {
            rows,
            most_rows: rows * (1 + spare),
            experts,
            top_k,
            tile: if seed % 2 == 0 { 4 } else { TILE_ITEMS },
            routing,
            hidden_size: 4 * quads,
            fill,
            seed,
        })
}

#[test]
fn moe_group_agrees_with_its_twin() {
    property(32..=120, cases(), async |device, case| Ok(vec![check_group(device, case).await?]));
}

#[test]
fn moe_combine_agrees_with_its_twin() {
    property(32..=120, cases(), async |device, case| Ok(vec![check_combine(device, case).await?]));
}
