//! Cases of `attention`, `attention_combine`, `flash_attention` and `flash_attention_coop`.

use super::compare::{Comparison, EPSILON, TINY};
use super::data::{Output, Pass, kv_words, run};
use super::{Fill, KernelCheck, Rng, Span};
use crate::gpu::{Device, GpuError};
use crate::kernels::{
    ATTENTION_ROWS, Attention, AttentionCombine, Choices, FlashAttention, Heads, KvFormat,
    LONGEST_SPLIT,
};
use crate::reference::{self, AttentionHeads, PAGE};

/// A case of attention. The rows of a sequence decide on its kernels.
#[derive(Clone, Debug)]
pub struct AttentionCase {
    /// Sequences.
    pub spans: Vec<Span>,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Dimensions of a head, a multiple of 4.
    pub head_dim: usize,
    /// Factor on the queries; a large one makes a few keys dominate.
    pub sharpness: f32,
    /// Fill of q.
    pub queries: Fill,
    /// Fill of the keys.
    pub keys: Fill,
    /// Fill of the values.
    pub values: Fill,
    /// Seed of the values.
    pub seed: u64,
}

fn longest(values: &[f32], width: usize) -> f64 {
    let length = |v: &[f32]| v.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    values.chunks(width).map(length).fold(0.0, f64::max)
}

/// Runs attention on a case. With `Multiply::MatrixUnits`, sequences with many rows take
/// `flash_attention_coop` if it takes their heads.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_attention(
    device: &Device,
    case: &AttentionCase,
    kv: KvFormat,
    choices: &Choices,
) -> Result<KernelCheck, GpuError> {
    let mut rng = Rng::new(case.seed);
    let &AttentionCase { n_heads, n_kv_heads, head_dim, .. } = case;
    let &Choices { reduce, multiply, .. } = choices;
    let pass = Pass::new(&case.spans, &mut rng);
    let mut q = case.queries.values(&mut rng, pass.rows() * n_heads * head_dim);
    q.iter_mut().for_each(|v| *v *= case.sharpness);
    let pool = pass.pages * PAGE * n_kv_heads * head_dim;
    let (key_words, keys) = kv_words(kv, &case.keys.values(&mut rng, pool), head_dim);
    let (value_words, values) = kv_words(kv, &case.values.values(&mut rng, pool), head_dim);
    let scale = 1.0 / (head_dim as f32).sqrt();
    let twin = AttentionHeads { n_heads, n_kv_heads, head_dim, scale };
    let want = reference::attention(&twin, &pass.sequences, &q, &keys, &values);
    let sizes: Vec<f32> = values.iter().map(|v| v.abs()).collect();
    let sizes = reference::attention(&twin, &pass.sequences, &q, &keys, &sizes);

    let heads = Heads {
        n_heads: n_heads as u32,
        n_kv_heads: n_kv_heads as u32,
        head_dim: head_dim as u32,
        kv,
    };
    let length = case.spans.iter().map(|s| s.position + s.rows).max().unwrap_or(1);
    let q_on_gpu = device.tensor_of("q", &q).await?;
    let keys_on_gpu = device.tensor_of("keys", &key_words).await?;
    let values_on_gpu = device.tensor_of("values", &value_words).await?;
    let o = Output::empty(device, want.len()).await?;
    let few_rows: u32 = case.spans.iter().map(|s| s.rows).filter(|n| *n <= ATTENTION_ROWS).sum();
    let all_few = few_rows as usize == pass.rows();
    // The buffer begins as NaN: splits that do not exist must not be read.
    let most_rows: u32 = case.spans.iter().map(|s| s.rows.min(ATTENTION_ROWS)).sum();
    let partials = most_rows as usize * heads.partial_len(length);
    let partial = Output::empty(device, partials).await?;
    let tile_rows = heads.tile_rows(multiply);
    let variant = run(device, *device.caps(), &pass.batch, tile_rows, |r| {
        let (q, keys, values) = (&q_on_gpu, &keys_on_gpu, &values_on_gpu);
        let (partial, o) = (&partial.tensor, &o.tensor);
        // A kernel that would have nothing to do is not compiled.
        if few_rows > 0 {
            Attention { q, keys, values, partial, o, heads, reduce }.record(r);
        }
        if !all_few {
            let typical_context = length;
            FlashAttention { q, keys, values, partial, o, heads, typical_context }
                .record(r, multiply);
        }
        if length > LONGEST_SPLIT {
            AttentionCombine { partial, o, heads }.record(r);
        }
    })
    .await?;
    let mut c = Comparison::new();
    let got = o.read(device, &mut c).await?;
    partial.read(device, &mut c).await?;
    // A score has its sum's rounding error. A weight then has twice that as its relative error (its
    // own and the maximum's). Beyond a few percent only the size of the values bounds o. A weight
    // below the least normal number may be flushed to zero.
    let rounded = !all_few && heads.on_matrix_units(multiply);
    // Half a unit in the last place of an f16: of each product in a score, and of a weight, which is divided
    // by a sum of rounded weights.
    let half = if rounded { 2f64.powi(-11) } else { 0.0 };
    // A query below the normal halves loses at most 2^-25.
    let small = if rounded { 2f64.powi(-25) * (head_dim as f64).sqrt() } else { 0.0 };
    let score = ((head_dim as f64 / 4.0 + 12.0) * EPSILON + half)
        * f64::from(scale)
        * longest(&q, head_dim)
        * longest(&keys, head_dim)
        + small * longest(&keys, head_dim);
    let relative = f64::from(length + 96) * EPSILON + 2.0 * half + 3.0 * score;
    let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let flushed = f64::from(length) * (f64::from(largest) + 4.0) * TINY;
    let ill_conditioned = score > 0.02;
    c.floats("o", &got, &want, |i| match ill_conditioned {
        true => 2.01 * f64::from(largest) + TINY,
        false => f64::from(sizes[i]) * relative + flushed,
    });
    if !ill_conditioned && case.values == Fill::Normal {
        c.nmse("o", &got, &want, if rounded { 1e-5 } else { 1e-7 });
    }
    let name = match (few_rows > 0, rounded) {
        (true, _) => "attention",
        (false, true) => "flash_attention_coop",
        (false, false) => "flash_attention",
    };
    Ok(c.finish(name, variant, case.to_string()))
}
