//! Packs the blocks of a file into the planes of a format. `docs/weights.md` has the layouts.

use half::{bf16, f16};

use super::Format;
use crate::formats::{
    ElementType,
    blocks::{Quants, dequantize},
};

impl Format {
    /// The format for elements of a file's type. It stores all of them exactly, except Q4_1 and Q5_1, which
    /// become f16 (an error of at most 2^-11 of each value).
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

    /// Appends whole blocks of a file to the planes of this format. A float format converts elements of
    /// other types through f32.
    pub fn pack(self, element_type: ElementType, bytes: &[u8], planes: &mut Vec<Vec<u8>>) {
        planes.resize_with(self.block().1.len(), Vec::new);
        match (self, element_type, &mut planes[..]) {
            (Self::F32, ElementType::F32, [all])
            | (Self::F16, ElementType::F16, [all])
            | (Self::Bf16, ElementType::BF16, [all]) => all.extend_from_slice(bytes),
            (Self::F32, _, [all]) => {
                all.extend(values(element_type, bytes).iter().flat_map(|v| v.to_le_bytes()));
            }
            (Self::F16, _, [all]) => all.extend(
                values(element_type, bytes)
                    .iter()
                    .flat_map(|v| f16::from_f32(v.clamp(-65504.0, 65504.0)).to_le_bytes()),
            ),
            (Self::Bf16, _, [all]) => {
                let half = |v: &f32| bf16::from_f32(*v).to_le_bytes();
                all.extend(values(element_type, bytes).iter().flat_map(half));
            }
            (_, ElementType::Q4_0, [quants, d]) => take_apart::<18, 16>(bytes, quants, d),
            (_, ElementType::Q8_0, [quants, d]) => take_apart::<34, 32>(bytes, quants, d),
            (_, ElementType::Q6_K, [nibbles, upper, scales, d]) => {
                for block in bytes.as_chunks::<210>().0 {
                    let (low, high) = six_bits(block);
                    nibbles.extend_from_slice(&low);
                    upper.extend_from_slice(&high);
                    scales.extend_from_slice(&block[192..208]);
                    d.extend_from_slice(&block[208..]);
                }
            }
            (_, _, planes) => pack_blocks(element_type, bytes, planes),
        }
    }
}

/// Splits blocks of a half and `QUANTS` bytes into the two planes. Most of a model goes through here.
fn take_apart<const BLOCK: usize, const QUANTS: usize>(
    bytes: &[u8],
    quants: &mut Vec<u8>,
    d: &mut Vec<u8>,
) {
    // Some blocks at a time, so that resized memory is still in the cache when it is filled.
    for blocks in bytes.as_chunks::<BLOCK>().0.chunks(64) {
        let (q_at, d_at) = (quants.len(), d.len());
        quants.resize(q_at + blocks.len() * QUANTS, 0);
        d.resize(d_at + blocks.len() * 2, 0);
        let q = quants[q_at..].as_chunks_mut::<QUANTS>().0;
        let d = d[d_at..].as_chunks_mut::<2>().0;
        for ((block, q), d) in blocks.iter().zip(q).zip(d) {
            d.copy_from_slice(&block[..2]);
            q.copy_from_slice(&block[2..]);
        }
    }
}

fn pack_blocks(element_type: ElementType, bytes: &[u8], planes: &mut [Vec<u8>]) {
    let size = element_type.block().bytes as usize;
    for block in bytes.chunks_exact(size) {
        match (element_type, &mut *planes) {
            (ElementType::Q5_0, [quants, d]) => {
                let b = Quants::read(element_type, block);
                d.extend_from_slice(&block[..2]);
                quants.extend(b.q[..32].iter().map(|q| (q - 16) as i8 as u8));
            }
            (ElementType::Q4_K, [nibbles, head]) => {
                block[16..].chunks_exact(32).for_each(|pair| split_pair(pair, nibbles));
                head.extend(super_block(&Quants::read_head(element_type, block)));
            }
            (ElementType::Q5_K, [nibbles, fifths, head]) => {
                block[48..].chunks_exact(32).for_each(|pair| split_pair(pair, nibbles));
                for sub in 0..8 {
                    let bit = |l: usize| u32::from(block[16 + l] >> sub & 1) << l;
                    fifths.extend((0..32).fold(0, |word, l| word | bit(l)).to_le_bytes());
                }
                head.extend(super_block(&Quants::read_head(element_type, block)));
            }
            _ => {}
        }
    }
}

/// The integers of a Q6_K block: 16 bytes of nibbles for each 32 elements, `l` and `l + 16` in a byte, and 8
/// bytes of their upper bits, four elements in a byte. Eight bytes are computed at a time.
fn six_bits(block: &[u8; 210]) -> ([u8; 128], [u8; 64]) {
    let (mut nibbles, mut upper) = ([0; 128], [0; 64]);
    let word = |at: usize| block[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    for half in 0..2 {
        // Elements 0 to 31 and 32 to 63 are in low halves of bytes, the next 64 in high ones.
        for quarter in 0..4 {
            let (from, shift) = (half * 64 + quarter % 2 * 32, quarter / 2 * 4);
            let low = |l| word(from + l) >> shift & 0x0f0f_0f0f_0f0f_0f0f;
            for l in [0, 8] {
                let pairs = low(l) | low(l + 16) << 4;
                nibbles[half * 64 + quarter * 16 + l..][..8].copy_from_slice(&pairs.to_le_bytes());
            }
            for l in [0, 8, 16, 24] {
                let bits = word(128 + half * 32 + l) >> (2 * quarter) & 0x0303_0303_0303_0303;
                // Moves the pairs of bits of four bytes into the first of them.
                let pairs = bits | bits >> 6;
                let fours = pairs | pairs >> 12;
                let bytes = [fours as u8, (fours >> 32) as u8];
                upper[half * 32 + quarter * 8 + l / 4..][..2].copy_from_slice(&bytes);
            }
        }
    }
    (nibbles, upper)
}

/// Repacks 32 bytes, whose low halves are 32 elements and whose high halves are the next 32, as twice
/// 16 bytes, whose halves are elements `l` and `l + 16` of 32.
fn split_pair(pair: &[u8], out: &mut Vec<u8>) {
    let (first, second) = pair.split_at(16);
    out.extend(first.iter().zip(second).map(|(a, b)| (a & 15) | (b & 15) << 4));
    out.extend(first.iter().zip(second).map(|(a, b)| a >> 4 | (b & 0xf0)));
}

/// The head of a Q4_K or Q5_K block: d and m; of eight sub-blocks the low four bits of the scales, then
/// of the minima; the upper two bits of both.
fn super_block(b: &Quants) -> [u8; 16] {
    let mut words = [u32::from(b.d) | u32::from(b.m) << 16, 0, 0, 0];
    for (i, (scale, min)) in b.scales.iter().zip(&b.minima).enumerate() {
        let (scale, min) = (*scale as u32, u32::from(*min));
        words[1] |= (scale & 15) << (4 * i);
        words[2] |= (min & 15) << (4 * i);
        words[3] |= (scale >> 4 & 3) << (2 * i) | (min >> 4 & 3) << (16 + 2 * i);
    }
    let mut bytes = [0; 16];
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
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
