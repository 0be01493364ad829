//! Twin of `shaders/matvec.wgsl`, `matmul.wgsl` and `matmul_coop.wgsl`, which compute the same products.

use super::{Lora, dot, sigmoid};

/// Products of an item.
#[derive(Clone, Copy, Debug)]
pub enum Jobs<'a> {
    /// Item `i` is the product of input `i` with the one matrix.
    Dense,
    /// Item `i = row * top_k + j` is the product of its row with the matrix of expert `ids[i]`.
    Experts {
        /// `[rows, top_k]`.
        ids: &'a [u32],
        /// Experts of a row.
        top_k: usize,
        /// Item `i` reads input `i` instead of input `i / top_k`.
        own_rows: bool,
    },
    /// Item `row` is the sum over `j` of `gates[i] * W[ids[i]] * input i`, `i = row * top_k + j`.
    Combine {
        /// `[rows, top_k]`.
        ids: &'a [u32],
        /// `[rows, top_k]`.
        gates: &'a [f32],
        /// Experts of a row.
        top_k: usize,
    },
}

/// Operation on the result.
#[derive(Clone, Copy, Debug)]
pub enum After<'a> {
    /// The product is the result.
    Store,
    /// The product is added to these values, `[items, rows]`: the residual connection.
    Add(&'a [f32]),
    /// Rows `2 r` and `2 r + 1` are gate and up: the result is `silu(gate) * up`.
    Swiglu,
}

/// A product of one matrix, or of the experts' matrices, with inputs.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// `[experts, rows, cols]`, decoded.
    pub weight: &'a [f32],
    /// Rows of each expert's matrix.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// `[rows]`.
    pub bias: Option<&'a [f32]>,
    /// LoRA adapters of the rows.
    pub lora: Option<Lora<'a>>,
    /// `[inputs, cols]`.
    pub x: &'a [f32],
    /// Products of an item.
    pub jobs: Jobs<'a>,
    /// Operation on the result.
    pub after: After<'a>,
}

impl Product<'_> {
    /// Row `row` of product `s` with a matrix and an input.
    fn one(&self, s: usize, expert: usize, row: usize, input: usize) -> f64 {
        let w = &self.weight[(expert * self.rows + row) * self.cols..][..self.cols];
        let x = &self.x[input * self.cols..][..self.cols];
        let lora = self.lora.map_or(0.0, |lora| lora.product(s, expert, (row, self.rows), x));
        dot(w, x) + lora
    }

    fn items(&self) -> usize {
        match self.jobs {
            Jobs::Dense => self.x.len() / self.cols,
            Jobs::Experts { ids, .. } => ids.len(),
            Jobs::Combine { ids, top_k, .. } => ids.len() / top_k,
        }
    }

    fn item(&self, item: usize, row: usize) -> f64 {
        let product = match self.jobs {
            Jobs::Dense => self.one(item, 0, row, item),
            Jobs::Experts { ids, top_k, own_rows } => {
                let input = if own_rows { item } else { item / top_k };
                self.one(item, ids[item] as usize, row, input)
            }
            Jobs::Combine { ids, gates, top_k } => (item * top_k..(item + 1) * top_k)
                .map(|i| f64::from(gates[i]) * self.one(i, ids[i] as usize, row, i))
                .sum(),
        };
        product + self.bias.map_or(0.0, |b| f64::from(b[row]))
    }
}

/// The products, `[items, rows]`, or half as wide after [`After::Swiglu`].
///
/// Source: `torch.nn.functional.linear`; SwiGLU as transformers `Lfm2MoeMLP`.
#[must_use]
pub fn matvec(p: &Product<'_>) -> Vec<f32> {
    let mut out = Vec::new();
    for item in 0..p.items() {
        match p.after {
            After::Store => out.extend((0..p.rows).map(|r| p.item(item, r) as f32)),
            After::Add(base) => out.extend(
                (0..p.rows).map(|r| (f64::from(base[item * p.rows + r]) + p.item(item, r)) as f32),
            ),
            After::Swiglu => out.extend((0..p.rows / 2).map(|r| {
                let (gate, up) = (p.item(item, 2 * r), p.item(item, 2 * r + 1));
                (gate * sigmoid(gate) * up) as f32
            })),
        }
    }
    out
}
