//! Options of the product kernels.

use serde::{Deserialize, Serialize};

/// Operation on the result of a product: the import `epilogue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// `out = v`.
    Store,
    /// `out += v`.
    Add,
    /// `out = silu(gate) * up` of row pairs.
    Swiglu,
}

impl Epilogue {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Store, Self::Add, Self::Swiglu];

    /// Width of an output row for a matrix of `rows` rows.
    pub(crate) fn width(self, rows: usize) -> usize {
        if self == Self::Swiglu { rows / 2 } else { rows }
    }
}

/// Precision of activations in products of few rows with quantised weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activations {
    /// f32.
    Float,
    /// Dynamic int8: inputs are rounded to 8 bits in blocks of 32, and their products are exact in
    /// integers. The error of an input is at most 1/254 of its block's largest magnitude.
    Int8,
}
