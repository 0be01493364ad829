//! ggml's blocks against PyPI `gguf` (tools/block_fixtures.py).

use lfm2_wgpu::formats::ElementType;
use lfm2_wgpu::formats::blocks::dequantize;
use lfm2_wgpu::kernels::Format;
use safetensors::SafeTensors;

const TYPES: [ElementType; 8] = [
    ElementType::Q4_0,
    ElementType::Q4_1,
    ElementType::Q5_0,
    ElementType::Q5_1,
    ElementType::Q8_0,
    ElementType::Q4_K,
    ElementType::Q5_K,
    ElementType::Q6_K,
];

#[test]
fn blocks_hold_the_values_that_gguf_reads() {
    let file =
        std::fs::read(crate::tidy::root().join("tests/fixtures/blocks.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    for element_type in TYPES {
        let name = element_type.name();
        let bytes = tensors.tensor(name).unwrap();
        let values = tensors.tensor(&format!("{name}.values")).unwrap();
        let want: Vec<f32> = values
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        let got = dequantize(element_type, bytes.data());
        assert_eq!(got.len(), want.len(), "{name}");
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let close = (got - want).abs() <= 1e-6 * want.abs().max(1.0);
            assert!(close, "{name}: element {i} is {got}, gguf reads {want}");
        }
    }
}

/// No published type takes more bytes on the GPU than in its file.
#[test]
fn formats_are_as_small_as_the_blocks() {
    let wide = [ElementType::Q4_1, ElementType::Q5_0, ElementType::Q5_1];
    for element_type in TYPES.into_iter().filter(|t| !wide.contains(t)) {
        let in_file = element_type.bytes_of(2048).unwrap();
        assert_eq!(Format::of(element_type).row_bytes(2048) as u64, in_file, "{element_type}");
    }
}
