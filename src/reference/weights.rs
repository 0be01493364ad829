//! 32-bit and 16-bit floats as words of a GPU buffer.

use half::{bf16, f16};

/// Encodes `values` in f32.
#[must_use]
pub fn encode_f32(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Decodes words of f32.
#[must_use]
pub fn decode_f32(words: &[u32]) -> Vec<f32> {
    words.iter().map(|w| f32::from_bits(*w)).collect()
}

fn pairs(values: &[f32], bits: fn(f32) -> u16) -> Vec<u32> {
    values
        .chunks(2)
        .map(|p| {
            let high = p.get(1).map_or(0, |v| bits(*v));
            u32::from(bits(p[0])) | (u32::from(high) << 16)
        })
        .collect()
}

fn halves(words: &[u32], value: fn(u16) -> f32) -> Vec<f32> {
    words.iter().flat_map(|w| [(w & 0xffff) as u16, (w >> 16) as u16]).map(value).collect()
}

/// Encodes `values` in f16, two in a word, the first in the low half. They are rounded to nearest even
/// and clamped to the largest finite values of f16.
#[must_use]
pub fn encode_f16(values: &[f32]) -> Vec<u32> {
    pairs(values, |v| f16::from_f32(v.clamp(-65504.0, 65504.0)).to_bits())
}

/// Decodes words of f16.
#[must_use]
pub fn decode_f16(words: &[u32]) -> Vec<f32> {
    halves(words, |h| f16::from_bits(h).to_f32())
}

/// Encodes `values` in bfloat16, two in a word, the first in the low half, rounded to nearest even.
#[must_use]
pub fn encode_bf16(values: &[f32]) -> Vec<u32> {
    pairs(values, |v| bf16::from_f32(v).to_bits())
}

/// Decodes words of bfloat16.
#[must_use]
pub fn decode_bf16(words: &[u32]) -> Vec<f32> {
    halves(words, |h| bf16::from_bits(h).to_f32())
}

/// `value` after storage in an f16 KV cache.
#[must_use]
pub fn round_f16(value: f32) -> f32 {
    f16::from_f32(value.clamp(-65504.0, 65504.0)).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bit_words_round_trip() {
        for bits in 0..=u16::MAX {
            let half = f16::from_bits(bits);
            if half.is_finite() {
                let words = encode_f16(&[half.to_f32(), 1.0]);
                assert_eq!(words, [u32::from(bits) | 0x3c00_0000]);
                assert_eq!(decode_f16(&words)[0].to_bits(), half.to_f32().to_bits());
            }
            let brain = bf16::from_bits(bits);
            if brain.is_finite() {
                let words = encode_bf16(&[1.0, brain.to_f32()]);
                assert_eq!(words, [0x3f80 | (u32::from(bits) << 16)]);
                assert_eq!(decode_bf16(&words)[1].to_bits(), brain.to_f32().to_bits());
            }
        }
    }

    #[test]
    fn values_beyond_f16_are_clamped() {
        assert_eq!(round_f16(1e30), 65504.0);
        assert_eq!(round_f16(-65520.0), -65504.0);
        assert_eq!(round_f16(1.0 + 0.000_244_140_63), 1.0);
    }
}
