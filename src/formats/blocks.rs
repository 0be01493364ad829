//! ggml's blocks of quantised values, in the layout of files.
//!
//! `q` is a stored integer; `d` and `m` are f16 values in front of the integers. Layout and order of elements:
//! ggml `ggml-common.h`, `ggml-quants.c` (`dequantize_row_*`).
//!
//! | type | elements | bytes | value |
//! |---|---|---|---|
//! | Q4_0 | 32 | d, 16 of nibbles | `d * (q - 8)` |
//! | Q4_1 | 32 | d, m, 16 | `d * q + m` |
//! | Q5_0 | 32 | d, 4 of fifth bits, 16 | `d * (q - 16)` |
//! | Q5_1 | 32 | d, m, 4, 16 | `d * q + m` |
//! | Q8_0 | 32 | d, 32 of i8 | `d * q` |
//! | Q4_K | 256 | d, m, 12 of scales, 128 | `d * sc * q - m * mn`, 6-bit `sc`, `mn` for each 32 |
//! | Q5_K | 256 | d, m, 12, 32 of fifth bits, 128 | the same |
//! | Q6_K | 256 | 128, 64 of upper two bits, 16 of i8 scales, d | `d * sc * (q - 32)`, `sc` for each 16 |

use half::f16;

use super::ElementType;

/// One block of any type: its integers and their scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Quants {
    /// The stored integers, in the order of elements; signed in Q8_0.
    pub q: [i16; 256],
    /// `d`, the bits of an f16.
    pub d: u16,
    /// `m` or `dmin`, the bits of an f16; 0 in types without it.
    pub m: u16,
    /// Scales of sub-blocks: 8 of Q4_K and Q5_K (0..63), 16 of Q6_K (i8).
    pub scales: [i8; 16],
    /// Minima of sub-blocks: 8 of Q4_K and Q5_K (0..63).
    pub minima: [u8; 8],
}

fn byte(block: &[u8], i: usize) -> u8 {
    block.get(i).copied().unwrap_or(0)
}

fn word16(block: &[u8], i: usize) -> u16 {
    u16::from_le_bytes([byte(block, i), byte(block, i + 1)])
}

impl Quants {
    /// Reads a block of `element_type`. Missing bytes count as zeros.
    pub fn read(element_type: ElementType, block: &[u8]) -> Self {
        let mut b = Self { q: [0; 256], d: 0, m: 0, scales: [0; 16], minima: [0; 8] };
        b.d = word16(block, 0);
        match element_type {
            ElementType::Q4_0 => b.nibbles(block, 2, None),
            ElementType::Q4_1 => {
                b.m = word16(block, 2);
                b.nibbles(block, 4, None);
            }
            ElementType::Q5_0 => b.nibbles(block, 6, Some(2)),
            ElementType::Q5_1 => {
                b.m = word16(block, 2);
                b.nibbles(block, 8, Some(4));
            }
            ElementType::Q8_0 => {
                for (i, q) in b.q.iter_mut().take(32).enumerate() {
                    *q = i16::from(i8::from_le_bytes([byte(block, 2 + i)]));
                }
            }
            ElementType::Q4_K => {
                b.super_block(block);
                b.pairs(block, 16, None);
            }
            ElementType::Q5_K => {
                b.super_block(block);
                b.pairs(block, 48, Some(16));
            }
            ElementType::Q6_K => b.six_bits(block),
            _ => {}
        }
        b
    }

    /// Like [`Quants::read`] for Q4_K or Q5_K, but without the integers.
    pub fn read_head(element_type: ElementType, block: &[u8]) -> Self {
        let mut b =
            Self { q: [0; 256], d: word16(block, 0), m: 0, scales: [0; 16], minima: [0; 8] };
        if matches!(element_type, ElementType::Q4_K | ElementType::Q5_K) {
            b.super_block(block);
        }
        b
    }

    /// Reads 32 elements: the low nibbles are the first 16, the high ones the others.
    fn nibbles(&mut self, block: &[u8], at: usize, fifth: Option<usize>) {
        for (i, q) in self.q.iter_mut().take(32).enumerate() {
            let pair = byte(block, at + i % 16);
            let nibble = if i < 16 { pair & 15 } else { pair >> 4 };
            let fifth = fifth.map_or(0, |f| byte(block, f + i / 8) >> (i % 8) & 1);
            *q = i16::from(nibble | fifth << 4);
        }
    }

    /// Reads d, dmin and the packed scales and minima of Q4_K and Q5_K.
    fn super_block(&mut self, block: &[u8]) {
        self.m = word16(block, 2);
        let packed = |i: usize| byte(block, 4 + i);
        for (i, (scale, min)) in self.scales.iter_mut().zip(&mut self.minima).enumerate() {
            let (sc, mn) = if i < 4 {
                (packed(i) & 63, packed(i + 4) & 63)
            } else {
                (
                    (packed(i + 4) & 15) | (packed(i - 4) >> 6) << 4,
                    (packed(i + 4) >> 4) | (packed(i) >> 6) << 4,
                )
            };
            (*scale, *min) = (sc.cast_signed(), mn);
        }
    }

    /// Reads 256 elements: the low nibbles of 32 bytes are 32 elements, the high ones the next 32.
    fn pairs(&mut self, block: &[u8], at: usize, fifth: Option<usize>) {
        for (i, q) in self.q.iter_mut().enumerate() {
            let (sub, l) = (i / 32, i % 32);
            let pair = byte(block, at + sub / 2 * 32 + l);
            let nibble = if sub % 2 == 0 { pair & 15 } else { pair >> 4 };
            let fifth = fifth.map_or(0, |f| byte(block, f + l) >> sub & 1);
            *q = i16::from(nibble | fifth << 4);
        }
    }

