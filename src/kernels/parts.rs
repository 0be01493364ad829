//! Choices of shader parts: an enum for each import of the product kernels. [`Reduce`](super::Reduce),
//! [`Epilogue`](super::Epilogue) and the formats of keys and values are choices too.

use super::{Activations, Epilogue, KvFormat, Reduce};
use crate::gpu::{Caps, Needs, ShaderPart};

/// The items of a product: `#import items`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemsPart {
    Dense,
    Gather,
    Combine,
    GroupedIn,
    GroupedOut,
}

impl ShaderPart for ItemsPart {
    const IMPORT: &'static str = "items";

    fn part_name(&self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Gather => "gather",
            Self::Combine => "combine",
            Self::GroupedIn => "grouped_in",
            Self::GroupedOut => "grouped_out",
        }
    }
}

/// The choice of a row's experts: `#import choice`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChoicePart {
    /// By all lanes of a workgroup.
    Together,
    /// By each lane for itself.
    Alone,
}

impl ChoicePart {
    /// The part for lanes that share rows, or own them.
    pub(crate) fn new(reduce: Reduce) -> Self {
        if reduce.is_serial() { Self::Alone } else { Self::Together }
    }
}

impl ShaderPart for ChoicePart {
    const IMPORT: &'static str = "choice";

    fn part_name(&self) -> &'static str {
        match self {
            Self::Together => "together",
            Self::Alone => "alone",
        }
    }
}

/// Decoding of weights: `#import weights`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WeightsPart {
    F32,
    F16,
    F16Native,
    Bf16,
    Q8,
    Q4,
    /// Q4 for products by slices.
    Q4Pairs,
    Q4K,
    Q5K,
    Q6K,
}

impl WeightsPart {
    /// Whether the weights are integers in blocks.
    pub(crate) fn is_quantised(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::F16Native | Self::Bf16)
    }
}

impl ShaderPart for WeightsPart {
    const IMPORT: &'static str = "weights";

    fn part_name(&self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::F16Native => "f16_native",
            Self::Bf16 => "bf16",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
            Self::Q4Pairs => "q4_pairs",
            Self::Q4K => "q4k",
            Self::Q5K => "q5k",
            Self::Q6K => "q6k",
        }
    }

    fn needs(&self) -> Needs {
        Needs { f16: *self == Self::F16Native, ..Needs::default() }
    }
}

/// Products of weights with inputs in `matvec`: `#import product`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProductPart {
    pub weights: WeightsPart,
    /// Counts for quantised weights only.
    pub activations: Activations,
    /// A lane takes two slices, half a block, at a time in place of a block; for quantised weights and float
    /// activations.
    pub slices: bool,
}

impl ProductPart {
    /// The part for lanes that share rows or own them. Lanes that share rows take slices. With int8 activations
    /// they take blocks, since a block's inputs are rounded together.
    pub(crate) fn new(weights: WeightsPart, activations: Activations, reduce: Reduce) -> Self {
        let float = activations == Activations::Float;
        Self {
            weights,
            activations,
            slices: float && weights.is_quantised() && !reduce.is_serial(),
        }
    }

    /// The part that loads the weights.
    pub(crate) fn weights(&self) -> WeightsPart {
        match self.weights {
            WeightsPart::Q4 if self.slices => WeightsPart::Q4Pairs,
            weights => weights,
        }
    }
}

impl ShaderPart for ProductPart {
    const IMPORT: &'static str = "product";

    fn part_name(&self) -> &'static str {
        use Activations::{Float, Int8};
        if self.slices {
            return match self.weights {
                WeightsPart::Q8 => "q8_slices",
                WeightsPart::Q4K => "q4k_slices",
                WeightsPart::Q5K => "q5k_slices",
                WeightsPart::Q6K => "q6k_slices",
                _ => "q4_slices",
            };
        }
        match (self.weights, self.activations) {
            (
                WeightsPart::F32 | WeightsPart::F16 | WeightsPart::F16Native | WeightsPart::Bf16,
                _,
            ) => "float",
            (WeightsPart::Q8, Float) => "q8",
            (WeightsPart::Q8, Int8) => "q8_int8",
            (WeightsPart::Q4 | WeightsPart::Q4Pairs, Float) => "q4",
            (WeightsPart::Q4 | WeightsPart::Q4Pairs, Int8) => "q4_int8",
            (WeightsPart::Q4K, Float) => "q4k",
            (WeightsPart::Q4K, Int8) => "q4k_int8",
            (WeightsPart::Q5K, Float) => "q5k",
            (WeightsPart::Q5K, Int8) => "q5k_int8",
            (WeightsPart::Q6K, Float) => "q6k",
            (WeightsPart::Q6K, Int8) => "q6k_int8",
        }
    }
}

