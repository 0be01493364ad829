//! From the blocks of a file to the planes of a format; `docs/weights.md` has the layouts.

use half::{bf16, f16};

use super::Format;
use crate::formats::{
    ElementType,
    blocks::{Quants, dequantize},
};

impl Format {
    /// The format that holds elements of a file's type: without rounding, but for Q4_1 and Q5_1,
    /// which become f16 (an error of at most 2^-11 of each value).
    #[must_use]
    pub fn of(element_type: ElementType) -> Self {
        match element_type {
            ElementType::F16 | ElementType::Q4_1 | ElementType::Q5_1 => Self::F16,
            ElementType::BF16 => Self::Bf16,
            ElementType::Q4_0 => Self::Q4,
            ElementType::Q8_0 | ElementType::Q5_0 => Self::Q8,
            ElementType::Q4_K => Self::Q4K,
            ElementType::Q5_K => Self::Q5K,
            ElementType::Q6_K => Self::Q6K,
            _ => Self::F32,
        }
    }

    /// The planes' bytes of whole blocks of a file. A type that this format does not hold gives
    /// values that went through f32.
    #[must_use]
    pub fn pack(self, element_type: ElementType, bytes: &[u8]) -> Vec<Vec<u8>> {
        match (self, element_type) {
            (Self::F32, ElementType::F32)
            | (Self::F16, ElementType::F16)
            | (Self::Bf16, ElementType::BF16) => vec![bytes.to_vec()],
            (Self::F32, _) => {
                vec![values(element_type, bytes).iter().flat_map(|v| v.to_le_bytes()).collect()]
            }
            (Self::F16 | Self::Bf16, _) => {
                let half = |v: &f32| match self {
                    Self::F16 => f16::from_f32(v.clamp(-65504.0, 65504.0)).to_le_bytes(),
                    _ => bf16::from_f32(*v).to_le_bytes(),
                };
                vec![values(element_type, bytes).iter().flat_map(half).collect()]
            }
            _ => self.pack_blocks(element_type, bytes),
        }
    }

    fn pack_blocks(self, element_type: ElementType, bytes: &[u8]) -> Vec<Vec<u8>> {
        let (elements, bits) = self.block();
        let size = element_type.block().bytes as usize;
        let n = bytes.len() / size;
        let mut planes: Vec<Vec<u8>> = bits.iter().map(|b| Vec::with_capacity(n * b / 8)).collect();
        for block in bytes.chunks_exact(size) {
            let b = Quants::read(element_type, block);
            let q = &b.q[..elements];
            match self {
                Self::Q8 => {
                    let zero = if element_type == ElementType::Q5_0 { 16 } else { 0 };
                    planes[0].extend(q.iter().map(|q| (q - zero) as i8 as u8));
                    planes[1].extend(b.d.to_le_bytes());
                }
                Self::Q4 => {
                    planes[0].extend(low_bits(q, 4));
                    planes[1].extend(b.d.to_le_bytes());
                }
                Self::Q4K => {
                    planes[0].extend(low_bits(q, 4));
                    planes[1].extend(super_block(&b));
                }
                Self::Q5K => {
                    planes[0].extend(low_bits(q, 4));
                    planes[1].extend(low_bits(&q.iter().map(|q| q >> 4).collect::<Vec<_>>(), 1));
                    planes[2].extend(super_block(&b));
                }
                _ => {
                    planes[0].extend(low_bits(q, 4));
                    planes[1].extend(low_bits(&q.iter().map(|q| q >> 4).collect::<Vec<_>>(), 2));
                    planes[2].extend(b.scales.iter().map(|s| *s as u8));
                    planes[3].extend(b.d.to_le_bytes());
                }
            }
        }
        planes
    }
}

/// The low `bits` bits of each integer, the first in the lowest bits of the first byte.
fn low_bits(q: &[i16], bits: usize) -> impl Iterator<Item = u8> + '_ {
    q.chunks(8 / bits).map(move |q| {
        let mask = (1 << bits) - 1;
        q.iter().enumerate().fold(0, |byte, (i, q)| byte | ((*q as u8) & mask) << (i * bits))
    })
}

/// d and m; then of eight sub-blocks the low four bits of the scales, those of the minima, and the
/// upper two bits of both: 16 bytes.
fn super_block(b: &Quants) -> Vec<u8> {
    let scales: Vec<i16> = b.scales.iter().take(8).map(|s| i16::from(*s)).collect();
    let minima: Vec<i16> = b.minima.iter().map(|m| i16::from(*m)).collect();
    let upper = |v: &[i16]| v.iter().map(|v| v >> 4).collect::<Vec<_>>();
    let mut out = Vec::with_capacity(16);
    out.extend(b.d.to_le_bytes());
    out.extend(b.m.to_le_bytes());
    out.extend(low_bits(&scales, 4));
    out.extend(low_bits(&minima, 4));
    out.extend(low_bits(&upper(&scales), 2));
    out.extend(low_bits(&upper(&minima), 2));
    out
}

/// Elements of a file in f32.
pub(crate) fn values(element_type: ElementType, bytes: &[u8]) -> Vec<f32> {
    let pairs = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    match element_type {
        ElementType::F32 => bytemuck::pod_collect_to_vec(bytes),
        ElementType::F16 => pairs.map(|b| f16::from_bits(b).to_f32()).collect(),
        ElementType::BF16 => pairs.map(|b| bf16::from_bits(b).to_f32()).collect(),
        _ => dequantize(element_type, bytes),
    }
}
