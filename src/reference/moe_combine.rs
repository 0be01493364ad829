//! Twin of `shaders/moe_combine.wgsl`.

/// `x[r, :] + sum_j gates[r, j] * y[r * top_k + j, :]`, the new residual stream.
///
/// `x` is `[rows, hidden_size]`, `gates` `[rows, top_k]`. Source: transformers
/// `Lfm2MoeExperts.forward` (`index_add_`).
#[must_use]
pub fn moe_combine(top_k: usize, y: &[f32], gates: &[f32], x: &[f32]) -> Vec<f32> {
    let rows = gates.len() / top_k;
    let width = x.len() / rows;
    let mut out = Vec::with_capacity(x.len());
    for row in 0..rows {
        for c in 0..width {
            let experts = (row * top_k..(row + 1) * top_k)
                .map(|item| f64::from(gates[item]) * f64::from(y[item * width + c]));
            out.push((f64::from(x[row * width + c]) + experts.sum::<f64>()) as f32);
        }
    }
    out
}
