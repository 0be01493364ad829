//! Weight matrices on the GPU.

use super::{LoraMatrix, WeightsPart};
use crate::gpu::{Binding, Caps, Tensor};

/// A format of weights on the GPU. Each is an entry here, a file in `shaders/lib/weights/` (two share
/// one) and its packing in `pack.rs`. `docs/weights.md` has the layouts bit by bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// IEEE half precision, two in a word.
    F16,
    /// bfloat16, two in a word.
    Bf16,
    /// 8-bit integers in blocks of 32 with a half as scale.
    Q8,
    /// 4-bit integers in blocks of 32 with a half as scale.
    Q4,
    /// ggml's Q4_K: 4 bits, scales and minima of 32, in blocks of 256.
    Q4K,
    /// ggml's Q5_K: 5 bits, scales and minima of 32, in blocks of 256.
    Q5K,
    /// ggml's Q6_K: 6 bits, scales of 16, in blocks of 256.
    Q6K,
}

/// First words of a matrix part's planes; plane 0 begins at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planes {
    /// First words of planes 1, 2 and 3.
    pub at: [u32; 3],
    /// Words of all planes.
    pub words: usize,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 8] =
        [Self::F32, Self::F16, Self::Bf16, Self::Q8, Self::Q4, Self::Q4K, Self::Q5K, Self::Q6K];

    /// The shader part that decodes this format on a device.
    pub(crate) fn weights_part(self, caps: &Caps) -> WeightsPart {
        match self {
            Self::F32 => WeightsPart::F32,
            Self::F16 if caps.f16 => WeightsPart::F16Native,
            Self::F16 => WeightsPart::F16,
            Self::Bf16 => WeightsPart::Bf16,
            Self::Q8 => WeightsPart::Q8,
            Self::Q4 => WeightsPart::Q4,
            Self::Q4K => WeightsPart::Q4K,
            Self::Q5K => WeightsPart::Q5K,
            Self::Q6K => WeightsPart::Q6K,
        }
    }

    /// Every shader part that can decode this format on a device.
    pub(crate) fn parts(self, caps: &Caps) -> Vec<WeightsPart> {
        match self {
            Self::F16 if caps.f16 => vec![WeightsPart::F16, WeightsPart::F16Native],
            _ => vec![self.weights_part(caps)],
        }
    }

    /// Elements of a block, along a row, and its bits in each plane.
    #[must_use]
    pub fn block(self) -> (usize, &'static [usize]) {
        match self {
            Self::F32 => (1, &[32]),
            Self::F16 | Self::Bf16 => (1, &[16]),
            Self::Q8 => (32, &[256, 16]),
            Self::Q4 => (32, &[128, 16]),
            Self::Q4K => (256, &[1024, 128]),
            Self::Q5K => (256, &[1024, 256, 128]),
            Self::Q6K => (256, &[1024, 512, 128, 16]),
        }
    }

    /// Bytes of one row of `cols` columns.
    #[must_use]
    pub fn row_bytes(self, cols: usize) -> usize {
        let (block, planes) = self.block();
        cols / block * planes.iter().sum::<usize>() / 8
    }

    /// First words of the planes of `elements` elements: each begins at a multiple of 16 bytes.
    #[must_use]
    pub fn planes(self, elements: usize) -> Planes {
        let (block, bits) = self.block();
        let mut planes = Planes::default();
        for (i, bits) in bits.iter().enumerate() {
            if let Some(at) = i.checked_sub(1).and_then(|i| planes.at.get_mut(i)) {
                *at = planes.words as u32;
            }
            planes.words += (elements / block * bits).div_ceil(128) * 4;
        }
        planes
    }

    /// Storage bindings of a matrix part: as `vec4`s, and in blocks as words too.
    pub(crate) fn bindings(self) -> usize {
        if self.is_quantised() { 2 } else { 1 }
    }

    /// Whether the weights are integers in blocks, stored in planes.
    pub(crate) fn is_quantised(self) -> bool {
        self.block().0 > 1
    }

    /// Its name in messages and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8 => "Q8",
            Self::Q4 => "Q4",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }
}

/// A range of rows of every expert, small enough for one binding.
#[derive(Clone, Debug)]
pub struct MatrixPart {
    /// Its format.
    pub format: Format,
    /// First row of this part within an expert.
    pub first_row: usize,
    /// Rows of each expert in this part.
    pub rows: usize,
    /// `[experts, rows, cols]`: the format's planes, one after another.
    pub data: Tensor<u32>,
    /// First words of the planes.
    pub planes: Planes,
}

/// A weight matrix `[experts, rows, cols]`; a plain matrix has one expert. It consists of parts, each of
/// one format and small enough for a storage binding; each takes a dispatch. A part is a range of rows
/// of every expert, so that a product over experts stays one kernel.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Number of stacked matrices.
    pub experts: usize,
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub cols: usize,
    /// The parts in order of rows.
    pub parts: Vec<MatrixPart>,
    /// The factors of LoRA adapters, which sequences of a pass may have.
    pub lora: Option<LoraMatrix>,
}

impl Matrix {
    /// The matrix whose rows `data` holds one after another, in f32.
    #[must_use]
    pub fn of_floats(data: &Tensor<f32>, rows: usize) -> Self {
        let (format, cols) = (Format::F32, data.len() / rows.max(1));
        let planes = format.planes(data.len());
        let part = MatrixPart { format, first_row: 0, rows, data: data.words(), planes };
        Self { experts: 1, rows, cols, parts: vec![part], lora: None }
    }

    /// Splits rows `rows` into parts of at most `max_bytes`: `(first_row, rows)` of each. Parts hold an
    /// even number of rows, so that a gate row and its up row stay together.
    #[must_use]
    pub fn split(
        format: Format,
        experts: usize,
        rows: std::ops::Range<usize>,
        cols: usize,
        max_bytes: u64,
    ) -> Vec<(usize, usize)> {
        let row_bytes = (experts * format.row_bytes(cols)) as u64;
        // Each plane is padded to 16 bytes.
        let max_bytes = max_bytes.saturating_sub(64);
        let most = usize::try_from(max_bytes / row_bytes.max(1)).unwrap_or(rows.len());
        let most = (most & !1).max(2);
        rows.clone().step_by(most).map(|first| (first, most.min(rows.end - first))).collect()
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

impl MatrixPart {
    /// Its bindings under the names that its shader part declares.
    pub(crate) fn bind(&self) -> Vec<Binding> {
        let mut bindings = vec![self.data.bind("weight")];
        if self.format.is_quantised() {
            bindings.push(self.data.bind("weight_words"));
        }
        bindings
    }
}
