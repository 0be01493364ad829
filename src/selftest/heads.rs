//! Cases of `qk_norm_rope_append`.

use super::compare::{Comparison, EPSILON, TINY};
use super::data::{Output, Pass, kv_values, kv_words, run};
use super::{Fill, KernelCheck, Rng, Span};
use crate::gpu::{Device, GpuError};
use crate::kernels::{KvFormat, QkNormRopeAppend};
use crate::reference::{self, PAGE, QkNormRope, Stored, q8_scale};

/// A case of `qk_norm_rope_append`.
#[derive(Clone, Debug)]
pub struct HeadsCase {
    /// Sequences.
    pub spans: Vec<Span>,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Dimensions of a head, a multiple of 4.
    pub head_dim: usize,
    /// Fill of q, k and v.
    pub fill: Fill,
    /// Seed of the values.
    pub seed: u64,
}

/// `[length, head_dim]`: cosines, then sines, with rope_theta = 1,000,000.
fn rope_table(length: usize, head_dim: usize) -> Vec<f32> {
    let half = head_dim / 2;
    let angle = |p: usize, i: usize| p as f64 * 1e6f64.powf(-2.0 * i as f64 / head_dim as f64);
    (0..length)
        .flat_map(|p| {
            let cos = (0..half).map(move |i| angle(p, i).cos() as f32);
            cos.chain((0..half).map(move |i| angle(p, i).sin() as f32))
        })
        .collect()
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits()
}

/// Tolerances of stored values. Clamps `values` to the format's range.
fn rounding(kv: KvFormat, values: &mut [f32], new: &[bool]) -> Vec<f64> {
    match kv {
        KvFormat::F32 => vec![0.0; values.len()],
        KvFormat::F16 => {
            values.iter_mut().for_each(|v| *v = v.clamp(-65504.0, 65504.0));
            // Half a unit in the last place, of normal and denormal numbers.
            let half = |v: &f32| f64::from(v.abs()) * 2f64.powi(-11) + 2f64.powi(-25);
            values.iter().map(half).collect()
        }
        KvFormat::Q8 => {
            let mut bounds = Vec::new();
            for (block, new) in values.chunks_mut(32).zip(new.chunks(32)) {
                let d = q8_scale(block);
                // Old blocks are unchanged; a NaN makes its whole block NaN.
                let bound = if new.contains(&true) { 0.502 * f64::from(d) } else { 0.0 };
                let most = if d.is_nan() { f32::NAN } else { 127.0 * 65504.0 };
                block
                    .iter_mut()
                    .for_each(|v| *v = if d.is_nan() { d } else { v.clamp(-most, most) });
                bounds.resize(bounds.len() + block.len(), bound);
            }
            bounds
        }
    }
}

