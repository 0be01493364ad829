//! GGUF adapters of llama.cpp's `convert_lora_to_gguf.py`.
//!
//! A tensor is named as the model's, with `.lora_a` or `.lora_b` behind it. The factors of experts are stacked:
//! `ffn_gate_exps.weight.lora_a` is `[experts, rank, cols]`, and `.lora_b` `[experts, rows, rank]`. The scale is
//! `adapter.lora.alpha / rank`. Source: llama.cpp `convert_lora_to_gguf.py`, `src/llama-adapter.cpp`.
//!
//! The conversion knows the linear modules of LFM2 and experts by module. It stops with an error at PEFT's factors
//! of stacked parameters. It writes neither rsLoRA nor `alpha_pattern`, so that such adapters get another scale.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::config::checked_scale;
use super::elements::{check_rank, elements};
use super::error::LoraError;
use super::places::{adapted_shape, of_gguf};
use super::{LoraAdapter, LoraFactors};
use crate::formats::gguf::read_header;
use crate::formats::{ByteSource, FormatError, Metadata, TensorInfo, quoted};
use crate::model::{ModelConfig, ModelType, TensorId};

const ALPHA: &str = "adapter.lora.alpha";
/// Tokens that switch an activated LoRA (aLoRA) on.
const INVOCATION: &str = "adapter.alora.invocation_tokens";

/// Reads a GGUF adapter.
///
/// # Errors
/// Any [`LoraError`].
pub(super) async fn read(
    source: &Arc<dyn ByteSource>,
    config: &ModelConfig,
) -> Result<LoraAdapter, LoraError> {
    let header = read_header(&**source, 0).await?;
    let alpha = alpha(&header.metadata, config)?;
    let mut factors = HashMap::new();
    for (name, [a, b]) in pairs(source.name(), &header.tensors)? {
        let pair = Pair { source: &**source, a, b };
        let id = of_gguf(config, name).map_err(|problem| pair.error(problem))?;
        pair.read(config, id, alpha, &mut factors).await?;
    }
    if factors.is_empty() {
        let place = source.name().to_owned();
        return Err(LoraError::NotAnAdapter { place, problem: "has no tensors".to_owned() });
    }
    Ok(LoraAdapter { factors })
}

/// Checks the metadata. Returns alpha.
fn alpha(metadata: &Metadata, config: &ModelConfig) -> Result<f64, LoraError> {
    let key = |key: &str, problem: String| {
        LoraError::Format(FormatError::Key(metadata.error(key, problem)))
    };
    let text = |key: &str| metadata.string(key).map_err(|e| LoraError::Format(e.into()));
    match text("general.type")? {
        Some("adapter") => {}
        other => {
            let place = metadata.file().to_owned();
            let is = other.map_or("a model".to_owned(), |kind| {
                format!("a GGUF file of type {}", quoted(kind))
            });
            let problem = format!("is {is}, not an adapter: need one of convert_lora_to_gguf.py");
            return Err(LoraError::NotAnAdapter { place, problem });
        }
    }
    let need = match config.model_type {
        ModelType::Lfm2 => "lfm2",
        ModelType::Lfm2Moe => "lfm2moe",
    };
    let got = text("general.architecture")?;
    if got != Some(need) {
        let got = got.map_or("nothing".to_owned(), quoted);
        let problem = format!("got {got}, need {need}: the adapter was made for another model");
        return Err(key("general.architecture", problem));
    }
    let unsupported = |field: &str, feature: String, remedy| {
        let (file, field) = (metadata.file().to_owned(), field.to_owned());
        Err(LoraError::Unsupported { file, field, feature, remedy })
    };
    match text("adapter.type")? {
        Some("lora") => {}
        None => return Err(key("adapter.type", "is missing, need lora".to_owned())),
        Some(other) => {
            let feature = format!("the method {}", quoted(other));
            return unsupported("adapter.type", feature, "need an adapter of the type lora");
        }
    }
    if metadata.get(INVOCATION).is_some() {
        let feature = "activated LoRA (aLoRA)".to_owned();
        return unsupported(INVOCATION, feature, "train a plain LoRA adapter");
    }
    match metadata.number(ALPHA).map_err(|e| LoraError::Format(e.into()))? {
        Some(alpha) if alpha != 0.0 => Ok(alpha),
        Some(_) => Err(key(ALPHA, "got 0, need a number other than 0".to_owned())),
        None => Err(key(ALPHA, "is missing: convert the adapter again".to_owned())),
    }
}

