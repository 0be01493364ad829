//! Products with the numbers of columns of LFM2: 2,048 (its hidden size) and 1,792 (its experts'). They
//! have long sums over many blocks. Rows and items are few, so that a case is cheap.

use lfm2_wgpu::gpu::Device;
use lfm2_wgpu::kernels::Activations::{Float, Int8};
use lfm2_wgpu::kernels::{Epilogue, Reduce};
use lfm2_wgpu::selftest::{
    Fill, LinearCase, LinearKernel, Routing, Rows, WeightsImport, check_linear,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Checks, property};

const COLS: [usize; 2] = [2048, 1792];

/// Products of these kinds, with these numbers of items and rows.
pub fn cases(
    kinds: Vec<(Rows, Epilogue)>,
    items: impl Strategy<Value = usize>,
    rows: impl Strategy<Value = usize>,
) -> impl Strategy<Value = LinearCase> {
    let fill = select(vec![Fill::Normal, Fill::Normal, Fill::Extreme, Fill::OneNan]);
    (select(kinds), items, rows, select(COLS.to_vec()), fill, any::<u64>()).prop_map(
        |((mode, epilogue), items, rows, cols, fill, seed)| {
            let by_expert = !matches!(mode, Rows::Dense | Rows::LogitRows);
            LinearCase {
                mode,
                items,
                rows: if epilogue == Epilogue::Swiglu { 2 * rows } else { rows },
                cols,
                experts: if by_expert { 3 } else { 1 },
                top_k: if by_expert { 2 } else { 1 },
                routing: Routing::Random,
                fill,
                epilogue,
                bias: false,
                norm: false,
                lora: 0,
                part_rows: 0,
                seed,
            }
        },
    )
}

/// The weight format that the case chooses.
pub fn weights(device: &Device, pick: Index) -> WeightsImport {
    let all = WeightsImport::available(device.caps());
    all[pick.index(all.len())]
}

#[test]
fn matvec_of_long_rows_agrees_with_its_twin() {
    let kinds = vec![
        (Rows::Dense, Epilogue::Store),
        (Rows::Dense, Epilogue::Swiglu),
        (Rows::Gather, Epilogue::Swiglu),
        (Rows::Combine, Epilogue::Add),
    ];
    let cases = (cases(kinds, 1usize..3, 1usize..6), any::<[Index; 4]>());
    property(10..=200, cases, async |device, (case, pick)| {
        let reduces = Reduce::available(device.caps());
        let reduce = reduces[pick[1].index(reduces.len())];
        let norm = case.epilogue != Epilogue::Add && pick[2].index(2) == 1;
        let case = &LinearCase { norm, ..case.clone() };
        let items = match case.mode {
            Rows::Dense => 1 << pick[3].index(4),
            _ => 1,
        };
        let mut checks = Vec::new();
        for activations in [Float, Int8] {
            let kernel = LinearKernel::Matvec { reduce, activations, items };
            checks.push(check_linear(device, case, weights(device, pick[0]), kernel).await?);
        }
        Ok(checks)
    });
}

/// Runs the kernels for many items, including matrix units if the device has them.
pub async fn many_items(device: &Device, case: &LinearCase, weights: WeightsImport) -> Checks {
    let mut checks = Vec::new();
    for kernel in LinearKernel::of_many_items(device.caps()) {
        checks.push(check_linear(device, case, weights, kernel).await?);
    }
    Ok(checks)
}

#[test]
fn matmul_of_long_rows_agrees_with_its_twin() {
    let kinds = vec![(Rows::Dense, Epilogue::Store), (Rows::GroupedIn, Epilogue::Swiglu)];
    let cases = (cases(kinds, 1usize..4, 1usize..6), any::<Index>());
    property(6..=100, cases, async |device, (case, pick)| {
        many_items(device, case, weights(device, *pick)).await
    });
}
