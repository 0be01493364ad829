//! Host side of `shaders/embed.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{Format, Matrix, WeightsPart, bytes_of};
use crate::gpu::{Caps, Dispatch, Extent, Reads, Recorder, Tensor, Variant};

const WG: u32 = 64;

/// `x[r, :] = embedding[token of row r, :]`, and `history[slot, position] = token`.
pub struct Embed<'a> {
    /// `[vocab, hidden_size]`.
    pub embedding: &'a Matrix,
    /// `[n_slots]`: last sampled token of each slot.
    pub next_token: &'a Tensor<u32>,
    /// `[rows, hidden_size]`.
    pub x: &'a Tensor<f32>,
    /// `[n_slots, context]`.
    pub history: &'a Tensor<u32>,
    /// Positions of a slot.
    pub context: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first_row: u32,
    rows: u32,
    hidden_size: u32,
    context: u32,
    planes: [u32; 3],
}

fn variant(weights: WeightsPart) -> Variant {
    Variant::new("embed").import(weights).int("WG", WG)
}

pub(super) fn variants(caps: &Caps) -> Vec<Variant> {
    Format::ALL.iter().flat_map(|f| f.parts(caps)).map(variant).collect()
}

impl Embed<'_> {
    /// Appends one dispatch for each part of the embedding.
    pub fn record(&self, r: &mut Recorder) {
        for part in &self.embedding.parts {
            let mut bindings = part.bind();
            bindings.extend([
                self.next_token.bind("next_token"),
                self.x.bind("x"),
                self.history.bind("history"),
            ]);
            r.push(Dispatch {
                variant: variant(part.format.weights_part(r.caps())),
                params: bytes_of(&Params {
                    first_row: part.first_row as u32,
                    rows: part.rows as u32,
                    hidden_size: self.embedding.cols as u32,
                    context: self.context,
                    planes: part.planes.at,
                }),
                bindings,
                grid: [Extent::Rows { times: 1, per: 1 }, Extent::Const(1), Extent::Const(1)],
                macs_per_row: 0,
                reads: Reads::default(),
            });
        }
    }
}