/// RMSNorm of the inputs of `matvec`: `#import norm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NormPart {
    None,
    Rms,
}

impl NormPart {
    pub(crate) fn new(norm: bool) -> Self {
        if norm { Self::Rms } else { Self::None }
    }
}

impl ShaderPart for NormPart {
    const IMPORT: &'static str = "norm";

    fn part_name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Rms => "rms",
        }
    }
}

/// Loading of a block of inputs in `matvec`: `#import input`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputPart {
    F32,
    Broadcast,
    Int8,
}

impl ShaderPart for InputPart {
    const IMPORT: &'static str = "input";

    fn part_name(&self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Broadcast => "broadcast",
            Self::Int8 => "int8",
        }
    }

    fn needs(&self) -> Needs {
        Needs { subgroups: *self == Self::Broadcast, ..Needs::default() }
    }
}

/// LoRA adapters of the rows: `#import lora`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoraPart {
    None,
    Added,
}

impl LoraPart {
    pub(crate) fn new(lora: bool) -> Self {
        if lora { Self::Added } else { Self::None }
    }
}

impl ShaderPart for LoraPart {
    const IMPORT: &'static str = "lora";

    fn part_name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Added => "added",
        }
    }
}

/// Experts of products with the factors of adapters: `#import of_expert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfExpertPart {
    None,
    Chosen,
    Listed,
}

impl ShaderPart for OfExpertPart {
    const IMPORT: &'static str = "of_expert";

    fn part_name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Chosen => "chosen",
            Self::Listed => "listed",
        }
    }
}

/// Biases of rows: `#import bias`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BiasPart {
    None,
    Row,
}

impl BiasPart {
    pub(crate) fn new(bias: bool) -> Self {
        if bias { Self::Row } else { Self::None }
    }
}

impl ShaderPart for BiasPart {
    const IMPORT: &'static str = "bias";

    fn part_name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Row => "row",
        }
    }
}

impl ShaderPart for Epilogue {
    const IMPORT: &'static str = "epilogue";

    fn part_name(&self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Add => "add",
            Self::Swiglu => "swiglu",
        }
    }
}

impl ShaderPart for Reduce {
    const IMPORT: &'static str = "reduce";

    fn part_name(&self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Subgroup => "subgroup",
            Self::Serial => "serial",
            Self::SerialSubgroup => "serial_subgroup",
        }
    }

    fn needs(&self) -> Needs {
        let subgroups = matches!(self, Self::Subgroup | Self::SerialSubgroup);
        Needs { subgroups, ..Needs::default() }
    }
}

/// Size of cooperative matrices: `#import coop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CoopPart {
    Side8,
    Side16,
}

impl CoopPart {
    /// The size of a device's matrices.
    pub(crate) fn of(caps: &Caps) -> Self {
        if caps.coop_side == 8 { Self::Side8 } else { Self::Side16 }
    }
}

impl ShaderPart for CoopPart {
    const IMPORT: &'static str = "coop";

    fn part_name(&self) -> &'static str {
        match self {
            Self::Side8 => "side8",
            Self::Side16 => "side16",
        }
    }

    fn needs(&self) -> Needs {
        Needs { coop: true, ..Needs::default() }
    }
}

/// Buffers for the operands of `matmul_coop`: `#import buffers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuffersPart {
    One,
    Two,
}

impl ShaderPart for BuffersPart {
    const IMPORT: &'static str = "buffers";

    fn part_name(&self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Two => "two",
        }
    }
}

/// Reading of keys and values: `#import kv`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KvPart(pub KvFormat);

impl ShaderPart for KvPart {
    const IMPORT: &'static str = "kv";

    fn part_name(&self) -> &'static str {
        self.0.option()
    }
}

/// Writing of keys and values: `#import kv_store`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KvStorePart(pub KvFormat);

impl ShaderPart for KvStorePart {
    const IMPORT: &'static str = "kv_store";

    fn part_name(&self) -> &'static str {
        self.0.option()
    }
}
