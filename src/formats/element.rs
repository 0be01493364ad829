//! Element types of tensors in files.

use std::fmt;

/// The type of a tensor's elements in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, non_camel_case_types, reason = "the names are the formats' own")]
pub enum ElementType {
    F32,
    F16,
    BF16,
    F64,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    C64,
    F8E5M2,
    F8E4M3,
    F8E8M0,
    F8E5M2Fnuz,
    F8E4M3Fnuz,
    F6E2M3,
    F6E3M2,
    F4,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

/// Size of a type's block, the smallest unit in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of elements that are stored together, along a row.
    pub elements: u64,
    /// Number of bytes of the block.
    pub bytes: u64,
}

/// The project that defines a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// <https://github.com/huggingface/safetensors>
    Safetensors,
    /// ggml, `ggml-common.h`: blocks of quantised values with their scales.
    Ggml,
}

use Origin::{Ggml, Safetensors};

/// Every element type: its name, the elements and bytes of a block, and its origin.
const ELEMENT_TYPES: [(ElementType, &str, u64, u64, Origin); 30] = [
    (ElementType::F32, "F32", 1, 4, Safetensors),
    (ElementType::F16, "F16", 1, 2, Safetensors),
    (ElementType::BF16, "BF16", 1, 2, Safetensors),
    (ElementType::F64, "F64", 1, 8, Safetensors),
    (ElementType::I64, "I64", 1, 8, Safetensors),
    (ElementType::I32, "I32", 1, 4, Safetensors),
    (ElementType::I16, "I16", 1, 2, Safetensors),
    (ElementType::I8, "I8", 1, 1, Safetensors),
    (ElementType::U64, "U64", 1, 8, Safetensors),
    (ElementType::U32, "U32", 1, 4, Safetensors),
    (ElementType::U16, "U16", 1, 2, Safetensors),
    (ElementType::U8, "U8", 1, 1, Safetensors),
    (ElementType::Bool, "BOOL", 1, 1, Safetensors),
    (ElementType::C64, "C64", 1, 8, Safetensors),
    (ElementType::F8E5M2, "F8_E5M2", 1, 1, Safetensors),
    (ElementType::F8E4M3, "F8_E4M3", 1, 1, Safetensors),
    (ElementType::F8E8M0, "F8_E8M0", 1, 1, Safetensors),
    (ElementType::F8E5M2Fnuz, "F8_E5M2FNUZ", 1, 1, Safetensors),
    (ElementType::F8E4M3Fnuz, "F8_E4M3FNUZ", 1, 1, Safetensors),
    (ElementType::F6E2M3, "F6_E2M3", 4, 3, Safetensors),
    (ElementType::F6E3M2, "F6_E3M2", 4, 3, Safetensors),
    (ElementType::F4, "F4", 2, 1, Safetensors),
    (ElementType::Q4_0, "Q4_0", 32, 18, Ggml),
    (ElementType::Q4_1, "Q4_1", 32, 20, Ggml),
    (ElementType::Q5_0, "Q5_0", 32, 22, Ggml),
    (ElementType::Q5_1, "Q5_1", 32, 24, Ggml),
    (ElementType::Q8_0, "Q8_0", 32, 34, Ggml),
    (ElementType::Q4_K, "Q4_K", 256, 144, Ggml),
    (ElementType::Q5_K, "Q5_K", 256, 176, Ggml),
    (ElementType::Q6_K, "Q6_K", 256, 210, Ggml),
];

impl ElementType {
    fn row(self) -> (&'static str, Block, Origin) {
        ELEMENT_TYPES.iter().find(|(element_type, ..)| *element_type == self).map_or(
            ("?", Block { elements: 1, bytes: 1 }, Safetensors),
            |&(_, name, elements, bytes, origin)| (name, Block { elements, bytes }, origin),
        )
    }

    /// The type with this name in a safetensors header.
    pub fn from_name(name: &str) -> Option<Self> {
        ELEMENT_TYPES
            .iter()
            .find(|(_, known, .., origin)| *known == name && *origin == Safetensors)
            .map(|&(element_type, ..)| element_type)
    }

    /// The block type with this name in ggml.
    pub fn from_block_name(name: &str) -> Option<Self> {
        ELEMENT_TYPES
            .iter()
            .find(|(_, known, .., origin)| *known == name && *origin == Ggml)
            .map(|&(element_type, ..)| element_type)
    }

    /// Its name in a safetensors header or in ggml, e.g. `BF16`, `Q4_0`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Size of its block.
    pub fn block(self) -> Block {
        self.row().1
    }

    /// Bytes of `elements` elements; `None` if they are not whole blocks, or on overflow.
    pub fn bytes_of(self, elements: u64) -> Option<u64> {
        let block = self.block();
        if !elements.is_multiple_of(block.elements) {
            return None;
        }
        (elements / block.elements).checked_mul(block.bytes)
    }

    /// Whether weights of this type are supported: F32, F16, BF16 and ggml's blocks.
    pub fn is_weight(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16) || self.row().2 == Ggml
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
