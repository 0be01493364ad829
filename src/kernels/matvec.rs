//! Host side of `shaders/matvec.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{Activations, Epilogue, Format, Grouped, Matrix, Reduce, TILE_ITEMS, bytes_of, fold};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

/// Lanes that share four rows (tree, subgroup) or own four rows each (serial).
const WG: u32 = 64;
/// Rows a group of lanes owns: a `vec4` of sums.
const ROWS: u32 = 4;

/// Which products an item takes: the `rows` import.
#[derive(Clone, Copy)]
pub enum MatvecRows<'a> {
    /// One product an item.
    Dense {
        /// Items are the rows whose logits are wanted.
        logit_rows: bool,
    },
    /// Item `row * top_k + j` takes row's `j`-th expert.
    Gather {
        /// `[rows, top_k]`.
        ids: &'a Tensor<u32>,
        /// Experts a row goes to.
        top_k: u32,
    },
    /// A row adds its `top_k` experts' products, gated.
    Combine {
        /// `[rows, top_k]`.
        ids: &'a Tensor<u32>,
        /// `[rows, top_k]`.
        gates: &'a Tensor<f32>,
        /// Experts a row goes to.
        top_k: u32,
    },
    /// Items by expert, `items` of a tile at a time.
    Grouped(Grouped<'a>),
}

impl MatvecRows<'_> {
    fn import(self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Gather { .. } => "gather",
            Self::Combine { .. } => "combine",
            Self::Grouped(g) => g.import(),
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
    /// Which products.
    pub rows: MatvecRows<'a>,
    /// What happens to a product.
    pub epilogue: Epilogue,
    /// How to add up.
    pub reduce: Reduce,
    /// What a product with quantised weights makes of `x`.
    pub activations: Activations,
    /// Items that share each weight read: 1, 2, 4 or 8; 1 with [`MatvecRows::Gather`] and
    /// [`MatvecRows::Combine`].
    pub items: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    first_row: u32,
    cols: u32,
    groups: u32,
    out_stride: u32,
    top_k: u32,
    logit_rows: u32,
    items_at: u32,
    planes: [u32; 3],
}

fn variant(
    weights: &'static str,
    rows: &'static str,
    epilogue: Epilogue,
    bias: bool,
    reduce: Reduce,
    activations: Activations,
    items: u32,
) -> Variant {
    let (input, nibbles) = match (product(weights, activations), activations) {
        (None, _) => ("f32", "f32"),
        (_, Activations::Int8) => ("int8", "int8"),
        _ if reduce == Reduce::SerialSubgroup => ("broadcast", "f32"),
        _ => ("f32", "f32"),
    };
    let v = Variant::new("matvec")
        .import("reduce", reduce.import())
        .import("rows", rows)
        .import("weights", weights)
        .import("input", input)
        .import("units", product(weights, Activations::Float).unwrap_or("float"))
        .import("nibbles", nibbles)
        .import("bias", if bias { "row" } else { "none" })
        .import("epilogue", epilogue.import())
        .int("WG", WG)
        .int("ITEMS", items);
    let v = match product(weights, activations) {
        Some(product) => v.import("product", product),
        None => v,
    };
    // The dense import also serves matmul, which works in tiles.
    match rows {
        "dense" => v.int("TILE_ITEMS", items),
        "grouped_in" | "grouped_out" => v.import("grouped", "list").int("TILE_ITEMS", TILE_ITEMS),
        _ => v,
    }
}

