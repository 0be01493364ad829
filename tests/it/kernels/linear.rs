use lfm2_wgpu::kernels::Activations::{Float, Int8};
use lfm2_wgpu::kernels::{Epilogue, Format, Matvec, Reduce};
use lfm2_wgpu::selftest::{
    Fill, LinearCase, LinearKernel, Routing, Rows, WeightsImport, check_linear, products,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{on_both, property};
use crate::gpu::{devices, run_all};

/// Rows of a matrix, many around the borders of lanes and tiles.
fn matrix_rows() -> impl Strategy<Value = usize> {
    prop_oneof![
        select(vec![1usize, 2, 3, 4, 5, 63, 64, 65, 127, 129, 255, 256, 257, 258]),
        1usize..100,
    ]
}

fn cols() -> impl Strategy<Value = usize> {
    prop_oneof![
        select(vec![4usize, 8, 12, 16, 20, 60, 64, 68, 252, 256, 260, 516]),
        (1usize..50).prop_map(|n| 4 * n),
    ]
}

fn part_rows() -> impl Strategy<Value = usize> {
    select(vec![0usize, 0, 2, 7, 64, 100])
}

type Shape = (usize, usize, usize, usize);

fn case(
    (mode, epilogue, bias): (Rows, Epilogue, bool),
    (items, rows, cols, part_rows): Shape,
    (experts, top_k, routing): (usize, usize, Routing),
    (fill, seed): (Fill, u64),
) -> LinearCase {
    let by_expert = !matches!(mode, Rows::Dense | Rows::LogitRows);
    LinearCase {
        mode,
        items,
        rows: if epilogue == Epilogue::Swiglu { rows.next_multiple_of(2) } else { rows },
        cols,
        experts: if by_expert { experts } else { 1 },
        // matvec chooses different experts for a row.
        top_k: if by_expert { top_k.min(experts) } else { 1 },
        routing,
        fill,
        epilogue,
        bias,
        norm: false,
        lora: 0,
        // A part has at least two rows. Many tiny parts only take time.
        part_rows: if part_rows > 0 { part_rows.max(rows / 8) } else { 0 },
        seed,
    }
}

fn dense_kind() -> impl Strategy<Value = (Rows, Epilogue, bool)> {
    select(vec![
        (Rows::Dense, Epilogue::Store, false),
        (Rows::Dense, Epilogue::Add, false),
        (Rows::Dense, Epilogue::Swiglu, false),
        (Rows::LogitRows, Epilogue::Store, false),
    ])
}

fn routed() -> impl Strategy<Value = (usize, usize, Routing)> {
    (1usize..9, 1usize..5, select(Routing::ALL.to_vec()))
}

fn values() -> impl Strategy<Value = (Fill, u64)> {
    (
        select(vec![Fill::Normal, Fill::Normal, Fill::Extreme, Fill::Equal, Fill::OneNan]),
        any::<u64>(),
    )
}

/// One of `of`, chosen by the case. Each weight format and way of summation is a pipeline of its own, and
/// nearly all of a test's time on a software driver is compilation. The fixed cases of the self-test run
/// every combination.
fn one_of<T: Copy>(of: impl AsRef<[T]>, pick: Index) -> T {
    of.as_ref()[pick.index(of.as_ref().len())]
}

#[test]
fn matvec_agrees_with_its_twin() {
    // Items of a workgroup.
    let float = [1, 2, 4, 8].map(|items| (items, Float));
    let int8 = [1, 4].map(|items| (items, Int8));
    let shapes = (1usize..12, matrix_rows(), cols(), part_rows());
    let cases = (dense_kind(), shapes, routed(), values(), any::<[Index; 5]>())
        .prop_map(|(kind, shape, routed, values, pick)| (case(kind, shape, routed, values), pick));
    property(20..=150, cases, async |device, (case, pick)| {
        let mut checks = Vec::new();
        let mut case = case.clone();
        case.norm = pick[2].index(2) == 1 && case.epilogue != Epilogue::Add;
        let weights = one_of(WeightsImport::available(device.caps()), pick[0]);
        let reduce = one_of(Reduce::available(device.caps()), pick[1]);
        let kernels = match run_all() {
            true => [&float[..], &int8].concat(),
            false => vec![one_of(float, pick[3]), one_of(int8, pick[4])],
        };
        for (items, activations) in kernels {
            let kernel = LinearKernel::Matvec { reduce, activations, items };
            checks.push(check_linear(device, &case, weights, kernel).await?);
        }
        Ok(checks)
    });
}

#[test]
fn matvec_with_bias_or_experts_agrees_with_its_twin() {
    let kinds = select(vec![
        (Rows::Dense, Epilogue::Store, true),
        (Rows::Gather, Epilogue::Swiglu, false),
        (Rows::Combine, Epilogue::Add, false),
    ]);
    let shapes = (1usize..6, matrix_rows(), cols(), part_rows());
    let cases = (kinds, shapes, routed(), values(), any::<[Index; 2]>())
        .prop_map(|(kind, shape, routed, values, pick)| (case(kind, shape, routed, values), pick));
    property(20..=300, cases, async |device, (case, pick)| {
        let mut checks = Vec::new();
        let case = LinearCase { norm: case.epilogue != Epilogue::Add, ..case.clone() };
        let weights = one_of(WeightsImport::available(device.caps()), pick[0]);
        let reduce = one_of(Reduce::available(device.caps()), pick[1]);
        for activations in [Float, Int8] {
            let kernel = LinearKernel::Matvec { reduce, activations, items: 1 };
            checks.push(check_linear(device, &case, weights, kernel).await?);
        }
        Ok(checks)
    });
}

#[test]
fn matmul_agrees_with_its_twin() {
    let kinds = prop_oneof![
        dense_kind(),
        select(vec![
            (Rows::Dense, Epilogue::Store, true),
            (Rows::Dense, Epilogue::Add, true),
            (Rows::GroupedIn, Epilogue::Swiglu, false),
            (Rows::GroupedOut, Epilogue::Store, false),
        ]),
    ];
    let items = prop_oneof![select(vec![1usize, 15, 31, 32, 33, 64, 65, 96]), 1usize..50];
    let shapes = (items, matrix_rows(), cols(), part_rows());
    let cases = (kinds, shapes, routed(), values(), any::<Index>())
        .prop_map(|(kind, shape, routed, values, pick)| (case(kind, shape, routed, values), pick));
    property(30..=600, cases, async |device, (case, pick)| {
        let mut checks = Vec::new();
        let weights = one_of(WeightsImport::available(device.caps()), *pick);
        for kernel in LinearKernel::of_many_items(device.caps()) {
            checks.push(check_linear(device, case, weights, kernel).await?);
        }
        Ok(checks)
    });
}

/// Rows of different adapters and of none, in every kernel and with all kinds of items.
#[test]
fn products_with_adapters_agree_with_their_twin() {
    let kinds = select(vec![
        (Rows::Dense, Epilogue::Store, false),
        (Rows::Dense, Epilogue::Add, false),
        (Rows::Dense, Epilogue::Swiglu, false),
        (Rows::Gather, Epilogue::Swiglu, false),
        (Rows::Combine, Epilogue::Add, false),
        (Rows::GroupedIn, Epilogue::Swiglu, false),
        (Rows::GroupedOut, Epilogue::Store, false),
    ]);
    let shapes = (1usize..12, matrix_rows(), cols(), part_rows());
    let fills = (select(vec![Fill::Normal, Fill::Equal, Fill::OneNan]), any::<u64>());
    let cases = (kinds, shapes, routed(), fills, any::<[Index; 4]>())
        .prop_map(|(kind, shape, routed, values, pick)| (case(kind, shape, routed, values), pick));
    property(20..=200, cases, async |device, (case, pick)| {
        let mut checks = Vec::new();
        let mut case = LinearCase { lora: one_of([4, 8, 20, 68], pick[2]), ..case.clone() };
        let weights = one_of(WeightsImport::available(device.caps()), pick[0]);
        let reduce = one_of(Reduce::available(device.caps()), pick[1]);
        let many = matches!(case.mode, Rows::Dense | Rows::GroupedIn | Rows::GroupedOut);
        if many && pick[3].index(2) == 0 {
            for kernel in LinearKernel::of_many_items(device.caps()) {
                checks.push(check_linear(device, &case, weights, kernel).await?);
            }
            return Ok(checks);
        }
        // WebGPU's default limits have one binding too few.
        if case.mode == Rows::Gather && !Matvec::binds_gather(weights.format, true, device.caps()) {
            return Ok(checks);
        }
        case.norm = case.epilogue != Epilogue::Add && case.mode != Rows::GroupedOut;
        let items = match case.mode {
            Rows::GroupedIn | Rows::GroupedOut => Matvec::tile_items(reduce),
            Rows::Gather | Rows::Combine => 1,
            _ => one_of([1, 2, 4, 8], pick[3]),
        };
        let kernel = LinearKernel::Matvec { reduce, activations: Float, items };
        checks.push(check_linear(device, &case, weights, kernel).await?);
        Ok(checks)
    });
}

#[test]
fn matvec_of_grouped_items_agrees_with_its_twin() {
    let kinds = select(vec![
        (Rows::GroupedIn, Epilogue::Swiglu, false),
        (Rows::GroupedOut, Epilogue::Store, false),
    ]);
    let items = prop_oneof![select(vec![1usize, 8, 9, 32, 33, 96]), 1usize..50];
    let shapes = (items, matrix_rows(), cols(), part_rows());
    let cases = (kinds, shapes, routed(), values(), any::<[Index; 2]>())
        .prop_map(|(kind, shape, routed, values, pick)| (case(kind, shape, routed, values), pick));
    property(20..=400, cases, async |device, (case, pick)| {
        let mut checks = Vec::new();
        let weights = one_of(WeightsImport::available(device.caps()), pick[0]);
        let reduce = one_of(Reduce::available(device.caps()), pick[1]);
        for activations in [Float, Int8] {
            let kernel =
                LinearKernel::Matvec { reduce, activations, items: Matvec::tile_items(reduce) };
            checks.push(check_linear(device, case, weights, kernel).await?);
        }
        Ok(checks)
    });
}

/// More groups of rows than a grid dimension has workgroups are folded into two dimensions.
#[test]
fn matvec_folds_its_grid() {
    on_both(async |device| {
        let weights = WeightsImport::available(device.caps())[1];
        let mut checks = Vec::new();
        for (epilogue, rows, part_rows) in
            [(Epilogue::Store, 263_001, 0), (Epilogue::Swiglu, 262_160, 262_150)]
        {
            let kind = (Rows::Dense, epilogue, false);
            let case = case(kind, (2, rows, 4, part_rows), (1, 1, Routing::One), (Fill::Normal, 1));
            let kernel = LinearKernel::Matvec {
                reduce: Reduce::shared_rows(device.caps()),
                activations: Float,
                items: 2,
            };
            checks.push(check_linear(device, &case, weights, kernel).await?);
        }
        Ok(checks)
    });
}

/// A row of a decode step has the same bits alone and beside others, for any number of items that share a
/// load of weights, so that greedy text does not depend on the batch.
#[test]
fn matvec_rows_do_not_depend_on_the_batch() {
    for (name, device) in devices() {
        let formats = WeightsImport::available(device.caps());
        // Formats sum alike, except that blocks of some have a minimum.
        let formats = formats.into_iter().filter(|weights| {
            run_all() || matches!(weights.format, Format::F16 | Format::Q4 | Format::Q4K)
        });
        for weights in formats {
            for (reduce, activations) in
                Reduce::available(device.caps()).into_iter().flat_map(|r| [(r, Float), (r, Int8)])
            {
                let run = |rows: usize, cols: usize, items: u32| {
                    let kind = (Rows::Dense, Epilogue::Store, false);
                    let shape = (rows, 70, cols, 0);
                    let case = case(kind, shape, (1, 1, Routing::One), (Fill::Normal, 7));
                    let kernel = LinearKernel::Matvec { reduce, activations, items };
                    let out = pollster::block_on(products(device, &case, weights, kernel));
                    out.unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
                };
                // With 1,792 columns, some lanes have one unit of a matrix, others two.
                for cols in [260, 1792] {
                    let alone = run(1, cols, 1);
                    for (rows, items) in [(2, 1), (2, 2), (3, 4), (8, 8), (9, 8), (1, 8)] {
                        assert!(
                            run(rows, cols, items)[..70] == alone,
                            "{name}: {weights:?} {reduce:?}: {rows} rows of {cols}, {items} items"
                        );
                    }
                }
            }
        }
    }
}
