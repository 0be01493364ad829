//! Twin of the parts `kv_store=q8` and `kv=q8` of `shaders/lib/kv.wgsl`: heads of keys or values as 8-bit
//! integers in blocks of 32, and back.

use half::f16;

const BLOCK: usize = 32;

/// The scale of a block: its largest magnitude / 127, clamped to the normal and finite halves; NaN if the
/// block has a NaN.
#[must_use]
pub fn q8_scale(block: &[f32]) -> f32 {
    if block.iter().any(|v| v.is_nan()) {
        return f32::NAN;
    }
    let largest = block.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    f16::from_f32((largest / 127.0).clamp(f16::MIN_POSITIVE.to_f32(), 65504.0)).to_f32()
}

/// Encodes `values`, heads of `head_dim` (a multiple of 32), in words: all integers, four in a word, the
/// first in the low byte; then the scales, two in a word, with words of their own for every head.
#[must_use]
pub fn encode_kv_q8(values: &[f32], head_dim: usize) -> Vec<u32> {
    let mut words = Vec::new();
    for block in values.chunks(BLOCK) {
        let d = q8_scale(block);
        // A NaN becomes 0 here, and the scale of its block is NaN.
        let byte = |v: &f32| ((v / d).round_ties_even().clamp(-127.0, 127.0) as i8) as u8;
        words.extend(block.chunks(4).map(|four| {
            let bytes: Vec<u8> = four.iter().map(byte).collect();
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        }));
    }
    for head in values.chunks(head_dim) {
        let scales: Vec<u32> =
            head.chunks(BLOCK).map(|b| f16::from_f32(q8_scale(b)).to_bits().into()).collect();
        words.extend(scales.chunks(2).map(|p| p[0] | (p.get(1).unwrap_or(&0) << 16)));
    }
    words
}

/// Decodes `words` to values.
#[must_use]
pub fn decode_kv_q8(words: &[u32], head_dim: usize) -> Vec<f32> {
    let scale_words = head_dim.div_ceil(2 * BLOCK);
    let heads = words.len() / (head_dim / 4 + scale_words);
    let (integers, scales) = words.split_at(heads * head_dim / 4);
    let mut values = Vec::new();
    for (i, word) in integers.iter().enumerate() {
        let (head, block) = (i * 4 / head_dim, i * 4 % head_dim / BLOCK);
        let pair = scales[head * scale_words + block / 2].to_le_bytes();
        let at = block % 2 * 2;
        let d = f16::from_le_bytes([pair[at], pair[at + 1]]).to_f32();
        values.extend(word.to_le_bytes().map(|byte| d * f32::from(byte as i8)));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_odd_and_even_blocks_round_trip() {
        for head_dim in [32, 64, 96] {
            let values: Vec<f32> =
                (0..head_dim * 3).map(|i| (i as f32 * 1.7).sin() * (1 + i / 32) as f32).collect();
            let words = encode_kv_q8(&values, head_dim);
            assert_eq!(words.len(), 3 * (head_dim / 4 + head_dim.div_ceil(64)));
            let back = decode_kv_q8(&words, head_dim);
            for (block, kept) in values.chunks(32).zip(back.chunks(32)) {
                let d = q8_scale(block);
                assert!(block.iter().zip(kept).all(|(v, k)| (v - k).abs() <= d * 0.501));
            }
            // Decoded values are stored exactly.
            assert_eq!(decode_kv_q8(&encode_kv_q8(&back, head_dim), head_dim), back);
        }
    }

    #[test]
    fn scales_are_clamped_and_keep_nan() {
        let mut block = [0.0f32; 32];
        assert_eq!(decode_kv_q8(&encode_kv_q8(&block, 32), 32), block);
        block[3] = 1e30;
        block[4] = 1.0;
        assert_eq!(decode_kv_q8(&encode_kv_q8(&block, 32), 32)[3..5], [127.0 * 65504.0, 0.0]);
        block[5] = f32::NAN;
        assert!(decode_kv_q8(&encode_kv_q8(&block, 32), 32).iter().all(|v| v.is_nan()));
    }
}
