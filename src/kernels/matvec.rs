//! Host side of `shaders/matvec.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::lora::LoraParams;
use super::route::ChoiceConstants;
use super::{
    Activations, BiasPart, ChoicePart, Epilogue, ExpertChoice, Format, Grouped, InputPart,
    ItemsPart, LoraPart, Matrix, NormPart, ProductPart, Reduce, WeightsPart, bytes_of, fold,
};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

/// Lanes that share four rows (tree, subgroup) or own four rows each (serial).
const WG: u32 = 64;
/// Lanes that share four rows of a small matrix.
const WIDE_WG: u32 = 256;
/// Groups of four rows below which [`WIDE_WG`] lanes share one, if they have enough columns. An H100 has 132
/// multiprocessors; a router of 32 experts has eight groups.
const FEW_GROUPS: u32 = 132;
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
    Gather(ExpertChoice<'a>),
    /// An item is the sum of the products with its row's `top_k` experts, weighted by their gates.
    Combine(ExpertChoice<'a>),
    /// Items grouped by expert, in tiles of [`Matvec::items_per_group`].
    Grouped(Grouped<'a>),
}

impl<'a> MatvecItems<'a> {
    fn part(self) -> ItemsPart {
        match self {
            Self::Dense { .. } => ItemsPart::Dense,
            Self::Gather(_) => ItemsPart::Gather,
            Self::Combine(_) => ItemsPart::Combine,
            Self::Grouped(g) => g.part(),
        }
    }

    fn choice(self) -> Option<ExpertChoice<'a>> {
        match self {
            Self::Gather(choice) | Self::Combine(choice) => Some(choice),
            Self::Dense { .. } | Self::Grouped(_) => None,
        }
    }
}

/// RMSNorm of a product's inputs.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// `[cols]`: the norm's weight.
    pub scale: &'a Tensor<f32>,
    /// Added to the mean square.
    pub eps: f32,
}

/// The product of a matrix with few items.
pub struct Matvec<'a> {
    /// `[experts, rows, cols]`.
    pub weight: &'a Matrix,
    /// `[rows]`.
    pub bias: Option<&'a Tensor<f32>>,
    /// `[inputs, cols]`.
    pub x: &'a Tensor<f32>,
    /// RMSNorm of `x` before the product. `x` is then the residual stream, and an item that is a logit row
    /// reads that row.
    pub norm: Option<Norm<'a>>,
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
    /// Items of a workgroup, which share each load of a weight: a power of two up to 8; 1 with
    /// [`MatvecItems::Gather`] and [`MatvecItems::Combine`].
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
    eps: f32,
    routed_scaling: f32,
    lora: LoraParams,
}

/// Chooses the parts by which the lanes of a kernel multiply weights with inputs. With f32 inputs, lanes that share rows
/// take quantised weights in slices of a block: `product=q4_slices` for Q4, which needs no import `input`.
pub(super) fn product_of(
    kernel: Variant,
    weights: WeightsPart,
    activations: Activations,
    reduce: Reduce,
) -> Variant {
    let product = ProductPart::new(weights, activations, reduce);
    let kernel = kernel.import(product.weights()).import(product);
    if !weights.is_quantised() || product.slices {
        return kernel;
    }
    kernel.import(match activations {
        Activations::Int8 => InputPart::Int8,
        Activations::Float if reduce == Reduce::SerialSubgroup => InputPart::Broadcast,
        Activations::Float => InputPart::F32,
    })
}

/// Parts and sizes of a variant.
#[derive(Clone, Copy)]
struct Parts {
    weights: WeightsPart,
    items: ItemsPart,
    /// The kernel's own choice of experts (gather, combine).
    choice: Option<ChoiceConstants>,
    norm: bool,
    bias: bool,
    lora: bool,
    epilogue: Epilogue,
    reduce: Reduce,
    activations: Activations,
    items_per_group: u32,
    /// Whether [`WIDE_WG`] lanes share four rows.
    wide: bool,
    /// Most lanes of a subgroup.
    max_subgroup: u32,
}

impl Parts {
    /// Jobs that are done side by side: the experts that are added up, if lanes share rows and a subgroup has
    /// lanes of one job only.
    fn jobs(&self) -> u32 {
        let side_by_side = self.max_subgroup <= WG && !self.reduce.is_serial();
        match (self.items, self.choice) {
            // A tree needs a power of two.
            (ItemsPart::Combine, Some(ChoiceConstants { top_k, .. })) if side_by_side => {
                top_k.next_power_of_two().min(4)
            }
            _ => 1,
        }
    }

    /// Lanes of a workgroup.
    fn lanes(&self) -> u32 {
        if self.wide && !self.reduce.is_serial() && self.jobs() == 1 {
            return WIDE_WG;
        }
        WG * self.jobs()
    }