/// The pairs of factors by the name of the model's tensor.
fn pairs<'t>(
    file: &str,
    tensors: &'t [TensorInfo],
) -> Result<BTreeMap<&'t str, [&'t TensorInfo; 2]>, LoraError> {
    let mut found: BTreeMap<&str, [Option<&TensorInfo>; 2]> = BTreeMap::new();
    for tensor in tensors {
        let name = &*tensor.name;
        if let Some(base) = name.strip_suffix(".lora_a") {
            found.entry(base).or_default()[0] = Some(tensor);
        } else if let Some(base) = name.strip_suffix(".lora_b") {
            found.entry(base).or_default()[1] = Some(tensor);
        } else {
            let (file, tensor) = (file.to_owned(), name.to_owned());
            let problem = "is not a factor of LoRA: need names that end in .lora_a and .lora_b. Adapters that change \
                           norms or whole tensors are not supported";
            return Err(LoraError::Tensor { file, tensor, problem: problem.to_owned() });
        }
    }
    let mut pairs = BTreeMap::new();
    for (base, slots) in found {
        let (tensor, missing) = match slots {
            [Some(a), Some(b)] => {
                pairs.insert(base, [a, b]);
                continue;
            }
            [Some(a), None] => (a, format!("{base}.lora_b")),
            [None, Some(b)] => (b, format!("{base}.lora_a")),
            [None, None] => continue,
        };
        let (file, tensor) = (file.to_owned(), tensor.name.clone());
        return Err(LoraError::MissingFactor { file, tensor, missing });
    }
    Ok(pairs)
}

/// The two factors of a matrix, or of all experts' matrices of one kind.
struct Pair<'t> {
    source: &'t dyn ByteSource,
    a: &'t TensorInfo,
    b: &'t TensorInfo,
}

impl Pair<'_> {
    async fn read(
        &self,
        config: &ModelConfig,
        id: TensorId,
        alpha: f64,
        factors: &mut HashMap<TensorId, LoraFactors>,
    ) -> Result<(), LoraError> {
        let [rows, cols] = adapted_shape(config, id).unwrap_or_default();
        // Dimensions before the last two.
        let stack: &[usize] = match &config.moe {
            Some(moe) if id.is_expert() => &[moe.num_experts],
            _ => &[],
        };
        let before = stack.iter().map(|n| format!("{n}, ")).collect::<String>();
        let shape_error = |tensor: &TensorInfo, need: String| LoraError::Shape {
            file: self.source.name().to_owned(),
            tensor: tensor.name.clone(),
            got: tensor.shape.clone(),
            need,
        };
        let Some((rank, _)) = split(&self.a.shape, stack).filter(|(_, a_cols)| *a_cols == cols)
        else {
            return Err(shape_error(self.a, format!("[{before}rank, {cols}]")));
        };
        let Some((_, b_rank)) = split(&self.b.shape, stack).filter(|(b_rows, _)| *b_rows == rows)
        else {
            return Err(shape_error(self.b, format!("[{before}{rows}, rank]")));
        };
        check_rank(self.source.name(), &self.a.name, rank)?;
        if rank != b_rank {
            let (file, tensor) = (self.source.name().to_owned(), self.b.name.clone());
            let need = format!("but its other factor has rank {rank}: convert the adapter again");
            return Err(LoraError::Rank { file, tensor, got: b_rank, need });
        }
        let scale = checked_scale(alpha / rank as f64).ok_or_else(|| {
            let file = self.source.name().to_owned();
            let (key, problem) =
                (ALPHA.to_owned(), format!("{alpha} is no number that f32 can hold"));
            LoraError::Format(FormatError::Key(crate::formats::KeyError { file, key, problem }))
        })?;
        let a = elements(self.source, self.a).await?;
        let b = elements(self.source, self.b).await?;
        let pieces = a.chunks_exact(rank * cols).zip(b.chunks_exact(rows * rank));
        for (e, (a, b)) in pieces.enumerate() {
            let id = match id {
                TensorId::ExpertW1(layer, _) => TensorId::ExpertW1(layer, e),
                TensorId::ExpertW2(layer, _) => TensorId::ExpertW2(layer, e),
                TensorId::ExpertW3(layer, _) => TensorId::ExpertW3(layer, e),
                id => id,
            };
            factors.insert(id, LoraFactors { rank, scale, a: a.into(), b: b.into() });
        }
        Ok(())
    }

    fn error(&self, problem: String) -> LoraError {
        let (file, tensor) = (self.source.name().to_owned(), self.a.name.clone());
        LoraError::Tensor { file, tensor, problem }
    }
}

/// The last two dimensions, if those before are `stack`.
fn split(shape: &[usize], stack: &[usize]) -> Option<(usize, usize)> {
    match shape {
        [before @ .., rows, cols] if before == stack => Some((*rows, *cols)),
        _ => None,
    }
}
