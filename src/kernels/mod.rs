//! Host side of the kernels. Each has a file with the stem of its shader: its arguments, `Params`,
//! variants and grid.
//!
//! To add a kernel: `shaders/k.wgsl` with its header, `src/kernels/k.rs`, a line in [`KERNELS`],
//! its twin `src/reference/k.rs`, a property test in `tests/it/kernels/`, a case in
//! `benches/kernels/`.

mod attention;
mod batch;
mod embed;
mod kv;
mod linear;
mod matmul;
mod matmul_coop;
mod matrix;
mod matvec;
mod moe;
mod norm_route;
mod pack;
mod parts;
mod qk_norm_rope_append;
mod rms_norm;
mod sample;
mod short_conv;

use crate::gpu::{Caps, Variant};

pub use attention::{Attention, FlashAttention, Heads, flash_tile_rows};
pub use batch::{
    Batch, FROM_SLOT, MAX_LOGIT_BIAS, PAGE, PRELUDE_CONSTANTS, Row, SPLIT, SampleParams, SeqRows,
};
pub use embed::Embed;
pub use kv::KvFormat;
pub use linear::{Activations, Choices, Epilogue, ExpertLinear, Linear, Multiply};
pub use matmul::{Grouped, Matmul, TILE_ITEMS};
pub use matmul_coop::MatmulCoop;
pub use matrix::{Format, Matrix, MatrixPart, Planes};
pub use matvec::{Matvec, MatvecRows};
pub use moe::{MoeCombine, MoeGroup, groups_len};
pub use norm_route::NormRoute;
pub(crate) use pack::values;
pub(crate) use parts::{
    BiasPart, CoopPart, InputPart, KvPart, KvStorePart, ProductPart, RowsPart, WeightsPart,
};
pub use qk_norm_rope_append::QkNormRopeAppend;
pub use rms_norm::RmsNorm;
pub use sample::{NOT_FINITE, SampleDraw, SamplePrepare, SampleThreshold};
pub use short_conv::ShortConv;

/// Summation within a workgroup: the import `reduce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduce {
    /// A tree in workgroup memory.
    Tree,
    /// Subgroup operations.
    Subgroup,
    /// Each lane owns a row, so no barrier is needed: fastest on CPU drivers.
    Serial,
    /// As `Serial`; lanes of a subgroup also pass each other the inputs that all of them need.
    SerialSubgroup,
}

impl Reduce {
    /// Rows of a workgroup of `lanes` lanes.
    pub(crate) fn rows(self, lanes: u32) -> u32 {
        if self.is_serial() { lanes } else { 1 }
    }

    /// Whether each lane owns a row.
    #[must_use]
    pub fn is_serial(self) -> bool {
        matches!(self, Self::Serial | Self::SerialSubgroup)
    }

    /// Whether eight lanes of a subgroup can pass each other a block of 32 inputs.
    fn can_broadcast(caps: &Caps) -> bool {
        caps.subgroups && caps.min_subgroup >= 8
    }

    /// The best choice of a device in which each lane owns rows.
    #[must_use]
    pub fn serial(caps: &Caps) -> Self {
        if Self::can_broadcast(caps) { Self::SerialSubgroup } else { Self::Serial }
    }

    /// The choices of a device.
    #[must_use]
    pub fn available(caps: &Caps) -> Vec<Self> {
        let mut all = vec![Self::Tree, Self::Serial];
        if caps.subgroups {
            all.push(Self::Subgroup);
        }
        if Self::can_broadcast(caps) {
            all.push(Self::SerialSubgroup);
        }
        all
    }

    /// The best choice of a device in which the lanes of a workgroup share a row.
    #[must_use]
    pub fn shared_rows(caps: &Caps) -> Self {
        if caps.subgroups { Self::Subgroup } else { Self::Tree }
    }
}

/// A kernel: its name and every variant that a device may run.
#[derive(Clone, Copy)]
pub struct KernelInfo {
    /// Stem of its shader.
    pub name: &'static str,
    /// Every variant that may be used on a device with these capabilities.
    pub variants: fn(&Caps) -> Vec<Variant>,
}

/// Every kernel. Tests and `lfm2 info --kernel` iterate over this table.
pub const KERNELS: &[KernelInfo] = &[
    KernelInfo { name: "attention", variants: attention::attention_variants },
    KernelInfo { name: "attention_combine", variants: attention::combine_variants },
    KernelInfo { name: "embed", variants: embed::variants },
    KernelInfo { name: "flash_attention", variants: attention::flash_variants },
    KernelInfo { name: "matmul", variants: matmul::variants },
    KernelInfo { name: "matmul_coop", variants: matmul_coop::variants },
    KernelInfo { name: "matvec", variants: matvec::variants },
    KernelInfo { name: "moe_combine", variants: moe::combine_variants },
    KernelInfo { name: "moe_group", variants: moe::group_variants },
    KernelInfo { name: "norm_route", variants: norm_route::variants },
    KernelInfo { name: "qk_norm_rope_append", variants: qk_norm_rope_append::variants },
    KernelInfo { name: "rms_norm", variants: rms_norm::variants },
    KernelInfo { name: "sample_draw", variants: sample::draw_variants },
    KernelInfo { name: "sample_prepare", variants: sample::prepare_variants },
    KernelInfo { name: "sample_threshold", variants: sample::threshold_variants },
    KernelInfo { name: "short_conv", variants: short_conv::variants },
];

/// Workgroups in x and y for `n` workgroups in all, each dimension at most 65,535.
pub(crate) fn fold(n: u32) -> (u32, u32) {
    const MOST: u32 = 65_535;
    if n <= MOST {
        return (n, 1);
    }
    let y = n.div_ceil(MOST);
    (n.div_ceil(y), y)
}

pub(crate) fn bytes_of<T: bytemuck::Pod>(params: &T) -> Vec<u8> {
    bytemuck::bytes_of(params).to_vec()
}
