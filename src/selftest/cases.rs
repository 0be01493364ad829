//! The fixed cases of `lfm2 selftest`.

use super::linear::Rows;
use super::route::Bias;
use super::routing::Routing;
use super::{
    AttentionCase, ConvCase, EmbedCase, Fill, GroupCase, HeadsCase, InProjConvCase, KernelCheck,
    LinearCase, LinearKernel, NormCase, RouteCase, SampleCase, Span, WeightsImport,
    check_attention, check_combine, check_conv, check_embed, check_group, check_heads,
    check_in_proj_conv, check_linear, check_norm, check_route, check_sample,
};
use crate::gpu::{Caps, Device, GpuError};
use crate::kernels::{
    Activations, Choices, Epilogue, Format, InProjConv, KvFormat, MatmulCoop, Matvec, Multiply,
    Reduce, SampleShare, TILE_ITEMS,
};
use crate::reference::Options;

const SPANS: [(u32, u32, u32); 3] = [(2, 0, 5), (0, 63, 2), (1, 250, 9)];

fn spans() -> Vec<Span> {
    SPANS.iter().map(|&(slot, position, rows)| Span { slot, position, rows }).collect()
}

fn norm(rows: usize, hidden_size: usize, fill: Fill) -> NormCase {
    NormCase { rows, hidden_size, logit_rows: rows.is_multiple_of(2), eps: 1e-5, fill, seed: 1 }
}

fn route(experts: usize, top_k: usize, norm_topk_prob: bool) -> RouteCase {
    RouteCase {
        rows: 5,
        experts,
        top_k,
        norm_topk_prob,
        routed_scaling_factor: 1.7,
        bias: Bias::Normal,
        twins: 2,
        unlikely: false,
        seed: 2,
    }
}

fn linear(mode: Rows, epilogue: Epilogue, items: usize, bias: bool) -> LinearCase {
    let by_expert = !matches!(mode, Rows::Dense | Rows::LogitRows);
    LinearCase {
        mode,
        items,
        rows: 70,
        cols: 68,
        experts: if by_expert { 32 } else { 1 },
        top_k: if by_expert { 4 } else { 1 },
        routing: Routing::Random,
        fill: Fill::Normal,
        epilogue,
        bias,
        norm: false,
        lora: 0,
        part_rows: 32,
        seed: 3,
    }
}

/// A router's product, whose rows many lanes share.
fn router(items: usize) -> LinearCase {
    LinearCase { cols: 1028, ..linear(Rows::Dense, Epilogue::Store, items, false) }
}

/// The same product of normed rows.
fn normed(case: LinearCase) -> LinearCase {
    LinearCase { norm: true, ..case }
}

/// The same product with LoRA adapters of the rows.
fn with_lora(case: LinearCase) -> LinearCase {
    LinearCase { lora: 8, ..case }
}

/// Products with adapters: mode, epilogue, norm, and whether items share weights.
const LORAS: [(Rows, Epilogue, bool, bool); 5] = [
    (Rows::Dense, Epilogue::Store, true, false),
    (Rows::Dense, Epilogue::Add, false, true),
    (Rows::Gather, Epilogue::Swiglu, true, false),
    (Rows::Combine, Epilogue::Add, false, false),
    (Rows::GroupedIn, Epilogue::Swiglu, false, true),
];

/// The products of a model: mode, epilogue, bias.
const MATVECS: [(Rows, Epilogue, bool); 10] = [
    (Rows::Dense, Epilogue::Store, false),
    (Rows::Dense, Epilogue::Add, false),
    (Rows::Dense, Epilogue::Swiglu, false),
    (Rows::Dense, Epilogue::Store, true),
    (Rows::Dense, Epilogue::Add, true),
    (Rows::LogitRows, Epilogue::Store, false),
    (Rows::Gather, Epilogue::Swiglu, false),
    (Rows::Combine, Epilogue::Add, false),
    (Rows::GroupedIn, Epilogue::Swiglu, false),
    (Rows::GroupedOut, Epilogue::Store, false),
];
const MATMULS: [(Rows, Epilogue, bool); 8] = [
    (Rows::Dense, Epilogue::Store, false),
    (Rows::Dense, Epilogue::Add, false),
    (Rows::Dense, Epilogue::Swiglu, false),
    (Rows::Dense, Epilogue::Store, true),
    (Rows::Dense, Epilogue::Add, true),
    (Rows::LogitRows, Epilogue::Store, false),
    (Rows::GroupedIn, Epilogue::Swiglu, false),
    (Rows::GroupedOut, Epilogue::Store, false),
];

