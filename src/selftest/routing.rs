//! The experts that the rows of a case choose, and the resulting groups of `moe_group`.

use super::Rng;
use super::data::UNTOUCHED_ID;
use crate::kernels::groups_len;
use crate::reference;

/// Choice of experts by rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// At random.
    Random,
    /// All the same one.
    One,
    /// Only the second half of the experts.
    HalfIdle,
}

impl Routing {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Random, Self::One, Self::HalfIdle];

    /// `n` ids below `experts`.
    pub(super) fn ids(self, rng: &mut Rng, n: usize, experts: usize) -> Vec<u32> {
        let one = rng.below(experts) as u32;
        let half = experts / 2;
        (0..n)
            .map(|_| match self {
                Self::Random => rng.below(experts) as u32,
                Self::One => one,
                Self::HalfIdle => (half + rng.below(experts - half)) as u32,
            })
            .collect()
    }
}

impl Routing {
    /// A router's logits, `[rows, experts]`, and the experts' biases, by which rows choose as here. The logits of
    /// a row are multiples of 1/4, all different, so that rounding does not change the choice.
    pub(super) fn logits(self, rng: &mut Rng, rows: usize, experts: usize) -> (Vec<f32>, Vec<f32>) {
        let one = rng.below(experts);
        let bias = |e: usize| match self {
            Self::Random => 0.0,
            Self::One => {
                if e == one {
                    2.0
                } else {
                    0.0
                }
            }
            Self::HalfIdle => {
                if e < experts / 2 {
                    -2.0
                } else {
                    0.0
                }
            }
        };
        let mut logits = Vec::new();
        for _ in 0..rows {
            let mut row: Vec<f32> =
                (0..experts).map(|e| (e as f32 - experts as f32 / 2.0) / 4.0).collect();
            (1..experts).rev().for_each(|e| row.swap(e, rng.below(e + 1)));
            logits.extend(row);
        }
        (logits, (0..experts).map(bias).collect())
    }
}

/// The expected output of `moe_group` for `ids`, and the offset of the items in it.
pub(super) fn groups_words(
    ids: &[u32],
    most_rows: usize,
    experts: u32,
    top_k: u32,
    tile: u32,
) -> (Vec<u32>, u32) {
    let (items_at, len) = groups_len(most_rows as u32, experts, top_k);
    let groups = reference::moe_group(ids, experts, tile);
    let mut words = vec![UNTOUCHED_ID; len];
    words[0] = groups.tiles.len() as u32;
    for (at, tile) in words[4..].chunks_mut(4).zip(&groups.tiles) {
        at.copy_from_slice(&[tile.expert, tile.first, tile.count, 0]);
    }
    for (to, item) in words[items_at as usize..].iter_mut().zip(&groups.items) {
        *to = *item;
    }
    (words, items_at)
}
