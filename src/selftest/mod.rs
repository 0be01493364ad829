//! Every kernel against its CPU twin, on the device at hand: what `lfm2 selftest` runs, and what
//! the property tests run on many more shapes.
//!
//! Each kernel has a case struct (its shape, how its inputs are filled, a seed) and a function
//! that runs one variant of it on the GPU, the twin on the CPU, and compares element by element
//! within a bound that follows from the arithmetic.

mod attention;
mod cases;
mod compare;
mod conv;
mod data;
mod embed;
mod heads;
mod linear;
mod moe;
mod norm;
mod sample;
mod stored;
mod words;

pub use attention::{AttentionCase, AttentionKernel, check_attention};
pub use conv::{ConvCase, check_conv};
pub use data::{Fill, Rng, Span, WeightsImport};
pub use embed::{EmbedCase, check_embed};
pub use heads::{HeadsCase, check_heads};
pub use linear::{LinearCase, LinearKernel, Routing, Rows, check_linear, products};
pub use moe::{GroupCase, check_combine, check_group};
pub use norm::{Bias, NormCase, RouteCase, check_norm, check_route};
pub use sample::{Broken, SampleCase, check_draw, check_penalties, check_threshold, draws};

use crate::gpu::{Context, GpuError};

/// How much to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoroughness {
    /// One small case a kernel, in the variants that the engine chooses on this device.
    Quick,
    /// Every variant that the device can run, on a handful of shapes each.
    Full,
}

/// One variant of one kernel on one case.
#[derive(Clone, Debug)]
pub struct KernelCheck {
    /// Stem of the shader.
    pub kernel: &'static str,
    /// Which variants ran, as [`crate::gpu::Variant`] prints them, joined by ` + `.
    pub variant: String,
    /// The case in words: weights, sizes, what is special of it.
    pub case: String,
    /// Error of the element that comes closest to its tolerance, or exceeds it most.
    pub max_error: f64,
    /// That element's tolerance.
    pub tolerance: f64,
    /// Every element is within its tolerance, and so is the normalised mean square error.
    pub passed: bool,
    /// The first thing that is wrong, in words; empty if passed.
    pub failure: String,
}

/// Runs the kernels against their twins on `context`. `told` is told how many checks are done and how
/// many there are.
///
/// A kernel that computes wrongly is no error: see [`KernelCheck::passed`].
///
/// # Errors
/// The device refuses a kernel, is lost or out of memory.
pub async fn check_kernels(
    context: &Context,
    thoroughness: Thoroughness,
    told: &mut dyn FnMut(usize, usize),
) -> Result<Vec<KernelCheck>, GpuError> {
    match thoroughness {
        Thoroughness::Quick => cases::quick(context, told).await,
        Thoroughness::Full => {
            let (mut all, parts) = (Vec::new(), parts(context));
            for (i, part) in parts.iter().enumerate() {
                told(i, parts.len());
                all.extend(check_part(context, *part).await?);
            }
            Ok(all)
        }
    }
}

/// A part of [`Thoroughness::Full`]. No pipeline is in two parts, so that processes can share them.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// The kernels that read a model's matrices, with these weights.
    WithWeights(WeightsImport),
    /// All others.
    WithoutWeights,
}

/// All parts on this device.
pub fn parts(context: &Context) -> Vec<Part> {
    let weights = WeightsImport::available(context.caps()).into_iter().map(Part::WithWeights);
    weights.chain([Part::WithoutWeights]).collect()
}

/// Runs a part.
///
/// # Errors
/// As [`check_kernels`].
pub async fn check_part(context: &Context, part: Part) -> Result<Vec<KernelCheck>, GpuError> {
    match part {
        Part::WithWeights(weights) => cases::with_weights(context, weights).await,
        Part::WithoutWeights => cases::without_weights(context).await,
    }
}