    fn six_bits(&mut self, block: &[u8]) {
        for (i, q) in self.q.iter_mut().enumerate() {
            let (half, quarter, l) = (i / 128, i % 128 / 32, i % 32);
            let low = byte(block, half * 64 + quarter % 2 * 32 + l);
            let low = if quarter < 2 { low & 15 } else { low >> 4 };
            let high = byte(block, 128 + half * 32 + l) >> (2 * quarter) & 3;
            *q = i16::from(low | high << 4);
        }
        for (i, scale) in self.scales.iter_mut().enumerate() {
            *scale = byte(block, 192 + i).cast_signed();
        }
        self.d = word16(block, 208);
    }
}

/// Dequantises whole blocks in f32, in ggml's order of operations. The result is empty for types that are
/// not ggml's blocks.
pub fn dequantize(element_type: ElementType, bytes: &[u8]) -> Vec<f32> {
    let block = element_type.block();
    let (elements, size) = (len(block.elements), len(block.bytes));
    let mut out = Vec::with_capacity(bytes.len() / size.max(1) * elements);
    if elements == 1 {
        return out;
    }
    for bytes in bytes.chunks_exact(size.max(1)) {
        let b = Quants::read(element_type, bytes);
        let (d, m) = (f16::from_bits(b.d).to_f32(), f16::from_bits(b.m).to_f32());
        let scale = |i: usize| f32::from(b.scales.get(i).copied().unwrap_or(0));
        let min = |i: usize| f32::from(b.minima.get(i).copied().unwrap_or(0));
        for (i, q) in b.q.iter().take(elements).enumerate() {
            let q = f32::from(*q);
            out.push(match element_type {
                ElementType::Q4_0 => d * (q - 8.0),
                ElementType::Q5_0 => d * (q - 16.0),
                ElementType::Q4_1 | ElementType::Q5_1 => d * q + m,
                ElementType::Q4_K | ElementType::Q5_K => d * scale(i / 32) * q - m * min(i / 32),
                ElementType::Q6_K => d * scale(i / 16) * (q - 32.0),
                _ => d * q,
            });
        }
    }
    out
}

/// Quantises rows of whole blocks of 32 like ggml: Q4_0 (`d` = value of largest magnitude / -8) or Q8_0
/// (`d` = largest magnitude / 127). `None` for other types.
///
/// Source: ggml `quantize_row_q4_0_ref`, `quantize_row_q8_0_ref`.
pub fn quantize(element_type: ElementType, values: &[f32]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(values.len());
    for block in values.chunks(32) {
        match element_type {
            ElementType::Q4_0 => {
                let most =
                    block.iter().fold(0.0_f32, |a, &v| if v.abs() > a.abs() { v } else { a });
                let d = most / -8.0;
                let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
                out.extend(f16::from_f32(d).to_bits().to_le_bytes());
                let q = |i: usize| {
                    let v = block.get(i).copied().unwrap_or(0.0) * inverse + 8.5;
                    nibble(v)
                };
                out.extend((0..16).map(|i| q(i) | q(i + 16) << 4));
            }
            ElementType::Q8_0 => {
                let most = block.iter().fold(0.0_f32, |a, v| a.max(v.abs()));
                let d = most / 127.0;
                let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
                out.extend(f16::from_f32(d).to_bits().to_le_bytes());
                out.extend((0..32).map(|i| {
                    let v = block.get(i).copied().unwrap_or(0.0) * inverse;
                    round_i8(v).to_le_bytes()[0]
                }));
            }
            _ => return None,
        }
    }
    Some(out)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn nibble(v: f32) -> u8 {
    v.clamp(0.0, 15.0) as u8
}

#[allow(clippy::cast_possible_truncation, reason = "clamped")]
fn round_i8(v: f32) -> i8 {
    v.round().clamp(-127.0, 127.0) as i8
}

fn len(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn q4_0_is_laid_out_as_in_ggml() {
        // d = 1: element 0 is 15 - 8, element 16 is 1 - 8.
        let mut block = vec![0_u8; 18];
        block[..2].copy_from_slice(&f16::from_f32(1.0).to_le_bytes());
        block[2] = 0x1f;
        let values = dequantize(ElementType::Q4_0, &block);
        assert_eq!((values[0], values[16], values[1]), (7.0, -7.0, -8.0));
    }

    #[test]
    fn quantised_values_are_near() {
        let values: Vec<f32> = (0..64_i16).map(|i| (f32::from(i) - 20.0) * 0.37).collect();
        for (element_type, steps) in [(ElementType::Q4_0, 8.0), (ElementType::Q8_0, 127.0)] {
            let bytes = quantize(element_type, &values).unwrap();
            let back = dequantize(element_type, &bytes);
            for (block, (want, got)) in values.chunks(32).zip(back.chunks(32)).enumerate() {
                let most = want.iter().fold(0.0_f32, |a, v| a.max(v.abs()));
                for (w, g) in want.iter().zip(got) {
                    // Half a step; a whole step at the positive end, which Q4_0 lacks (its integers are -8 to 7).
                    assert!((w - g).abs() <= most / steps * 1.01, "{block}: {w} became {g}");
                }
            }
        }
        assert_eq!(quantize(ElementType::Q4_K, &values), None);
    }
}
