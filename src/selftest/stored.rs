//! Weights of kernel cases: in a file's format, in the GPU's format, and decoded.

use super::{Fill, Rng};
use crate::formats::ElementType;
use crate::gpu::{Device, GpuError};
use crate::kernels::{Format, Matrix, MatrixPart, values};
use crate::reference::{encode_bf16, encode_f16, encode_f32};

/// Weights in a file's format, and their values.
pub(super) struct Stored {
    format: Format,
    element_type: ElementType,
    bytes: Vec<u8>,
    /// Decoded values.
    pub values: Vec<f32>,
}

impl Stored {
    /// `n` elements, whole blocks of them.
    pub fn new(format: Format, fill: Fill, rng: &mut Rng, n: usize) -> Self {
        let words = |words: Vec<u32>| bytemuck::cast_slice::<u32, u8>(&words).to_vec();
        let (element_type, bytes) = match format {
            Format::F32 => (ElementType::F32, words(encode_f32(&fill.values(rng, n)))),
            Format::F16 => (ElementType::F16, words(encode_f16(&fill.values(rng, n)))),
            Format::Bf16 => (ElementType::BF16, words(encode_bf16(&fill.values(rng, n)))),
            Format::Q8 => (ElementType::Q8_0, blocks(ElementType::Q8_0, fill, rng, n)),
            Format::Q4 => (ElementType::Q4_0, blocks(ElementType::Q4_0, fill, rng, n)),
            Format::Q4K => (ElementType::Q4_K, blocks(ElementType::Q4_K, fill, rng, n)),
            Format::Q5K => (ElementType::Q5_K, blocks(ElementType::Q5_K, fill, rng, n)),
            Format::Q6K => (ElementType::Q6_K, blocks(ElementType::Q6_K, fill, rng, n)),
        };
        let values = values(element_type, &bytes);
        Self { format, element_type, bytes, values }
    }

    /// Uploads `[experts, rows, cols]` in parts of at most `max_bytes`.
    pub async fn matrix(
        &self,
        device: &Device,
        (experts, rows, cols): (usize, usize, usize),
        max_bytes: u64,
    ) -> Result<Matrix, GpuError> {
        let mut parts = Vec::new();
        let limit = max_bytes.min(device.caps().max_part());
        let block = self.element_type.block();
        let row_bytes = cols / block.elements as usize * block.bytes as usize;
        for (first_row, n) in Matrix::split(self.format, experts, 0..rows, cols, limit) {
            let bytes: Vec<u8> = (0..experts)
                .flat_map(|e| &self.bytes[(e * rows + first_row) * row_bytes..][..n * row_bytes])
                .copied()
                .collect();
            let planes = self.format.planes(experts * n * cols);
            let mut words = vec![0; planes.words];
            let starts = std::iter::once(0).chain(planes.at.iter().map(|at| *at as usize));
            let mut packed = Vec::new();
            self.format.pack(self.element_type, &bytes, &mut packed);
            for (at, plane) in starts.zip(packed) {
                let plane: Vec<u32> = plane
                    .chunks(4)
                    .map(|c| c.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)))
                    .collect();
                words[at..at + plane.len()].copy_from_slice(&plane);
            }
            let data = device.tensor_of("weight", &words).await?;
            parts.push(MatrixPart { format: self.format, first_row, rows: n, data, planes });
        }
        Ok(Matrix { experts, rows, cols, parts, lora: None })
    }
}

/// Blocks of random integers and scales.
fn blocks(element_type: ElementType, fill: Fill, rng: &mut Rng, n: usize) -> Vec<u8> {
    let block = element_type.block();
    let (n, size) = (n / block.elements as usize, block.bytes as usize);
    // Offsets of the f16 scales in a block.
    let halves: &[usize] = match element_type {
        ElementType::Q4_K | ElementType::Q5_K => &[0, 2],
        ElementType::Q6_K => &[208],
        _ => &[0],
    };
    let mut bytes: Vec<u8> = match fill {
        Fill::Zero => return vec![0; n * size],
        Fill::Equal => (0..size).map(|_| rng.below(256) as u8).collect::<Vec<_>>().repeat(n),
        _ => (0..n * size).map(|_| rng.below(256) as u8).collect(),
    };
    let equal = rng.normal();
    let nan = rng.below(n.max(1));
    for (i, block) in bytes.chunks_exact_mut(size).enumerate() {
        for at in halves {
            let d = match fill {
                Fill::Equal => equal,
                Fill::OneNan if i == nan => f32::NAN,
                Fill::Extreme => {
                    [0.0, 6e-8, -6.1e-5, 65504.0, -65504.0, rng.normal()][rng.below(6)]
                }
                _ => rng.normal(),
            };
            block[*at..*at + 2].copy_from_slice(&half::f16::from_f32(d).to_le_bytes());
        }
    }
    bytes
}