/// Runs `qk_norm_rope_append` on a case.
///
/// # Errors
/// See [`super::check_kernels`].
pub async fn check_heads(
    device: &Device,
    case: &HeadsCase,
    kv: KvFormat,
) -> Result<KernelCheck, GpuError> {
    let mut rng = Rng::new(case.seed);
    let (n_heads, n_kv_heads, head_dim) = (case.n_heads, case.n_kv_heads, case.head_dim);
    let pass = Pass::new(&case.spans, &mut rng);
    let qkv = case.fill.values(&mut rng, pass.rows() * (n_heads + 2 * n_kv_heads) * head_dim);
    let norms = Fill::Normal.values(&mut rng, 2 * head_dim);
    let length = case.spans.iter().map(|s| s.position + s.rows).max().unwrap_or(1) as usize;
    let rope = rope_table(length, head_dim);
    let pool = pass.pages * PAGE * n_kv_heads * head_dim;
    let (key_words, keys_before) = kv_words(kv, &Fill::Normal.values(&mut rng, pool), head_dim);
    let (value_words, values_before) = kv_words(kv, &Fill::Normal.values(&mut rng, pool), head_dim);
    let eps = 1e-5;
    // The expected values are not rounded to the format: the GPU may round a value that lies
    // between two to the other side.
    let twin = QkNormRope {
        n_heads,
        n_kv_heads,
        head_dim,
        eps,
        norms: &norms,
        rope: &rope,
        stored: Stored::Exact,
    };
    let (mut keys, mut values) = (keys_before.clone(), values_before.clone());
    let q = reference::qk_norm_rope_append(&twin, &pass.sequences, &qkv, &mut keys, &mut values);
    // Sizes of the terms: signs are chosen so that one half adds up, then the other.
    let absolute = |v: &[f32]| v.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let norms_size = absolute(&norms);
    let (mut q_size, mut keys_size) = (vec![0.0f32; q.len()], vec![0.0f32; pool]);
    for sign in [1.0, -1.0] {
        let mut angles = absolute(&rope);
        for row in angles.chunks_mut(head_dim) {
            row[head_dim / 2..].iter_mut().for_each(|s| *s *= sign);
        }
        let sizes = QkNormRope { norms: &norms_size, rope: &angles, ..twin };
        let (mut k, mut v) = (vec![0.0; pool], vec![0.0; pool]);
        let q = reference::qk_norm_rope_append(
            &sizes,
            &pass.sequences,
            &absolute(&qkv),
            &mut k,
            &mut v,
        );
        for (size, v) in q_size.iter_mut().zip(q).chain(keys_size.iter_mut().zip(k)) {
            *size = size.max(v);
        }
    }

    let qkv_on_gpu = device.tensor_of("qkv", &qkv).await?;
    let norms_on_gpu = device.tensor_of("norms", &norms).await?;
    let rope_on_gpu = device.tensor_of("rope", &rope).await?;
    let keys_on_gpu = device.tensor_of("keys", &key_words).await?;
    let values_on_gpu = device.tensor_of("values", &value_words).await?;
    let q_on_gpu = Output::empty(device, q.len()).await?;
    let variant = run(device, *device.caps(), &pass.batch, 1, |r| {
        QkNormRopeAppend {
            qkv: &qkv_on_gpu,
            norms: &norms_on_gpu,
            rope: &rope_on_gpu,
            q: &q_on_gpu.tensor,
            keys: &keys_on_gpu,
            values: &values_on_gpu,
            kv,
            n_heads: n_heads as u32,
            n_kv_heads: n_kv_heads as u32,
            head_dim: head_dim as u32,
            eps,
        }
        .record(r);
    })
    .await?;
    let mut c = Comparison::new();
    let got_q = q_on_gpu.read(device, &mut c).await?;
    let got_keys = kv_values(kv, &device.read(&keys_on_gpu).await?, head_dim);
    let got_values = kv_values(kv, &device.read(&values_on_gpu).await?, head_dim);
    let turned =
        |size: f32| f64::from(size) * (head_dim as f64 / 8.0 + 20.0) * EPSILON + 4e3 * TINY;
    let new_key = |i: usize| keys_size[i] != 0.0 || !same(keys[i], keys_before[i]);
    let new_keys: Vec<bool> = (0..pool).map(new_key).collect();
    let key_rounding = rounding(kv, &mut keys, &new_keys);
    let new_values: Vec<bool> = (0..pool).map(|i| !same(values[i], values_before[i])).collect();
    let value_rounding = rounding(kv, &mut values, &new_values);
    c.floats("q", &got_q, &q, |i| turned(q_size[i]));
    // Unwritten values have size 0, so they must be unchanged.
    c.floats("keys", &got_keys, &keys, |i| match new_keys[i] {
        true => turned(keys_size[i]) * 1.01 + key_rounding[i],
        false => TINY,
    });
    c.floats("values", &got_values, &values, |i| TINY + value_rounding[i]);
    let most = match kv {
        KvFormat::F32 => 1e-7,
        KvFormat::F16 => 1e-6,
        // One value of a block is large and all others are off by half a step: 31 / 4 / 127^2.
        KvFormat::Q8 => 5e-4,
    };
    c.nmse("q", &got_q, &q, 1e-7);
    c.nmse("keys", &got_keys, &keys, most);
    c.nmse("values", &got_values, &values, most);
    Ok(c.finish("qk_norm_rope_append", variant, case.to_string()))
}