    fn variant(&self) -> Variant {
        let mut v = Variant::new("matvec")
            .import(self.reduce)
            .import(self.items)
            .import(NormPart::new(self.norm));
        v = product_of(v, self.weights, self.activations, self.reduce);
        v = v
            .import(BiasPart::new(self.bias))
            .import(LoraPart::new(self.lora))
            .import(self.epilogue)
            .int("WG", self.lanes())
            .int("ITEMS", self.items_per_group)
            .int("JOBS", self.jobs());
        if let Some(choice) = self.choice {
            v = choice.import(v, ChoicePart::new(self.reduce));
        }
        // Dense items have no tiles, but their functions for matmul name the constant too.
        match self.items {
            ItemsPart::Gather | ItemsPart::Combine => v,
            _ => v.int("TILE_ITEMS", self.items_per_group),
        }
    }
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    let mut all = Vec::new();
    let parts = |f: &Format| f.parts(caps).into_iter().map(|part| (*f, part)).collect::<Vec<_>>();
    let float = Format::ALL.iter().flat_map(parts).map(|w| (w, Activations::Float));
    let quantised = Format::ALL.iter().filter(|f| f.is_quantised());
    let int8 = quantised.flat_map(parts).map(|w| (w, Activations::Int8));
    for ((format, weights), activations) in float.chain(int8) {
        for reduce in Reduce::available(caps) {
            let dense = Parts {
                weights,
                items: ItemsPart::Dense,
                choice: None,
                norm: false,
                bias: false,
                lora: false,
                epilogue: Epilogue::Store,
                reduce,
                activations,
                items_per_group: 1,
                wide: false,
                max_subgroup: caps.max_subgroup,
            };
            let (store, add, swiglu) = (Epilogue::Store, Epilogue::Add, Epilogue::Swiglu);
            let most = Matvec::most_items(reduce, activations, caps);
            for items_per_group in [1, 2, 4, 8].into_iter().filter(|items| *items <= most) {
                // Where lanes share rows, gate and up rows always come with the norm.
                let without_norm = Epilogue::ALL.into_iter();
                for epilogue in without_norm.filter(|e| reduce.is_serial() || *e != swiglu) {
                    all.push(Parts { epilogue, items_per_group, ..dense });
                }
                for epilogue in [store, swiglu] {
                    all.push(Parts { norm: true, epilogue, items_per_group, ..dense });
                }
            }
            let tile = Matvec::tile_items(reduce);
            // Routers; a small matrix of another format differs from a large one by WG only.
            if weights == WeightsPart::F32 {
                for items_per_group in [1, tile] {
                    all.push(Parts { norm: true, wide: true, items_per_group, ..dense });
                }
                all.push(Parts { wide: true, items_per_group: tile, ..dense });
            }
            all.push(Parts { bias: true, norm: true, ..dense });
            for (epilogue, items_per_group) in [(store, 1), (add, most)] {
                all.push(Parts { bias: true, epilogue, items_per_group, ..dense });
            }
            let choice = Some(ChoiceConstants::LFM2_8B_A1B);
            let gather = Parts { items: ItemsPart::Gather, choice, epilogue: swiglu, ..dense };
            let combine = Parts { items: ItemsPart::Combine, choice, epilogue: add, ..dense };
            all.extend([Parts { norm: true, ..gather }, gather, combine]);
            let (inwards, outwards) = (ItemsPart::GroupedIn, ItemsPart::GroupedOut);
            for (items, epilogue, norm) in
                [(inwards, swiglu, false), (inwards, swiglu, true), (outwards, store, false)]
            {
                all.push(Parts { items, epilogue, norm, items_per_group: tile, ..dense });
            }
            // With adapters, each kind of items: the addition is the same with every epilogue and input.
            if activations == Activations::Float && reduce != Reduce::SerialSubgroup {
                let dense = Parts { lora: true, ..dense };
                all.push(Parts { norm: true, ..dense });
                all.push(Parts { epilogue: add, items_per_group: most, ..dense });
                if Matvec::binds_gather(format, true, caps) {
                    all.push(Parts { lora: true, norm: true, ..gather });
                }
                all.push(Parts { lora: true, ..combine });
                let swiglu = Parts { epilogue: swiglu, ..dense };
                all.push(Parts { items: inwards, items_per_group: tile, ..swiglu });
            }
        }
    }
    all.iter().map(Parts::variant).collect()
}

