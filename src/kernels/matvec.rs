//! Host side of `shaders/matvec.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{
    Activations, BiasPart, Epilogue, Format, Grouped, InputPart, ItemsPart, Matrix, ProductPart,
    Reduce, TILE_ITEMS, WeightsPart, bytes_of, fold,
};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

/// Lanes that share four rows (tree, subgroup) or own four rows each (serial).
const WG: u32 = 64;
/// Rows of a group of lanes: a `vec4` of sums.
const ROWS: u32 = 4;

/// Products of an item: the import `items`.
#[derive(Clone, Copy)]
pub enum MatvecItems<'a> {
    /// One product for each item.
    Dense {
        /// Items are the rows whose logits are wanted.
        only_logit_rows: bool,
    },
    /// Item `row * top_k + j` is the product with the row's `j`-th expert.
    Gather {
        /// `[rows, top_k]`.
        ids: &'a Tensor<u32>,
        /// Experts of a row.
        top_k: u32,
    },
    /// An item is the sum of the products with its row's `top_k` experts, weighted by their gates.
    Combine {
        /// `[rows, top_k]`.
        ids: &'a Tensor<u32>,
        /// `[rows, top_k]`.
        gates: &'a Tensor<f32>,
        /// Experts of a row.
        top_k: u32,
    },
    /// Items grouped by expert; a workgroup takes `items` of a tile.
    Grouped(Grouped<'a>),
}

impl MatvecItems<'_> {
    fn part(self) -> ItemsPart {
        match self {
            Self::Dense { .. } => ItemsPart::Dense,
            Self::Gather { .. } => ItemsPart::Gather,
            Self::Combine { .. } => ItemsPart::Combine,
            Self::Grouped(g) => g.part(),
        }
    }
}

/// The product of a matrix with few items.
pub struct Matvec<'a> {
    /// `[experts, rows, cols]`.
    pub weight: &'a Matrix,
    /// `[rows]`.
    pub bias: Option<&'a Tensor<f32>>,
    /// `[inputs, cols]`.
    pub x: &'a Tensor<f32>,
    /// `[items, rows]`, or half as wide with [`Epilogue::Swiglu`].
    pub out: &'a Tensor<f32>,
    /// The items and their jobs.
    pub items: MatvecItems<'a>,
    /// Operation on the result.
    pub epilogue: Epilogue,
    /// Summation within a workgroup.
    pub reduce: Reduce,
    /// Precision of `x` in products with quantised weights.
    pub activations: Activations,
    /// Items of a workgroup, which share each load of a weight: 1, 2, 4 or 8; 1 with [`MatvecItems::Gather`] and
    /// [`MatvecItems::Combine`].
    pub items_per_group: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    first_row: u32,
    cols: u32,
    row_groups: u32,
    out_stride: u32,
    top_k: u32,
    only_logit_rows: u32,
    items_at: u32,
    planes: [u32; 3],
}

fn variant(
    weights: WeightsPart,
    items: ItemsPart,
    epilogue: Epilogue,
    bias: bool,
    reduce: Reduce,
    activations: Activations,
    per_group: u32,
) -> Variant {
    let input = match activations {
        _ if !weights.is_quantised() => InputPart::F32,
        Activations::Int8 => InputPart::Int8,
        Activations::Float if reduce == Reduce::SerialSubgroup => InputPart::Broadcast,
        Activations::Float => InputPart::F32,
    };
    let v = Variant::new("matvec")
        .import(reduce)
        .import(items)
        .import(weights)
        .import(input)
        .import(ProductPart { weights, activations })
        .import(BiasPart::new(bias))
        .import(epilogue)
        .int("WG", WG)
        .int("ITEMS", per_group);
    match items {
        // The part's functions for matmul, which works in tiles, name the constant too.
        ItemsPart::Dense => v.int("TILE_ITEMS", per_group),
        ItemsPart::GroupedIn | ItemsPart::GroupedOut => v.int("TILE_ITEMS", TILE_ITEMS),
        ItemsPart::Gather | ItemsPart::Combine => v,
    }
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    let mut all = Vec::new();
    let weights = || Format::ALL.iter().flat_map(|f| f.parts(caps));
    let float = weights().map(|w| (w, Activations::Float));
    let int8 = Format::ALL.iter().filter(|f| f.is_quantised()).flat_map(|f| f.parts(caps));
    for (weights, act) in float.chain(int8.map(|w| (w, Activations::Int8))) {
        for reduce in Reduce::available(caps) {
            for epilogue in Epilogue::ALL {
                for items in [1, 2, 4, 8] {
                    all.push(variant(
                        weights,
                        ItemsPart::Dense,
                        epilogue,
                        false,
                        reduce,
                        act,
                        items,
                    ));
                }
            }
            for (epilogue, items) in [(Epilogue::Store, 1), (Epilogue::Add, 8)] {
                all.push(variant(weights, ItemsPart::Dense, epilogue, true, reduce, act, items));
            }
            all.push(variant(weights, ItemsPart::Gather, Epilogue::Swiglu, false, reduce, act, 1));
            all.push(variant(weights, ItemsPart::Combine, Epilogue::Add, false, reduce, act, 1));
            all.push(variant(
                weights,
                ItemsPart::GroupedIn,
                Epilogue::Swiglu,
                false,
                reduce,
                act,
                8,
            ));
            all.push(variant(
                weights,
                ItemsPart::GroupedOut,
                Epilogue::Store,
                false,
                reduce,
                act,
                8,
            ));
        }
    }
    all
}

