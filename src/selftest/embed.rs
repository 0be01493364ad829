//! Cases of `embed`.

use super::compare::Comparison;
use super::data::{Output, Pass, UNTOUCHED_ID, WeightsImport, run};
use super::stored::Stored;
use super::{Fill, KernelCheck, Rng, Span};
use crate::gpu::{Device, GpuError};
use crate::kernels::{Embed, FROM_SLOT, Format};
use crate::reference;

/// A case of `embed`.
#[derive(Clone, Debug)]
pub struct EmbedCase {
    /// Sequences.
    pub spans: Vec<Span>,
    /// Tokens.
    pub vocab: usize,
    /// Columns, a multiple of 4.
    pub hidden_size: usize,
    /// Split the embedding into parts of about this many rows; 0: as the device demands.
    pub part_rows: usize,
    /// Fill of the embedding.
    pub fill: Fill,
    /// Seed of the values.
    pub seed: u64,
}

/// Runs `embed` on a case and compares exactly.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_embed(
    device: &Device,
    case: &EmbedCase,
    weights: WeightsImport,
) -> Result<KernelCheck, GpuError> {
    let mut rng = Rng::new(case.seed);
    let (vocab, width, format) = (case.vocab, case.hidden_size, weights.format);
    let width = width.next_multiple_of(format.block().0);
    let embedding = Stored::new(format, case.fill, &mut rng, vocab * width);
    let slots = case.spans.iter().map(|s| s.slot as usize + 1).max().unwrap_or(1);
    let length = case.spans.iter().map(|s| s.position + s.rows).max().unwrap_or(1) as usize + 1;
    let next_token: Vec<u32> = (0..slots).map(|_| rng.below(vocab) as u32).collect();
    let mut pass = Pass::new(&case.spans, &mut rng);
    let mut tokens = Vec::new();
    for row in pass.batch.seqs.iter_mut().flat_map(|s| &mut s.rows) {
        row.token = match rng.below(3) {
            0 => FROM_SLOT,
            // Rows at the borders of parts are the most likely to fail.
            1 => rng.below(vocab) as u32,
            _ => [0, vocab - 1][rng.below(2)] as u32,
        };
        tokens.push((row.token != FROM_SLOT).then_some(row.token));
    }
    let mut want_history = vec![UNTOUCHED_ID; slots * length];
    let want = reference::embed(
        &pass.sequences,
        &tokens,
        &next_token,
        (&embedding.values, width),
        (&mut want_history, length),
    );

    let most = match case.part_rows {
        0 => u64::MAX,
        rows => (rows * format.row_bytes(width)) as u64,
    };
    let matrix = embedding.matrix(device, (1, vocab, width), most).await?;
    let next_token = device.tensor_of("next_token", &next_token).await?;
    let history = device.tensor_of("history", &vec![UNTOUCHED_ID; slots * length]).await?;
    let x = Output::empty(device, want.len()).await?;
    let variant = run(device, weights.caps(device), &pass.batch, 1, |r| {
        Embed {
            embedding: &matrix,
            next_token: &next_token,
            x: &x.tensor,
            history: &history,
            context: length as u32,
        }
        .record(r);
    })
    .await?;
    let mut c = Comparison::new();
    let got = x.read(device, &mut c).await?;
    // d * sc * q - m * mn may be one fused operation; everything else is exact.
    let fused = matches!(format, Format::Q4K | Format::Q5K);
    let largest = |row: &[f32]| f64::from(row.iter().fold(0.0_f32, |a, v| a.max(v.abs())));
    let bounds: Vec<f64> = want.chunks(width).map(|r| largest(r) * 2f64.powi(-21)).collect();
    c.floats("x", &got, &want, |i| if fused { bounds[i / width] } else { 0.0 });
    c.exact("history", &device.read(&history).await?, &want_history);
    Ok(c.finish("embed", variant, case.to_string()))
}
