//! Checkpoints without files: seeded random weights of any shape and type, generated when they are read. They
//! measure a model's real size and speed without a download.

use std::sync::Arc;

use half::f16;

use super::checkpoint::Checkpoint;
use super::source::{ByteSource, SourceError};
use super::{ElementType, TensorInfo};

/// Content of a synthetic tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synthetic {
    /// Values near 1 in f32, for norms.
    Ones,
    /// Values of either sign with the magnitude of trained weights, in any weight type.
    Weights(ElementType),
}

/// Makes a checkpoint of tensors by name, shape and content. `name` is its name in errors.
pub fn synthetic(
    name: &str,
    tensors: impl IntoIterator<Item = (String, Vec<usize>, Synthetic)>,
) -> Checkpoint {
    let mut kinds: Vec<(Synthetic, u64)> = Vec::new();
    let mut infos = Vec::new();
    for (tensor, shape, kind) in tensors {
        let file = kinds.iter().position(|(k, _)| *k == kind).unwrap_or_else(|| {
            kinds.push((kind, 0));
            kinds.len() - 1
        });
        let element_type = match kind {
            Synthetic::Ones => ElementType::F32,
            Synthetic::Weights(element_type) => element_type,
        };
        let elements = shape.iter().map(|&d| u64::try_from(d).unwrap_or(u64::MAX)).product();
        let bytes = element_type.bytes_of(elements).unwrap_or(0);
        let Some((_, end)) = kinds.get_mut(file) else { continue };
        infos.push(TensorInfo {
            name: tensor,
            element_type,
            shape,
            range: *end..*end + bytes,
            file,
        });
        *end += bytes;
    }
    let sources = kinds.into_iter().map(|(kind, len)| {
        Arc::new(Noise { name: name.to_owned(), kind, len }) as Arc<dyn ByteSource>
    });
    Checkpoint::from_parts(name, sources.collect(), infos)
}

/// A source of random bytes, determined by their offset, with valid scales in each block.
#[derive(Debug)]
struct Noise {
    name: String,
    kind: Synthetic,
    len: u64,
}

/// The random word with this index: SplitMix64.
fn noise(index: u64) -> u64 {
    let z = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Noise {
    /// Offsets and values of the f16 scales in a block, chosen so that weights have a standard deviation of about 0.02.
    fn scales(element_type: ElementType) -> &'static [(usize, f32)] {
        match element_type {
            ElementType::Q4_0 | ElementType::Q5_0 => &[(0, 0.004)],
            ElementType::Q4_1 | ElementType::Q5_1 => &[(0, 0.004), (2, -0.03)],
            ElementType::Q8_0 => &[(0, 0.000_27)],
            ElementType::Q4_K => &[(0, 0.000_06), (2, 0.000_45)],
            ElementType::Q5_K => &[(0, 0.000_03), (2, 0.000_45)],
            ElementType::Q6_K => &[(208, 0.000_015)],
            _ => &[],
        }
    }

    fn fill(&self, offset: u64, buf: &mut [u8]) {
        // The first word may begin before the offset.
        let skipped = usize::try_from(offset % 8).unwrap_or(0);
        let (head, rest) = buf.split_at_mut(((8 - skipped) % 8).min(buf.len()));
        let random = noise(offset / 8).to_le_bytes();
        for (byte, random) in head.iter_mut().zip(random.iter().skip(skipped)) {
            *byte = *random;
        }
        for (index, bytes) in (offset.div_ceil(8)..).zip(rest.chunks_mut(8)) {
            for (byte, random) in bytes.iter_mut().zip(noise(index).to_le_bytes()) {
                *byte = random;
            }
        }
        match self.kind {
            Synthetic::Ones => floats(buf, |v| 1.0 + 0.1 * v),
            Synthetic::Weights(ElementType::F32) => floats(buf, |v| 0.03 * v),
            Synthetic::Weights(ElementType::F16) => {
                halves(buf, |v| f16::from_f32(0.03 * v).to_le_bytes());
            }
            Synthetic::Weights(ElementType::BF16) => {
                halves(buf, |v| half::bf16::from_f32(0.03 * v).to_le_bytes());
            }
            Synthetic::Weights(element_type) => {
                let size = usize::try_from(element_type.block().bytes).unwrap_or(1);
                let scales = Self::scales(element_type);
                for block in buf.chunks_mut(size) {
                    // Integers without a minimum have the mean -1/2. With scales of one sign, every row of a matrix would
                    // add the same multiple of the sum of its inputs, and after a few layers all tokens would choose the
                    // same experts. The sign is a random bit that the scale replaces.
                    let negative = match scales {
                        [(at, _)] => block.get(*at).is_some_and(|byte| byte % 2 == 1),
                        _ => false,
                    };
                    for (at, d) in scales {
                        let d = f16::from_f32(if negative { -d } else { *d });
                        if let Some(place) = block.get_mut(*at..*at + 2) {
                            place.copy_from_slice(&d.to_le_bytes());
                        }
                    }
                }
            }
        }
    }
}

/// Replaces each 32-bit word by `value` of a random number in -1 .. 1.
fn floats(buf: &mut [u8], value: impl Fn(f32) -> f32) {
    for bytes in buf.chunks_exact_mut(4) {
        let v = bytes.iter().fold(0_u16, |a, b| a << 4 ^ u16::from(*b));
        bytes.copy_from_slice(&value(f32::from(v) / 32_768.0 - 1.0).to_le_bytes());
    }
}

fn halves(buf: &mut [u8], value: impl Fn(f32) -> [u8; 2]) {
    for bytes in buf.chunks_exact_mut(2) {
        let v = bytes.iter().fold(0_u16, |a, b| a << 8 ^ u16::from(*b));
        bytes.copy_from_slice(&value(f32::from(v) / 32_768.0 - 1.0));
    }
}

impl ByteSource for Noise {
    fn len(&self) -> u64 {
        self.len
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn read_blocking(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        // Every read is of whole blocks.
        self.fill(offset, buf);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn bytes_do_not_depend_on_how_they_are_read() {
        let noise = Noise {
            name: String::new(),
            kind: Synthetic::Weights(ElementType::Q4_0),
            len: 18 * 40,
        };
        let mut whole = vec![0; 18 * 40];
        noise.fill(0, &mut whole);
        for (from, to) in [(1, 2), (3, 40), (7, 8), (0, 9)] {
            let mut piece = vec![0; 18 * (to - from)];
            noise.fill(18 * from as u64, &mut piece);
            assert_eq!(piece, whole[18 * from..18 * to], "blocks {from} to {to}");
        }
    }

    /// Otherwise all tokens would choose the same experts.
    #[test]
    fn quantised_weights_have_the_mean_0() {
        let kind = Synthetic::Weights(ElementType::Q4_0);
        let mut bytes = vec![0; 18 * 2000];
        Noise { name: String::new(), kind, len: bytes.len() as u64 }.fill(0, &mut bytes);
        let weights = bytes.chunks(18).flat_map(|block| {
            let d = f32::from(f16::from_le_bytes([block[0], block[1]]));
            let integers = block[2..].iter().flat_map(|byte| [byte & 15, byte >> 4]);
            integers.map(move |q| d * (f32::from(q) - 8.0)).collect::<Vec<_>>()
        });
        let mean = weights.sum::<f32>() / 64_000.0;
        // The standard error is 0.018 / 253 = 7e-5; with positive scales the mean was -0.002.
        assert!(mean.abs() < 3e-4, "{mean}");
    }
}
