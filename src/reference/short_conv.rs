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
/// `Bx[p, c] = B[p, c] * x[p, c]`, and zero before position 0.
///
/// `bcx` is `[rows, 3 * hidden_size]` (B, C, x), `taps` `[hidden_size, L]`, `ring`
/// `[columns, hidden_size]`: a slot has `ring_columns`, and column `p % ring_columns` of them holds `Bx` of
/// position p. A row that has a further column writes its `Bx` there too.
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
            let kept = sequence.snapshot_columns.iter().find(|(row, _)| *row == t);
            let (b, rest) =
                bcx[(first_row + t) * 3 * hidden_size..][..3 * hidden_size].split_at(hidden_size);
            let (c, x) = rest.split_at(hidden_size);
            for channel in 0..hidden_size {
                let at = |position: usize| {
                    (sequence.slot * ring_columns + position % ring_columns) * hidden_size + channel
                };
                ring[at(position)] = b[channel] * x[channel];
                if let Some((_, column)) = kept {
                    ring[column * hidden_size + channel] = b[channel] * x[channel];
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Chunks of any length, going back as far as the ring allows, in a slot that held another sequence,
    /// give the result of one convolution over the whole sequence.
    #[test]
    fn rings_give_the_result_of_the_whole_sequence() {
        for (l_cache, ring_columns) in [(2, 2), (3, 3), (3, 16), (4, 17), (7, 20)] {
            let shape = ConvShape { hidden_size: 1, l_cache, ring_columns };
            let back = ring_columns - (l_cache - 1);
            let taps: Vec<f32> = (1..=l_cache).map(|j| j as f32).collect();
            let mut ring = vec![1e6; 2 * ring_columns + 1];
            let mut bx: Vec<f32> = Vec::new();
            // Each pass goes back by .0 positions, then adds .1 rows.
            for (n, (rewind, rows)) in [(0, 1), (0, 2), (1, 1), (0, 40), (back, 3), (0, 5), (2, 33)]
                .into_iter()
                .enumerate()
            {
                let position = bx.len() - rewind.min(bx.len()).min(back);
                bx.truncate(position);
                bx.extend((0..rows).map(|i| (n * 100 + i) as f32));
                let bcx: Vec<f32> = bx[position..].iter().flat_map(|v| [*v, 1.0, 1.0]).collect();
                let sequence = Sequence {
                    slot: 1,
                    position,
                    rows,
                    pages: Vec::new(),
                    snapshot_columns: vec![(rows - 1, 2 * ring_columns)],
                };
                let y = short_conv(shape, &[sequence], &bcx, &taps, None, &mut ring);
                assert_eq!(ring[2 * ring_columns], bx[bx.len() - 1]);
                for (t, y) in y.iter().enumerate() {
                    let want: f32 = (0..l_cache)
                        .filter(|back| position + t >= *back)
                        .map(|back| taps[l_cache - 1 - back] * bx[position + t - back])
                        .sum();
                    assert_eq!(*y, want, "L {l_cache}, ring {ring_columns}, pass {n}, row {t}");
                }
            }
            assert!(ring[..ring_columns].iter().all(|v| *v == 1e6), "another slot was touched");
        }
    }
}
