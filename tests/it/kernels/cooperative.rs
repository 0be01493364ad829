//! `matmul_coop` and `flash_attention_coop` compared with their twins, if the adapter has cooperative
//! matrices. The tests of `matmul` and the self-test run them too. These tests are for a driver that was
//! installed for its matrices: `cargo test --test it cooperative`. Each is bounded in time.

use std::time::{Duration, Instant};

use lfm2_wgpu::kernels::{Choices, Epilogue, KvFormat, MatmulCoop, Multiply};
use lfm2_wgpu::selftest::{
    Fill, LinearCase, LinearKernel, Routing, Rows, WeightsImport, check_attention, check_linear,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::attention::{TILED_SPLITS, cases as attention_cases, starts};
use super::long_rows::{cases as long_cases, many_items, weights};
use super::{failures, property};
use crate::gpu::{run_all, with_matrix_units};

const KINDS: [(Rows, Epilogue, bool); 8] = [
    (Rows::Dense, Epilogue::Store, false),
    (Rows::Dense, Epilogue::Add, false),
    (Rows::Dense, Epilogue::Swiglu, false),
    (Rows::LogitRows, Epilogue::Store, false),
    (Rows::Dense, Epilogue::Store, true),
    (Rows::Dense, Epilogue::Add, true),
    (Rows::GroupedIn, Epilogue::Swiglu, false),
    (Rows::GroupedOut, Epilogue::Store, false),
];

fn case(
    (mode, epilogue, bias): (Rows, Epilogue, bool),
    [items, rows, cols]: [usize; 3],
    (fill, seed): (Fill, u64),
) -> LinearCase {
    let by_expert = matches!(mode, Rows::GroupedIn | Rows::GroupedOut);
    LinearCase {
        mode,
        items,
        rows: if epilogue == Epilogue::Swiglu { rows.next_multiple_of(2) } else { rows },
        cols,
        experts: if by_expert { 5 } else { 1 },
        top_k: if by_expert { 2 } else { 1 },
        routing: Routing::Random,
        fill,
        epilogue,
        bias,
        norm: false,
        lora: 0,
        part_rows: 0,
        seed,
    }
}

/// Every weight format in every kind of product, with sizes that cross the borders of tiles: first one
/// kind for each format, then as many as a minute allows.
#[test]
fn cooperative_products_of_every_format_agree_with_their_twin() {
    let Some(device) = with_matrix_units() else { return };
    let formats: Vec<WeightsImport> =
        WeightsImport::available(device.caps()).into_iter().filter(|w| w.native).collect();
    let (began, mut checks) = (Instant::now(), Vec::new());
    for round in 0..KINDS.len() {
        for (i, weights) in formats.iter().enumerate() {
            if round > 0 && !run_all() && began.elapsed() > Duration::from_secs(60) {
                break;
            }
            let kind = KINDS[(round + i) % KINDS.len()];
            let case = case(kind, [33, 130, 96], (Fill::Normal, 3));
            let check = check_linear(device, &case, *weights, LinearKernel::MatmulCoop);
            checks.push(pollster::block_on(check).unwrap());
        }
    }
    let failed = failures("adapter limits", &checks);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(checks.iter().all(|c| c.kernel == "matmul_coop"));
    println!("{} of {} products", checks.len(), KINDS.len() * formats.len());
}

#[test]
fn cooperative_products_of_any_shape_agree_with_their_twin() {
    if with_matrix_units().is_none() {
        return;
    }
    let side = || prop_oneof![select(vec![1usize, 15, 16, 17, 63, 64, 65, 127, 129]), 1usize..50];
    let cols =
        prop_oneof![select(vec![4usize, 16, 32, 36, 256, 260]), (1usize..40).prop_map(|n| 4 * n)];
    let fill = select(vec![Fill::Normal, Fill::Normal, Fill::Extreme, Fill::Equal, Fill::OneNan]);
    let values = (fill, any::<u64>());
    let cases = ((select(KINDS.to_vec()), side(), side(), cols, values), any::<Index>()).prop_map(
        |((kind, items, rows, cols, values), pick)| (case(kind, [items, rows, cols], values), pick),
    );
    property(12..=150, cases, async |device, (case, pick)| {
        many_items(device, case, weights(device, *pick)).await
    });
}

#[test]
fn cooperative_products_of_long_rows_agree_with_their_twin() {
    if with_matrix_units().is_none() {
        return;
    }
    let kinds = vec![(Rows::Dense, Epilogue::Store), (Rows::GroupedIn, Epilogue::Swiglu)];
    let cases = (long_cases(kinds, 1usize..20, 1usize..20), any::<Index>());
    property(8..=100, cases, async |device, (case, pick)| {
        many_items(device, case, weights(device, *pick)).await
    });
}

#[test]
fn cooperative_attention_agrees_with_its_twin() {
    if with_matrix_units().is_none() {
        return;
    }
    let rows = prop_oneof![select(vec![9u32, 15, 16, 17, 31, 33, 64, 65]), 9u32..40];
    let sequences = vec((prop_oneof![Just(0u32), starts()], rows), 1..4);
    let sequences =
        prop_oneof![3 => sequences, 1 => select(TILED_SPLITS.map(<[_]>::to_vec).to_vec())];
    let heads = (1usize..=2, 1usize..=5, select(vec![16usize, 32, 64, 64, 96]));
    // Queries beyond f16 become infinite, and a NaN among the values reaches a whole tile.
    let fill = || select(vec![Fill::Normal, Fill::Normal, Fill::Equal, Fill::Zero]);
    let fills = (select(vec![1.0f32, 0.0, 5.0, 40.0]), Just(Fill::Normal), fill(), fill());
    property(6..=60, attention_cases(sequences, heads, fills), async |device, case| {
        if !MatmulCoop::available(device.caps()) {
            return Ok(Vec::new());
        }
        let choices = Choices::by_capability(device.caps());
        let choices = Choices { multiply: Multiply::MatrixUnits, ..choices };
        Ok(vec![check_attention(device, case, KvFormat::F16, &choices).await?])
    });
}