/// What answers `#import product` beside a weights import; plain floats have none.
fn product(weights: &'static str, activations: Activations) -> Option<&'static str> {
    match (weights, activations) {
        ("f32" | "f16" | "f16_native" | "bf16", _) => None,
        (quantised, Activations::Float) => Some(quantised),
        ("q4", _) => Some("q4_int8"),
        ("q4k", _) => Some("q4k_int8"),
        ("q5k", _) => Some("q5k_int8"),
        ("q6k", _) => Some("q6k_int8"),
        _ => Some("q8_int8"),
    }
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    let mut all = Vec::new();
    let weights = || Format::ALL.iter().flat_map(|f| f.imports(caps));
    let float = weights().map(|w| (w, Activations::Float));
    let int8 = Format::ALL.iter().filter(|f| f.is_quantised()).flat_map(|f| f.imports(caps));
    for (weights, act) in float.chain(int8.map(|w| (w, Activations::Int8))) {
        for reduce in Reduce::available(caps) {
            for epilogue in Epilogue::ALL {
                for items in [1, 2, 4, 8] {
                    all.push(variant(weights, "dense", epilogue, false, reduce, act, items));
                }
            }
            for (epilogue, items) in [(Epilogue::Store, 1), (Epilogue::Add, 8)] {
                all.push(variant(weights, "dense", epilogue, true, reduce, act, items));
            }
            all.push(variant(weights, "gather", Epilogue::Swiglu, false, reduce, act, 1));
            all.push(variant(weights, "combine", Epilogue::Add, false, reduce, act, 1));
            all.push(variant(weights, "grouped_in", Epilogue::Swiglu, false, reduce, act, 8));
            all.push(variant(weights, "grouped_out", Epilogue::Store, false, reduce, act, 8));
        }
    }
    all
}

impl Matvec<'_> {
    /// Appends one dispatch a part of the matrix.
    pub fn record(&self, r: &mut Recorder) {
        let (items, top_k, logit_rows) = match self.rows {
            MatvecRows::Dense { logit_rows: false } => {
                (Extent::Rows { times: 1, per: self.items }, 1, false)
            }
            MatvecRows::Dense { logit_rows: true } => {
                (Extent::LogitRows { per: self.items }, 1, true)
            }
            MatvecRows::Gather { top_k, .. } => {
                (Extent::Rows { times: top_k, per: 1 }, top_k, false)
            }
            MatvecRows::Combine { top_k, .. } => (Extent::Rows { times: 1, per: 1 }, top_k, false),
            MatvecRows::Grouped(g) => {
                let (experts, top_k) = (self.weight.experts as u32, g.top_k);
                let times = TILE_ITEMS / self.items;
                (Extent::ExpertTiles { experts, top_k, tile: TILE_ITEMS, times }, top_k, false)
            }
        };
        let share = match self.rows {
            MatvecRows::Dense { .. } => 1.0,
            _ => f64::from(top_k) / self.weight.experts as f64,
        };
        for part in &self.weight.parts {
            let reads = Reads { bytes: part.data.bytes(), share };
            let groups = (part.rows as u32).div_ceil(ROWS * self.reduce.rows(WG));
            let (gx, gy) = fold(groups);
            let mut bindings = part.bind();
            bindings.extend([self.x.bind("x"), self.out.bind("out")]);
            match self.rows {
                MatvecRows::Dense { .. } => {}
                MatvecRows::Gather { ids, .. } => bindings.push(ids.bind("ids")),
                MatvecRows::Combine { ids, gates, .. } => {
                    bindings.extend([ids.bind("ids"), gates.bind("gates")]);
                }
                MatvecRows::Grouped(g) => bindings.push(g.groups.bind("groups")),
            }
            bindings.extend(self.bias.map(|b| b.bind("bias")));
            r.push(Dispatch {
                variant: variant(
                    part.format.import(r.caps()),
                    self.rows.import(),
                    self.epilogue,
                    self.bias.is_some(),
                    self.reduce,
                    self.activations,
                    self.items,
                ),
                params: bytes_of(&Params {
                    rows: part.rows as u32,
                    first_row: part.first_row as u32,
                    cols: self.weight.cols as u32,
                    groups,
                    out_stride: self.epilogue.width(self.weight.rows) as u32,
                    top_k,
                    logit_rows: logit_rows.into(),
                    items_at: match self.rows {
                        MatvecRows::Grouped(g) => g.items_at,
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
