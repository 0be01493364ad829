//! Twin of `shaders/short_conv.wgsl`.

use super::Sequence;

/// Shapes of a short convolution.
#[derive(Clone, Copy, Debug)]
pub struct ConvShape {
    /// Channels.
    pub hidden_size: usize,
    /// Taps of a channel: `conv_L_cache`.
    pub l_cache: usize,
    /// Columns of a slot's ring.
    pub ring_columns: usize,
}

/// `y[t, c] = C[t, c] * (sum_j taps[c, j] * Bx[p - (L - 1) + j, c] + bias[c])`, where
/// `Bx[p, c] = B[p, c] * x[p, c]` and zero before position 0.
///
/// `bcx` is `[rows, 3 * hidden_size]` (B, C, x), `taps` `[hidden_size, L]`, `ring`
/// `[n_slots, ring_columns, hidden_size]`: column `p % ring_columns` holds `Bx` of position p.
/// Source: transformers `Lfm2MoeShortConv.slow_forward`.
#[must_use]
pub fn short_conv(
    shape: ConvShape,
    sequences: &[Sequence],
    bcx: &[f32],
    taps: &[f32],
    bias: Option<&[f32]>,
    ring: &mut [f32],
) -> Vec<f32> {
    let ConvShape { hidden_size, l_cache, ring_columns } = shape;
    let mut y = Vec::with_capacity(bcx.len() / 3);
    let mut first_row = 0;
    for sequence in sequences {
        for t in 0..sequence.rows {
            let position = sequence.position + t;
            let (b, rest) =
                bcx[(first_row + t) * 3 * hidden_size..][..3 * hidden_size].split_at(hidden_size);
            let (c, x) = rest.split_at(hidden_size);
            for channel in 0..hidden_size {
                let at = |position: usize| {
                    (sequence.slot * ring_columns + position % ring_columns) * hidden_size + channel
                };
                ring[at(position)] = b[channel] * x[channel];
                let sum: f64 = (0..l_cache)
                    .filter_map(|j| Some((j, (position + 1 + j).checked_sub(l_cache)?)))
                    .map(|(j, p)| f64::from(taps[channel * l_cache + j]) * f64::from(ring[at(p)]))
                    .sum();
                let bias = bias.map_or(0.0, |b| f64::from(b[channel]));
                y.push((f64::from(c[channel]) * (sum + bias)) as f32);
            }
        }
        first_row += sequence.rows;
    }
    y
}
