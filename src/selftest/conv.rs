//! Cases of `short_conv`.

use super::compare::{Comparison, EPSILON, TINY};
use super::data::{Output, Pass, run};
use super::{Fill, KernelCheck, Rng, Span};
use crate::gpu::{Device, GpuError};
use crate::kernels::ShortConv;
use crate::reference::{self, ConvShape};

/// A case of `short_conv`: passes that run one after the other on the same rings.
#[derive(Clone, Debug)]
pub struct ConvCase {
    /// The sequences of each pass. A sequence may begin at any position; the ring then has the
    /// values of the pass before, or random ones.
    pub passes: Vec<Vec<Span>>,
    /// Slots.
    pub slots: usize,
    /// Channels.
    pub hidden_size: usize,
    /// Taps.
    pub l_cache: usize,
    /// Columns of a ring, at least `l_cache`.
    pub ring_columns: usize,
    /// With a bias.
    pub bias: bool,
    /// Fill of B, C and x.
    pub fill: Fill,
    /// Seed of the values.
    pub seed: u64,
}

/// Runs `short_conv` on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_conv(device: &Device, case: &ConvCase) -> Result<KernelCheck, GpuError> {
    let mut rng = Rng::new(case.seed);
    let (width, taps_n, columns) = (case.hidden_size, case.l_cache, case.ring_columns);
    let shape = ConvShape { hidden_size: width, l_cache: taps_n, ring_columns: columns };
    let taps = Fill::Normal.values(&mut rng, width * taps_n);
    let bias = case.bias.then(|| Fill::Normal.values(&mut rng, width));
    // A reused slot holds another sequence's values.
    let mut ring = case.fill.values(&mut rng, case.slots * (columns + 2) * width);
    let absolute = |v: &[f32]| v.iter().map(|v| v.abs()).collect::<Vec<_>>();

    let taps_on_gpu = device.tensor_of("taps", &taps).await?;
    let bias_on_gpu = match &bias {
        Some(bias) => Some(device.tensor_of("bias", bias).await?),
        None => None,
    };
    let ring_on_gpu = Output::with(device, &ring).await?;
    let mut c = Comparison::new();
    let mut variant = String::new();
    for (n, spans) in case.passes.iter().enumerate() {
        let mut pass = Pass::new(spans, &mut rng);
        pass.keep_columns(case.slots * columns);
        let bcx = case.fill.values(&mut rng, pass.rows() * 3 * width);
        let magnitudes = reference::short_conv(
            shape,
            &pass.sequences,
            &absolute(&bcx),
            &absolute(&taps),
            bias.as_deref().map(absolute).as_deref(),
            &mut absolute(&ring),
        );
        let want =
            reference::short_conv(shape, &pass.sequences, &bcx, &taps, bias.as_deref(), &mut ring);
        let bcx_on_gpu = device.tensor_of("bcx", &bcx).await?;
        let y = Output::empty(device, want.len()).await?;
        variant = run(device, *device.caps(), &pass.batch, 1, |r| {
            ShortConv {
                bcx: &bcx_on_gpu,
                taps: &taps_on_gpu,
                bias: bias_on_gpu.as_ref(),
                ring: &ring_on_gpu.tensor,
                y: &y.tensor,
                hidden_size: width as u32,
                l_cache: taps_n as u32,
                ring_columns: columns as u32,
            }
            .record(r);
        })
        .await?;
        let got = y.read(device, &mut c).await?;
        let largest = bcx.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        let flushed = f64::from(largest) * (taps_n + 3) as f64 * 4.0 * TINY;
        c.floats(&format!("y of pass {n}"), &got, &want, |i| {
            f64::from(magnitudes[i]) * (taps_n + 4) as f64 * EPSILON + flushed
        });
        if case.fill == Fill::Normal {
            c.nmse("y", &got, &want, 1e-7);
        }
        let got = ring_on_gpu.read(device, &mut c).await?;
        // A product rounds once, so the rings are equal except for values that are flushed to zero.
        c.floats(&format!("ring after pass {n}"), &got, &ring, |_| TINY);
    }
    Ok(c.finish("short_conv", variant, case.to_string()))
}
