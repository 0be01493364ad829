//! Weight matrices on the GPU.

use crate::gpu::{Binding, Caps, Tensor};

/// How a weight matrix is stored on the GPU. This is the seam for weight formats: a format is a
/// line here, `shaders/lib/weights/<name>.wgsl`, and its packing at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// IEEE half precision, two in a word.
    F16,
    /// bfloat16, two in a word.
    Bf16,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// The part that answers `#import weights` on a device.
    pub(crate) fn import(self, caps: &Caps) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 if caps.f16 => "f16_native",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Every part that decodes this format on a device: the choice and its fallbacks.
    pub(crate) fn imports(self, caps: &Caps) -> Vec<&'static str> {
        match self {
            Self::F16 if caps.f16 => vec!["f16", "f16_native"],
            _ => vec![self.import(caps)],
        }
    }

    /// Bytes of one row of `cols` columns.
    #[must_use]
    pub fn row_bytes(self, cols: usize) -> usize {
        match self {
            Self::F32 => cols * 4,
            Self::F16 | Self::Bf16 => cols * 2,
        }
    }

    /// Its name in messages and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }
}

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// 32-bit floats.
    F32,
    /// Half precision, two in a word.
    F16,
}

impl KvFormat {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::F32, Self::F16];

    pub(crate) fn import(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }

    /// Words that `values` values take.
    #[must_use]
    pub fn words(self, values: usize) -> usize {
        match self {
            Self::F32 => values,
            Self::F16 => values / 2,
        }
    }
}

/// A range of rows of every expert, small enough for one binding.
#[derive(Clone, Debug)]
pub struct Part {
    /// First row of this part within an expert.
    pub first_row: usize,
    /// Rows of each expert in this part.
    pub rows: usize,
    /// `[experts, rows, cols]` in the matrix's format.
    pub data: Tensor<u32>,
}

/// A weight matrix `[experts, rows, cols]` (a plain matrix has one expert), in parts that each fit
/// a storage binding. A part is a dispatch. Rows are split, within every expert, so that any
/// product over experts stays one kernel.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// How it is stored.
    pub format: Format,
    /// Matrices stacked.
    pub experts: usize,
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub cols: usize,
    /// The parts in order of rows.
    pub parts: Vec<Part>,
}

impl Matrix {
    /// `(first_row, rows)` of each part such that none exceeds `max_bytes`. Parts hold an even
    /// number of rows, so that a gate row and its up row stay together.
    #[must_use]
    pub fn split(
        format: Format,
        experts: usize,
        rows: usize,
        cols: usize,
        max_bytes: u64,
    ) -> Vec<(usize, usize)> {
        let row_bytes = (experts * format.row_bytes(cols)) as u64;
        let most = usize::try_from(max_bytes / row_bytes.max(1)).unwrap_or(rows);
        let most = (most & !1).max(2);
        (0..rows).step_by(most).map(|first| (first, most.min(rows - first))).collect()
    }

    /// Bytes on the GPU.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|p| p.data.bytes()).sum()
    }

    /// Multiply-adds of one product with one expert.
    #[must_use]
    pub fn macs(&self) -> u64 {
        (self.rows * self.cols) as u64
    }
}

impl Part {
    pub(crate) fn bind(&self) -> Binding {
        self.data.bind("weight")
    }
}