impl Matvec<'_> {
    /// Appends one dispatch for each part of the matrix.
    pub fn record(&self, r: &mut Recorder) {
        let (items, top_k, only_logit_rows) = match self.items {
            MatvecItems::Dense { only_logit_rows: false } => {
                (Extent::Rows { times: 1, per: self.items_per_group }, 1, false)
            }
            MatvecItems::Dense { only_logit_rows: true } => {
                (Extent::LogitRows { per: self.items_per_group }, 1, true)
            }
            MatvecItems::Gather { top_k, .. } => {
                (Extent::Rows { times: top_k, per: 1 }, top_k, false)
            }
            MatvecItems::Combine { top_k, .. } => (Extent::Rows { times: 1, per: 1 }, top_k, false),
            MatvecItems::Grouped(g) => {
                let (experts, top_k) = (self.weight.experts as u32, g.top_k);
                let times = TILE_ITEMS / self.items_per_group;
                (Extent::ExpertTiles { experts, top_k, tile: TILE_ITEMS, times }, top_k, false)
            }
        };
        let share = match self.items {
            MatvecItems::Dense { .. } => 1.0,
            _ => f64::from(top_k) / self.weight.experts as f64,
        };
        for part in &self.weight.parts {
            let reads = Reads { bytes: part.data.bytes(), share };
            let row_groups = (part.rows as u32).div_ceil(ROWS * self.reduce.rows(WG));
            let (gx, gy) = fold(row_groups);
            let mut bindings = part.bind();
            bindings.extend([self.x.bind("x"), self.out.bind("out")]);
            match self.items {
                MatvecItems::Dense { .. } => {}
                MatvecItems::Gather { ids, .. } => bindings.push(ids.bind("ids")),
                MatvecItems::Combine { ids, gates, .. } => {
                    bindings.extend([ids.bind("ids"), gates.bind("gates")]);
                }
                MatvecItems::Grouped(g) => bindings.push(g.groups.bind("groups")),
            }
            bindings.extend(self.bias.map(|b| b.bind("bias")));
            r.push(Dispatch {
                variant: variant(
                    part.format.weights_part(r.caps()),
                    self.items.part(),
                    self.epilogue,
                    self.bias.is_some(),
                    self.reduce,
                    self.activations,
                    self.items_per_group,
                ),
                params: bytes_of(&Params {
                    rows: part.rows as u32,
                    first_row: part.first_row as u32,
                    cols: self.weight.cols as u32,
                    row_groups,
                    out_stride: self.epilogue.width(self.weight.rows) as u32,
                    top_k,
                    only_logit_rows: only_logit_rows.into(),
                    items_at: match self.items {
                        MatvecItems::Grouped(g) => g.items_at,
                        _ => 0,
                    },
                    planes: part.planes.at,
                }),
                bindings,
                grid: [Extent::Const(gx), Extent::Const(gy), items],
                macs_per_row: (part.rows * self.weight.cols) as u64 * u64::from(top_k),
                reads,
            });
        }
    }
}