fn group(experts: usize, routing: Routing, tile: u32) -> GroupCase {
    GroupCase {
        rows: 21,
        most_rows: 30,
        experts,
        top_k: 3,
        tile,
        routing,
        hidden_size: 260,
        fill: Fill::Normal,
        seed: 4,
    }
}

fn heads(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> HeadsCase {
    HeadsCase { spans: spans(), n_heads, n_kv_heads, head_dim, fill: Fill::Normal, seed: 5 }
}

/// The first and the last sequence have many rows. The first has two splits, and in most sizes of tiles the second one
/// begins within a tile. The two between have few rows, with one split and with several.
fn attention(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> AttentionCase {
    // The last has a full tile of queries and more, for each size of tile.
    let spans = [(2, 250, 9), (0, 63, 2), (1, 300, 3), (3, 250, 70)];
    AttentionCase {
        spans: spans.map(|(slot, position, rows)| Span { slot, position, rows }).to_vec(),
        n_heads,
        n_kv_heads,
        head_dim,
        sharpness: 1.0,
        queries: Fill::Normal,
        keys: Fill::Normal,
        values: Fill::Normal,
        seed: 6,
    }
}

fn conv(l_cache: usize, ring_columns: usize, bias: bool) -> ConvCase {
    ConvCase {
        passes: vec![
            spans(),
            vec![Span { slot: 1, position: 255, rows: 1 }, Span { slot: 2, position: 5, rows: 40 }],
        ],
        slots: 3,
        hidden_size: 70,
        l_cache,
        ring_columns,
        bias,
        fill: Fill::Normal,
        seed: 7,
    }
}

fn in_proj_conv() -> InProjConvCase {
    InProjConvCase {
        rows: vec![(2, 0), (0, 63), (1, 250), (3, 1)],
        hidden_size: 68,
        cols: 68,
        l_cache: 3,
        ring_columns: 16,
        lora: 0,
        fill: Fill::Normal,
        seed: 11,
    }
}

/// The same with LoRA adapters.
fn in_proj_conv_with_lora() -> InProjConvCase {
    InProjConvCase { lora: 8, ..in_proj_conv() }
}

fn embed(part_rows: usize) -> EmbedCase {
    let (spans, fill) = (spans(), Fill::Normal);
    EmbedCase { spans, vocab: 37, hidden_size: 132, part_rows, fill, seed: 8 }
}

fn sample(vocab: usize) -> SampleCase {
    let card = Options {
        seed: 9,
        temperature: 0.3,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.15,
        repetition_penalty: 1.05,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
    };
    SampleCase {
        vocab,
        options: vec![
            card,
            Options { temperature: 0.0, ..card },
            Options {
                temperature: 1.0,
                top_k: 20,
                top_p: 0.9,
                presence_penalty: 0.5,
                frequency_penalty: 0.25,
                ..card
            },
            Options { temperature: 1.0, top_p: 0.9, ..card },
        ],
        length: 40,
        biased: 3,
        logit_rows: 1,
        fill: Fill::Normal,
        spread: 3.0,
        steps: 0,
        forbidden: 5,
        masks: true,
        top: 5,
        lowest: 0,
        broken: None,
        seed: 10,
    }
}

/// A kernel with its case and its choices.
pub(super) enum Check {
    Attention(AttentionCase, KvFormat, Choices),
    Combine(GroupCase),
    Conv(ConvCase),
    Embed(EmbedCase, WeightsImport),
    Group(GroupCase),
    Heads(HeadsCase, KvFormat),
    InProjConv(InProjConvCase, WeightsImport, (Reduce, Activations)),
    Linear(LinearCase, WeightsImport, LinearKernel),
    Norm(NormCase, Reduce),
    Route(RouteCase),
    Sample(SampleCase, SampleShare),
}

impl Check {
    pub async fn run(&self, device: &Device) -> Result<KernelCheck, GpuError> {
        match self {
            Self::Attention(case, kv, choices) => check_attention(device, case, *kv, choices).await,
            Self::Combine(case) => check_combine(device, case).await,
            Self::Conv(case) => check_conv(device, case).await,
            Self::Embed(case, weights) => check_embed(device, case, *weights).await,
            Self::Group(case) => check_group(device, case).await,
            Self::Heads(case, kv) => check_heads(device, case, *kv).await,
            Self::InProjConv(case, weights, choices) => {
                check_in_proj_conv(device, case, *weights, *choices).await
            }
            Self::Linear(case, weights, kernel) => {
                check_linear(device, case, *weights, *kernel).await
            }
            Self::Norm(case, reduce) => check_norm(device, case, *reduce).await,
            Self::Route(case) => check_route(device, case).await,
            Self::Sample(case, share) => check_sample(device, case, *share).await,
        }
    }
}

/// One case a kernel, with the engine's choices on this device.
pub(super) fn quick(caps: &Caps) -> Vec<Check> {
    let choices = Choices::by_capability(caps);
    let lanes = Choices { multiply: Multiply::Lanes, ..choices };
    let reduce = choices.reduce;
    let weights = WeightsImport::best(Format::F16);
    let activations = choices.activations;
    let matvec = LinearKernel::Matvec { reduce, activations, items: 1 };
    let mut all = vec![
        Check::Embed(embed(16), weights),
        Check::Norm(norm(3, 260, Fill::Normal), reduce),
        Check::Route(route(8, 2, true)),
        Check::Conv(conv(3, 16, false)),
        Check::Heads(heads(4, 2, 64), KvFormat::F16),
        Check::Attention(attention(4, 2, 64), KvFormat::F16, lanes),
        Check::Group(group(8, Routing::Random, 4)),
        Check::Combine(group(8, Routing::Random, 4)),
    ];
    for (mode, epilogue, bias) in
        [MATVECS[0], MATVECS[2], (Rows::Gather, Epilogue::Swiglu, false), MATVECS[7]]
    {
        all.push(Check::Linear(linear(mode, epilogue, 1, bias), weights, matvec));
    }
    all.push(Check::Linear(normed(router(1)), WeightsImport::best(Format::F32), matvec));
    for (mode, epilogue, bias) in [MATMULS[1], MATMULS[6]] {
        let case = linear(mode, epilogue, 40, bias);
        for kernel in LinearKernel::of_many_items(caps) {
            all.push(Check::Linear(case.clone(), weights, kernel));
        }
    }
    let case = with_lora(linear(Rows::Dense, Epilogue::Store, 1, false));
    all.push(Check::Linear(case, weights, matvec));
    let kernel = (reduce, activations);
    all.push(Check::InProjConv(in_proj_conv(), WeightsImport::best(Format::Q4), kernel));
    // Weights in blocks, as in the published files, for all ways to multiply them.
    for format in [Format::Q4, Format::Q6K] {
        for activations in [Activations::Float, Activations::Int8] {
            let kernel = LinearKernel::Matvec { reduce, activations, items: 1 };
            let case = linear(Rows::Dense, Epilogue::Store, 1, false);
            all.push(Check::Linear(case, WeightsImport::best(format), kernel));
        }
    }
    all.push(Check::Sample(sample(3000), SampleShare::by_capability(caps)));
    if MatmulCoop::available(caps) {
        let choices = Choices { multiply: Multiply::MatrixUnits, ..choices };
        all.push(Check::Attention(attention(4, 2, 64), KvFormat::F16, choices));
    }
    all
}

/// Every variant that the device can run of the kernels that read a model's matrices, with these
/// weights.
pub(super) fn with_weights(caps: &Caps, weights: WeightsImport) -> Vec<Check> {
    let mut all = Vec::new();
    for part_rows in [0, 8] {
        all.push(Check::Embed(embed(part_rows), weights));
    }
    for (mode, epilogue, bias) in MATMULS {
        for items in [1, 33, 70] {
            let case = linear(mode, epilogue, items, bias);
            for kernel in LinearKernel::of_many_items(caps) {
                all.push(Check::Linear(case.clone(), weights, kernel));
            }
        }
    }
    for (mode, epilogue) in [(Rows::Dense, Epilogue::Add), (Rows::GroupedIn, Epilogue::Swiglu)] {
        for kernel in LinearKernel::of_many_items(caps) {
            let case = with_lora(linear(mode, epilogue, 70, false));
            all.push(Check::Linear(case, weights, kernel));
        }
    }
    for reduce in Reduce::available(caps) {
        // It differs from Serial by the loading of inputs only.
        if reduce != Reduce::SerialSubgroup {
            all.extend(matvecs_with_lora(caps, weights, reduce));
        }
        all.extend(matvecs(caps, weights, reduce));
    }
    all
}

/// Every variant that the device can run of all other kernels.
pub(super) fn without_weights(caps: &Caps) -> Vec<Check> {
    let reduces = Reduce::available(caps);
    let mut all = Vec::new();
    for &reduce in &reduces {
        for (rows, width) in [(1, 4), (70, 260), (3, 2048)] {
            for fill in Fill::ALL {
                all.push(Check::Norm(norm(rows, width, fill), reduce));
            }
        }
    }
    for &reduce in reduces.iter().filter(|reduce| **reduce != Reduce::SerialSubgroup) {
        all.extend(shrinks(reduce));
    }
    for (experts, top_k, norm) in [(32, 4, true), (64, 4, true), (7, 3, false), (7, 1, true)] {
        all.push(Check::Route(route(experts, top_k, norm)));
    }
    for kv in KvFormat::ALL {
        for (n_heads, n_kv_heads, head_dim) in [(4, 2, 64), (3, 1, 32), (2, 2, 256)] {
            all.push(Check::Heads(heads(n_heads, n_kv_heads, head_dim), kv));
        }
        for (n_heads, n_kv_heads, head_dim) in
            [(32, 8, 64), (24, 8, 64), (2, 2, 32), (4, 2, 48), (8, 1, 128), (2, 1, 256)]
        {
            let case = attention(n_heads, n_kv_heads, head_dim);
            let choices = Choices::by_capability(caps);
            if kv == KvFormat::F16 && MatmulCoop::available(caps) {
                let choices = Choices { multiply: Multiply::MatrixUnits, ..choices };
                all.push(Check::Attention(case.clone(), kv, choices));
            }
            for reduce in [Reduce::Tree, Reduce::Serial] {
                if kv.takes(head_dim) {
                    let choices = Choices { reduce, multiply: Multiply::Lanes, ..choices };
                    all.push(Check::Attention(case.clone(), kv, choices));
                }
            }
        }
    }
    for (l_cache, ring, bias) in [(3, 16, false), (3, 16, true), (4, 17, true)] {
        all.push(Check::Conv(conv(l_cache, ring, bias)));
    }
    for experts in [7, 32, 64] {
        for routing in Routing::ALL {
            for tile in [4, 8, TILE_ITEMS] {
                all.push(Check::Group(group(experts, routing, tile)));
            }
            all.push(Check::Combine(group(experts, routing, 4)));
        }
    }
    // The last has more spans than a workgroup has lanes.
    for vocab in [33, 1000, 65_536, 262_145] {
        all.extend(SampleShare::ALL.map(|share| Check::Sample(sample(vocab), share)));
    }
    all
}

/// Products with weights in f32 for every variant of `lora_shrink`.
fn shrinks(reduce: Reduce) -> Vec<Check> {
    let weights = WeightsImport::best(Format::F32);
    let tile = Matvec::tile_items(reduce);
    let wide = |norm| LinearCase { norm, ..with_lora(router(1)) };
    let of = |mode, epilogue, norm| {
        let grouped = matches!(mode, Rows::GroupedIn | Rows::GroupedOut);
        let items = if grouped { tile } else { 1 };
        let case = with_lora(linear(mode, epilogue, items as usize, false));
        (LinearCase { norm, ..case }, items)
    };
    let cases = [
        (wide(false), 1),
        (wide(true), 1),
        of(Rows::Dense, Epilogue::Store, false),
        of(Rows::Dense, Epilogue::Store, true),
        of(Rows::Gather, Epilogue::Swiglu, true),
        of(Rows::Combine, Epilogue::Add, false),
        of(Rows::GroupedIn, Epilogue::Swiglu, true),
        of(Rows::GroupedOut, Epilogue::Store, false),
    ];
    let check = |(case, items)| {
        let kernel = LinearKernel::Matvec { reduce, activations: Activations::Float, items };
        Check::Linear(case, weights, kernel)
    };
    cases.map(check).into()
}

/// `matvec` and `in_proj_conv` with adapters, as far as the device has bindings for them.
fn matvecs_with_lora(caps: &Caps, weights: WeightsImport, reduce: Reduce) -> Vec<Check> {
    let activations = Activations::Float;
    let mut all = Vec::new();
    if InProjConv::binds(weights.format, true, caps) {
        all.push(Check::InProjConv(in_proj_conv_with_lora(), weights, (reduce, activations)));
    }
    for (mode, epilogue, norm, share) in LORAS {
        let items = match mode {
            Rows::Dense if share => Matvec::most_items(reduce, activations, caps),
            _ if share => Matvec::tile_items(reduce),
            _ => 1,
        };
        if mode == Rows::Gather && !Matvec::binds_gather(weights.format, true, caps) {
            continue;
        }
        let case = LinearCase { norm, ..with_lora(linear(mode, epilogue, items as usize, false)) };
        let kernel = LinearKernel::Matvec { reduce, activations, items };
        all.push(Check::Linear(case, weights, kernel));
    }
    all
}

/// Precisions of activations that products with these weights have.
fn activations(weights: WeightsImport) -> impl Iterator<Item = Activations> {
    let int8 = weights.format.is_quantised().then_some(Activations::Int8);
    std::iter::once(Activations::Float).chain(int8)
}

fn matvecs(caps: &Caps, weights: WeightsImport, reduce: Reduce) -> Vec<Check> {
    let tile = Matvec::tile_items(reduce);
    let mut all: Vec<_> = activations(weights)
        .map(|activations| Check::InProjConv(in_proj_conv(), weights, (reduce, activations)))
        .collect();
    if weights.format == Format::F32 {
        let kernel =
            |items| LinearKernel::Matvec { reduce, activations: Activations::Float, items };
        all.push(Check::Linear(normed(router(1)), weights, kernel(1)));
        all.push(Check::Linear(normed(router(9)), weights, kernel(tile)));
        all.push(Check::Linear(router(9), weights, kernel(tile)));
    }
    for (mode, epilogue, bias) in MATVECS {
        let items: &[u32] = match (mode, bias, epilogue) {
            (Rows::Dense, false, _) | (Rows::LogitRows, ..) => &[1, 2, 4, 8],
            (Rows::Dense, true, Epilogue::Add) => &[4, 8],
            (Rows::GroupedIn | Rows::GroupedOut, ..) => &[tile],
            _ => &[1],
        };
        for activations in activations(weights) {
            let most = Matvec::most_items(reduce, activations, caps);
            for &items in items.iter().filter(|items| **items <= most) {
                let case = linear(mode, epilogue, items as usize, bias);
                let kernel = LinearKernel::Matvec { reduce, activations, items };
                let takes_norm = epilogue != Epilogue::Add && mode != Rows::GroupedOut;
                if takes_norm {
                    all.push(Check::Linear(normed(case.clone()), weights, kernel));
                }
                // Where lanes share rows, gate and up rows always come with the norm.
                if reduce.is_serial() || (mode, epilogue) != (Rows::Dense, Epilogue::Swiglu) {
                    all.push(Check::Linear(case, weights, kernel));
                }
            }
        }
    }
    all
}
