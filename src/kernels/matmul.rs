//! Host side of `shaders/matmul.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::lora::LoraParams;
use super::{BiasPart, Epilogue, Format, ItemsPart, LoraPart, Matrix, WeightsPart, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

/// Items in a tile, also of the tile lists of experts. Weights are decoded once for a tile: 512 rows of
/// LFM2-8B-A1B are about 64 items for each expert.
pub const TILE_ITEMS: u32 = 64;
/// Rows in a tile.
pub(super) const TILE_ROWS: u32 = 128;

/// Items grouped by expert: the tile list of [`super::MoeGroup`].
#[derive(Clone, Copy)]
pub struct Grouped<'a> {
    /// The list.
    pub groups: &'a Tensor<u32>,
    /// First word of the sorted items in it.
    pub items_at: u32,
    /// Experts of a row.
    pub top_k: u32,
    /// Item `s` reads input row `s` instead of row `s / top_k`.
    pub own_rows: bool,
}

impl Grouped<'_> {
    pub(super) fn part(&self) -> ItemsPart {
        if self.own_rows { ItemsPart::GroupedOut } else { ItemsPart::GroupedIn }
    }
}

/// The product of a matrix with many items.
pub struct Matmul<'a> {
    /// `[experts, rows, cols]`.
    pub weight: &'a Matrix,
    /// `[rows]`.
    pub bias: Option<&'a Tensor<f32>>,
    /// `[inputs, cols]`.
    pub x: &'a Tensor<f32>,
    /// `[items, rows]`, or half as wide with [`Epilogue::Swiglu`].
    pub out: &'a Tensor<f32>,
    /// Grouping by expert; without it, every item uses the one matrix.
    pub grouped: Option<Grouped<'a>>,
    /// Items are the rows whose logits are wanted.
    pub only_logit_rows: bool,
    /// Operation on the result.
    pub epilogue: Epilogue,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    first_row: u32,
    cols: u32,
    items_at: u32,
    out_stride: u32,
    top_k: u32,
    only_logit_rows: u32,
    planes: [u32; 3],
    lora: LoraParams,
}

/// Additions to a product.
#[derive(Clone, Copy, Default)]
pub(super) struct Additions {
    pub bias: bool,
    pub lora: bool,
}

/// Makes a kernel's variant from weights, items, epilogue and additions.
pub(super) type VariantOf = fn(&Caps, WeightsPart, ItemsPart, Epilogue, Additions) -> Variant;

/// Chooses the parts of the imports that the kernels of many items share.
pub(super) fn imports(
    kernel: Variant,
    weights: WeightsPart,
    items: ItemsPart,
    epilogue: Epilogue,
    Additions { bias, lora }: Additions,
) -> Variant {
    let kernel = kernel.import(items).import(weights).import(BiasPart::new(bias));
    kernel.import(LoraPart::new(lora)).import(epilogue)
}

fn variant(
    _: &Caps,
    weights: WeightsPart,
    items: ItemsPart,
    epilogue: Epilogue,
    additions: Additions,
) -> Variant {
    imports(Variant::new("matmul"), weights, items, epilogue, additions)
        .int("TILE_ITEMS", TILE_ITEMS)
}

/// Every variant of a kernel for weights of one kind.
pub(super) fn all_of(caps: &Caps, weights: WeightsPart, variant: VariantOf) -> Vec<Variant> {
    let none = Additions::default();
    let mut all: Vec<_> =
        Epilogue::ALL.iter().map(|e| variant(caps, weights, ItemsPart::Dense, *e, none)).collect();
    all.push(variant(caps, weights, ItemsPart::GroupedIn, Epilogue::Swiglu, none));
    all.push(variant(caps, weights, ItemsPart::GroupedOut, Epilogue::Store, none));
    // With adapters, items with experts and without: the addition is the same with every epilogue.
    let lora = Additions { lora: true, bias: false };
    all.push(variant(caps, weights, ItemsPart::Dense, Epilogue::Add, lora));
    all.push(variant(caps, weights, ItemsPart::GroupedIn, Epilogue::Swiglu, lora));
    let bias = Additions { bias: true, lora: false };
    all.push(variant(caps, weights, ItemsPart::Dense, Epilogue::Store, bias));
    all.push(variant(caps, weights, ItemsPart::Dense, Epilogue::Add, bias));
    all
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    let formats = Format::ALL.iter().flat_map(|f| f.parts(caps));
    formats.flat_map(|weights| all_of(caps, weights, variant)).collect()
}

impl Matmul<'_> {
    /// Appends one dispatch for each part of the matrix.
    pub fn record(&self, r: &mut Recorder) {
        self.record_variant(r, variant);
    }

    /// As [`record`](Self::record), for another kernel with these tiles.
    pub(super) fn record_variant(&self, r: &mut Recorder, variant: VariantOf) {
        let per = TILE_ITEMS;
        let (items, tiles, top_k, items_at) = match self.grouped {
            None if self.only_logit_rows => (ItemsPart::Dense, Extent::LogitRows { per }, 1, 0),
            None => (ItemsPart::Dense, Extent::Rows { times: 1, per }, 1, 0),
            Some(g) => {
                let experts = self.weight.experts as u32;
                let tiles = Extent::ExpertTiles { experts, top_k: g.top_k, tile: per };
                (g.part(), tiles, g.top_k, g.items_at)
            }
        };
        let share = if self.grouped.is_some() {
            f64::from(top_k) / self.weight.experts as f64
        } else {
            1.0
        };
        for part in &self.weight.parts {
            let reads = Reads { bytes: part.data.bytes(), share };
            let mut bindings = part.bind();
            bindings.extend([self.x.bind("x"), self.out.bind("out")]);
            bindings.extend(self.grouped.map(|g| g.groups.bind("groups")));
            bindings.extend(self.bias.map(|b| b.bind("bias")));
            bindings.extend(self.weight.lora.as_ref().map(|lora| lora.data.bind("lora")));
            r.push(Dispatch {
                variant: variant(
                    r.caps(),
                    part.format.weights_part(r.caps()),
                    items,
                    self.epilogue,
                    Additions { bias: self.bias.is_some(), lora: self.weight.lora.is_some() },
                ),
                params: bytes_of(&Params {
                    rows: part.rows as u32,
                    first_row: part.first_row as u32,
                    cols: self.weight.cols as u32,
                    items_at,
                    out_stride: self.epilogue.width(self.weight.rows) as u32,
                    top_k,
                    only_logit_rows: self.only_logit_rows.into(),
                    planes: part.planes.at,
                    lora: LoraParams::of(self.weight.lora.as_ref()),
                }),
                bindings,
                grid: [
                    Extent::Const((part.rows as u32).div_ceil(TILE_ROWS)),
                    tiles,
                    Extent::Const(1),
                ],
                macs_per_row: (part.rows * self.weight.cols) as u64 * u64::from(top_k),
                reads,
            });
        }
    }
}
