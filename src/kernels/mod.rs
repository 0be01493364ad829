//! Host side of the kernels: one file per kernel or family of kernels, with its arguments, `Params`,
//! variants and grid. ARCHITECTURE.md lists the steps to add one.

mod attention;
mod batch;
mod dispatch;
mod embed;
mod flash_attention;
mod flash_attention_coop;
mod in_proj_conv;
mod kv;
mod linear;
mod logprobs;
mod lora;
mod lora_shrink;
mod matmul;
mod matmul_coop;
mod matrix;
mod matvec;
mod moe;
mod options;
mod pack;
mod parts;
mod qk_norm_rope_append;
mod reduce;
mod rms_norm;
mod route;
mod sample;
mod short_conv;
mod splits;

use crate::gpu::{Caps, Variant};

pub use attention::{Attention, AttentionCombine, Heads};
pub use batch::{
    Batch, FROM_SLOT, LogitRow, LogprobsMode, MAX_LOGIT_BIAS, PRELUDE_CONSTANTS, Row, RowLogprobs,
    SampleParams, SeqLora, SeqRows,
};
pub(crate) use dispatch::{bytes_of, fold};
pub use embed::Embed;
pub use flash_attention::FlashAttention;
pub use in_proj_conv::InProjConv;
pub use kv::KvFormat;
pub use linear::{Choices, ExpertLinear, Linear, Multiply, REPRODUCIBLE_ROWS};
pub use logprobs::{LOGPROBS_WORDS, Logprobs, LogprobsBuffers, MAX_TOP_LOGPROBS};
pub use lora::{LoraMatrix, LoraShape};
pub use lora_shrink::{LoraShrink, OfExpert};
pub use matmul::{Grouped, Matmul, TILE_ITEMS};
pub use matmul_coop::MatmulCoop;
pub use matrix::{Format, Matrix, MatrixPart, Planes};
pub use matvec::{Matvec, MatvecItems, Norm};
pub use moe::{MoeCombine, MoeGroup, groups_len};
pub use options::{Activations, Epilogue};
pub(crate) use pack::values;
pub(crate) use parts::{
    BiasPart, BuffersPart, ChoicePart, CoopPart, InputPart, ItemsPart, KvPart, KvStorePart,
    LoraPart, NormPart, OfExpertPart, ProductPart, WeightsPart,
};
pub use qk_norm_rope_append::QkNormRopeAppend;
pub use reduce::Reduce;
pub use rms_norm::RmsNorm;
pub use route::{ExpertChoice, Route};
pub use sample::{NOT_FINITE, Sample, SampleBuffers, SampleShare};
pub use short_conv::ShortConv;
pub use splits::{ATTENTION_ROWS, LONGEST_SPLIT, PAGE, max_splits};

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
    KernelInfo { name: "flash_attention", variants: flash_attention::variants },
    KernelInfo { name: "flash_attention_coop", variants: flash_attention_coop::variants },
    KernelInfo { name: "in_proj_conv", variants: in_proj_conv::variants },
    KernelInfo { name: "logprobs", variants: logprobs::rows_variants },
    KernelInfo { name: "logprobs_spans", variants: logprobs::spans_variants },
    KernelInfo { name: "lora_shrink", variants: lora_shrink::variants },
    KernelInfo { name: "matmul", variants: matmul::variants },
    KernelInfo { name: "matmul_coop", variants: matmul_coop::variants },
    KernelInfo { name: "matvec", variants: matvec::variants },
    KernelInfo { name: "moe_combine", variants: moe::combine_variants },
    KernelInfo { name: "moe_group", variants: moe::group_variants },
    KernelInfo { name: "route", variants: route::variants },
    KernelInfo { name: "qk_norm_rope_append", variants: qk_norm_rope_append::variants },
    KernelInfo { name: "rms_norm", variants: rms_norm::variants },
    KernelInfo { name: "sample_draw", variants: sample::draw_variants },
    KernelInfo { name: "sample_histogram", variants: sample::histogram_variants },
    KernelInfo { name: "sample_prepare", variants: sample::prepare_variants },
    KernelInfo { name: "sample_select", variants: sample::select_variants },
    KernelInfo { name: "short_conv", variants: short_conv::variants },
];