impl Matvec<'_> {
    /// Items of a tile of experts. At eight, a lane takes up to 168 registers on gfx1150, so that six waves fit a SIMD;
    /// at four, 128 and eight. Most tiles of a decoding batch have fewer items. Lanes of a CPU driver have memory for
    /// registers.
    #[must_use]
    pub fn tile_items(reduce: Reduce) -> u32 {
        if reduce.is_serial() { 8 } else { 4 }
    }

    /// Most items of a workgroup if all items have the same matrix. Eight items read weights half as often as two tiles of
    /// four. Mesa's compilers for AMD and NVIDIA have registers for them. Intel's, whose subgroups have fewer than 32
    /// lanes, spills 55 to 124 of them, which takes as long as it saves by its estimate of cycles (Lunar Lake). With int8
    /// activations, inputs take more registers.
    #[must_use]
    pub fn most_items(reduce: Reduce, activations: Activations, caps: &Caps) -> u32 {
        match (reduce, activations) {
            (Reduce::Subgroup, Activations::Float) if caps.min_subgroup >= 32 => 8,
            _ => Self::tile_items(reduce),
        }
    }

    /// Whether [`MatvecItems::Gather`] can take a matrix: the device must have enough storage bindings, of which
    /// WebGPU grants eight.
    #[must_use]
    pub fn gathers(weight: &Matrix, caps: &Caps) -> bool {
        weight.parts.iter().all(|part| Self::binds_gather(part.format, weight.lora.is_some(), caps))
    }

    /// Whether the device has storage bindings for the batch table, inputs, norm, the router's logits, biases of
    /// experts, output, weights, and adapters.
    #[must_use]
    pub fn binds_gather(format: Format, lora: bool, caps: &Caps) -> bool {
        6 + format.bindings() + usize::from(lora) <= caps.max_storage_buffers as usize
    }

    /// Appends one dispatch for each part of the matrix: a range of rows in one format, small enough for a storage
    /// binding.
    pub fn record(&self, r: &mut Recorder) {
        let (items, top_k, only_logit_rows) = match self.items {
            MatvecItems::Dense { only_logit_rows: false } => {
                (Extent::Rows { times: 1, per: self.items_per_group }, 1, false)
            }
            MatvecItems::Dense { only_logit_rows: true } => {
                (Extent::LogitRows { per: self.items_per_group }, 1, true)
            }
            MatvecItems::Gather(ExpertChoice { top_k, .. }) => {
                (Extent::Rows { times: top_k, per: 1 }, top_k, false)
            }
            MatvecItems::Combine(ExpertChoice { top_k, .. }) => {
                (Extent::Rows { times: 1, per: 1 }, top_k, false)
            }
            MatvecItems::Grouped(g) => {
                let (experts, top_k) = (self.weight.experts as u32, g.top_k);
                let tile = self.items_per_group;
                (Extent::ExpertTiles { experts, top_k, tile }, top_k, false)
            }
        };
        let share = match self.items {
            MatvecItems::Dense { .. } => 1.0,
            _ => f64::from(top_k) / self.weight.experts as f64,
        };
        let choice = self.items.choice();
        for part in &self.weight.parts {
            let reads = Reads { bytes: part.data.bytes(), share };
            let row_groups = (part.rows as u32).div_ceil(ROWS);
            let parts = Parts {
                weights: part.format.weights_part(r.caps()),
                items: self.items.part(),
                choice: choice.map(|c| c.constants()),
                norm: self.norm.is_some(),
                bias: self.bias.is_some(),
                lora: self.weight.lora.is_some(),
                epilogue: self.epilogue,
                reduce: self.reduce,
                activations: self.activations,
                items_per_group: self.items_per_group,
                wide: matches!(self.items, MatvecItems::Dense { .. })
                    && self.weight.rows < (FEW_GROUPS * ROWS) as usize
                    && self.weight.cols >= (4 * WIDE_WG) as usize,
                max_subgroup: r.caps().max_subgroup,
            };
            let row_groups = row_groups.div_ceil(self.reduce.rows(parts.lanes()));
            let (gy, gz) = fold(row_groups);
            let mut bindings = part.bind();
            bindings.extend([self.x.bind("x"), self.out.bind("out")]);
            if let Some(choice) = choice {
                bindings
                    .extend([choice.logits.bind("logits"), choice.expert_bias.bind("expert_bias")]);
            }
            if let MatvecItems::Grouped(g) = self.items {
                bindings.push(g.groups.bind("groups"));
            }
            bindings.extend(self.norm.map(|n| n.scale.bind("norm_scale")));
            bindings.extend(self.bias.map(|b| b.bind("bias")));
            bindings.extend(self.weight.lora.as_ref().map(|lora| lora.data.bind("lora")));
            r.push(Dispatch {
                variant: parts.variant(),
                params: bytes_of(&Params {
                    rows: part.rows as u32,
                    first_row: part.first_row as u32,
                    cols: self.weight.cols as u32,
                    row_groups,
                    out_stride: self.epilogue.width(self.weight.rows) as u32,
                    top_k,
                    only_logit_rows: match (only_logit_rows, self.norm) {
                        (false, _) => 0,
                        (true, None) => 1,
                        // The residual stream has all rows.
                        (true, Some(_)) => 2,
                    },
                    items_at: match self.items {
                        MatvecItems::Grouped(g) => g.items_at,
                        _ => 0,
                    },
                    planes: part.planes.at,
                    eps: self.norm.map_or(0.0, |n| n.eps),
                    routed_scaling: choice.map_or(1.0, |c| c.routed_scaling_factor),
                    lora: LoraParams::of(self.weight.lora.as_ref()),
                }),
                bindings,
                grid: [items, Extent::Const(gy), Extent::Const(gz)],
                macs_per_row: (part.rows * self.weight.cols) as u64 * u64::from(top_k),
                reads,
            });
        }
    }
}
