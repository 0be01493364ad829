//! Cases of `in_proj_conv`.

use super::compare::{Comparison, EPSILON, TINY};
use super::data::{Output, Pass, WeightsImport, run};
use super::linear::{EPS, LinearCase, LinearKernel, Rows};
use super::lora::Shrink;
use super::routing::Routing;
use super::{Fill, KernelCheck, Rng, Span};
use crate::gpu::{Device, GpuError};
use crate::kernels::{Activations, Epilogue, InProjConv, Norm, Reduce};
use crate::reference::{self, ConvShape};

/// A case of `in_proj_conv`.
#[derive(Clone, Debug)]
pub struct InProjConvCase {
    /// Slot and position of each sequence, which has one row.
    pub rows: Vec<(u32, u32)>,
    /// Channels, a multiple of 4.
    pub hidden_size: usize,
    /// Columns, a multiple of 4.
    pub cols: usize,
    /// Taps.
    pub l_cache: usize,
    /// Rank of the rows' LoRA adapters, a multiple of 4; 0: none.
    pub lora: usize,
    /// Columns of a ring, at least `l_cache`.
    pub ring_columns: usize,
    /// Fill of the residual stream.
    pub fill: Fill,
    /// Seed of the values.
    pub seed: u64,
}

impl InProjConvCase {
    /// The product in it.
    fn product(&self) -> LinearCase {
        LinearCase {
            mode: Rows::Dense,
            items: self.rows.len(),
            rows: 3 * self.hidden_size,
            cols: self.cols,
            experts: 1,
            top_k: 1,
            routing: Routing::Random,
            fill: self.fill,
            epilogue: Epilogue::Store,
            bias: false,
            norm: true,
            lora: self.lora,
            part_rows: 0,
            seed: self.seed,
        }
    }
}

/// Runs `in_proj_conv` on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_in_proj_conv(
    device: &Device,
    case: &InProjConvCase,
    weights: WeightsImport,
    (reduce, activations): (Reduce, Activations),
) -> Result<KernelCheck, GpuError> {
    let product = case.product().in_blocks(weights.format);
    let kernel = LinearKernel::Matvec { reduce, activations, items: 1 };
    let (stored, inputs) = product.inputs(weights.format, kernel);
    let rounded = kernel.rounding(weights.format);
    let (bcx, errors) = product.expected(&inputs, weights.format, rounded);

    let mut rng = Rng::new(case.seed ^ 1);
    let (width, l_cache, columns) = (case.hidden_size, case.l_cache, case.ring_columns);
    let shape = ConvShape { hidden_size: width, l_cache, ring_columns: columns };
    let slots = case.rows.iter().map(|(slot, _)| *slot as usize + 1).max().unwrap_or(1);
    let taps = Fill::Normal.values(&mut rng, width * l_cache);
    let before = Fill::Normal.values(&mut rng, (slots * columns + case.rows.len()) * width);
    let spans: Vec<Span> =
        case.rows.iter().map(|&(slot, position)| Span { slot, position, rows: 1 }).collect();
    let mut pass = Pass::new(&spans, &mut rng);
    pass.keep_columns(slots * columns);
    let mut ring = before.clone();
    let want = reference::short_conv(shape, &pass.sequences, &bcx, &taps, None, &mut ring);

    let mut weight =
        stored.matrix(device, (1, product.rows, product.cols), device.caps().max_part()).await?;
    if let Some(lora) = &inputs.lora {
        weight.lora = Some(lora.matrix(device).await?);
        lora.assign(&mut pass.batch);
    }
    let x = device.tensor_of("x", &inputs.raw).await?;
    let scale = device.tensor_of("norm_scale", &inputs.scale).await?;
    let taps_on_gpu = device.tensor_of("taps", &taps).await?;
    let ring_on_gpu = Output::with(device, &before).await?;
    let y = Output::empty(device, want.len()).await?;
    let norm = Norm { scale: &scale, eps: EPS };
    let variant = run(device, weights.caps(device), &pass.batch, 1, |r| {
        Shrink {
            lora: weight.lora.as_ref(),
            x: &x,
            norm: Some(norm),
            choice: None,
            ids: None,
            top_k: 1,
            own_rows: false,
        }
        .record(r, kernel.reduce());
        InProjConv {
            in_proj: &weight,
            x: &x,
            norm,
            taps: &taps_on_gpu,
            ring: &ring_on_gpu.tensor,
            y: &y.tensor,
            l_cache: l_cache as u32,
            ring_columns: columns as u32,
            reduce,
            activations,
        }
        .record(r);
    })
    .await?;

    // Bounds of Bx in the rings, and of y: the errors of B, C and x go through the formula.
    let mut ring_bounds = vec![0.0; ring.len()];
    let mut bounds = Vec::new();
    for (row, &(slot, position)) in case.rows.iter().enumerate() {
        for channel in 0..width {
            let of = |part: usize| {
                let i = (3 * row + part) * width + channel;
                (f64::from(bcx[i].abs()), errors[i])
            };
            let [(b, b_error), (c, c_error), (x, x_error)] = [of(0), of(1), of(2)];
            let gated_error = (b + b_error) * x_error + x * b_error + b * x * EPSILON + TINY;
            let at =
                |position: usize| (slot as usize * columns + position % columns) * width + channel;
            ring_bounds[at(position as usize)] = gated_error;
            // The row's own column: there is one a sequence.
            ring_bounds[(slots * columns + row) * width + channel] = gated_error;
            let terms = (0..l_cache)
                .filter_map(|j| Some((j, (position as usize + 1 + j).checked_sub(l_cache)?)))
                .map(|(j, p)| f64::from((taps[channel * l_cache + j] * ring[at(p)]).abs()));
            let sum: f64 = terms.sum();
            let tap = f64::from(taps[channel * l_cache + l_cache - 1].abs());
            let sum_error = tap * gated_error + sum * (l_cache + 4) as f64 * EPSILON + TINY;
            bounds.push((c + c_error) * sum_error + c_error * sum + c * sum * EPSILON + TINY);
        }
    }
    let mut c = Comparison::new();
    let got = y.read(device, &mut c).await?;
    c.floats("y", &got, &want, |i| bounds[i]);
    let got = ring_on_gpu.read(device, &mut c).await?;
    c.floats("ring", &got, &ring, |i| ring_bounds[i]);
    let name = weights.format.name();
    let words = format!("{name} weights, {width} channels of {}, {l_cache} taps", product.cols);
    Ok(c.finish("in_proj_conv", variant, words))
}
