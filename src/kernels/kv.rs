//! Formats of keys and values on the GPU.

use crate::gpu::Tensor;

/// Dimensions of a head that share a scale in [`KvFormat::Q8`].
const BLOCK: usize = 32;

/// A format of keys and values. `shaders/lib/kv.wgsl` reads and writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// 32-bit floats.
    F32,
    /// Half precision, two in a word.
    F16,
    /// 8-bit integers in blocks of 32 dimensions of a head, each with a half as scale. All integers come
    /// first, then all scales, two in a word. No two heads share a word.
    Q8,
}

impl KvFormat {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Q8];

    /// Value of the option `--kv`.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8 => "q8",
        }
    }

    /// Whether the format can store heads of `head_dim` dimensions.
    #[must_use]
    pub fn takes(self, head_dim: usize) -> bool {
        self != Self::Q8 || head_dim.is_multiple_of(BLOCK)
    }

    /// Words of `heads` heads.
    #[must_use]
    pub fn words(self, heads: usize, head_dim: usize) -> usize {
        heads
            * match self {
                Self::F32 => head_dim,
                Self::F16 => head_dim / 2,
                Self::Q8 => head_dim / 4 + Self::scale_words(head_dim),
            }
    }

    fn scale_words(head_dim: usize) -> usize {
        (head_dim / BLOCK).div_ceil(2)
    }

    /// First word of the scales in a pool of keys, or of values; 0 without scales.
    pub(crate) fn scales_at(self, pool: &Tensor<u32>, head_dim: u32) -> u32 {
        let head_dim = head_dim as usize;
        match self {
            Self::F32 | Self::F16 => 0,
            Self::Q8 => {
                let heads = pool.len() / self.words(1, head_dim).max(1);
                (heads * head_dim / 4) as u32
            }
        }
    }
}
