//! Twin of `shaders/rms_norm.wgsl`.

use super::inverse_rms;

/// `h[i, :] = scale * x[r, :] / sqrt(mean(x[r, :]^2) + eps)` for item i's row `r = rows[i]`.
///
/// `x` is `[_, hidden_size]`, `hidden_size = scale.len()`. Source: transformers `Lfm2MoeRMSNorm`.
#[must_use]
pub fn rms_norm(eps: f32, x: &[f32], scale: &[f32], rows: &[usize]) -> Vec<f32> {
    let width = scale.len();
    let mut h = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        let x = &x[row * width..][..width];
        let factor = inverse_rms(x, eps);
        h.extend(x.iter().zip(scale).map(|(&v, &s)| (f64::from(s) * f64::from(v) * factor) as f32));
    }
    h
}
