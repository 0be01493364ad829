//! PEFT's adapter_model.safetensors: tensor names, pairs of factors, and the places of both in the model.
//!
//! A name is `base_model.model.MODULE.lora_A.weight`, or `….lora_A.ADAPTER.weight` if the adapter's own name
//! (`default`) was not removed. Sources: PEFT 0.21.2 `utils/save_and_load.py`, `tuners/lora/layer.py`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::config::AdapterConfig;
use super::elements::{check_rank, elements};
use super::error::LoraError;
use super::places::{Place, adapted_shape, of_module};
use super::stacks::Parameter;
use super::targets::{Adapted, is_target};
use super::{LoraAdapter, LoraFactors};
use crate::formats::safetensors::read_header;
use crate::formats::{ByteSource, TensorInfo, read_small};
use crate::model::config::MAX_CONFIG_BYTES;
use crate::model::{ModelConfig, TensorId};

/// Reads adapter_config.json and the tensors.
///
/// # Errors
/// Any [`LoraError`].
pub(super) async fn read(
    json: &dyn ByteSource,
    weights: &Arc<dyn ByteSource>,
    config: &ModelConfig,
) -> Result<LoraAdapter, LoraError> {
    let bytes = read_small(json, MAX_CONFIG_BYTES).await?;
    let adapter = AdapterConfig::from_json(json.name(), &bytes)?;
    let tensors = read_header(&**weights, 0).await?;
    let mut reader = Reader {
        file: weights.name(),
        source: &**weights,
        adapter: &adapter,
        config,
        factors: HashMap::new(),
        adapted: Adapted::default(),
    };
    for (module, pair) in pairs(weights.name(), &tensors)? {
        reader.pair(module, &pair).await?;
    }
    if reader.factors.is_empty() {
        let place = weights.name().to_owned();
        return Err(LoraError::NotAnAdapter { place, problem: "has no tensors".to_owned() });
    }
    reader.adapted.check(&adapter, config, weights.name())?;
    Ok(LoraAdapter { factors: reader.factors })
}

/// The two factors of a module.
struct Pair<'t> {
    a: &'t TensorInfo,
    b: &'t TensorInfo,
}

/// The pairs by module, e.g. `model.layers.0.conv.in_proj`.
fn pairs<'t>(
    file: &str,
    tensors: &'t [TensorInfo],
) -> Result<BTreeMap<&'t str, Pair<'t>>, LoraError> {
    let error = |tensor: &TensorInfo, problem: String| LoraError::Tensor {
        file: file.to_owned(),
        tensor: tensor.name.clone(),
        problem,
    };
    let mut found: BTreeMap<&str, [Option<&TensorInfo>; 2]> = BTreeMap::new();
    for tensor in tensors {
        let Some((module, factor)) = parse(&tensor.name) else {
            return Err(error(tensor, not_a_factor(&tensor.name).to_owned()));
        };
        let slots = found.entry(module).or_default();
        let slot = match factor {
            Factor::A => &mut slots[0],
            Factor::B => &mut slots[1],
        };
        if let Some(other) = slot.replace(tensor) {
            let other = crate::formats::quoted(&other.name);
            return Err(error(
                tensor,
                format!("is the same factor as {other}: need one adapter in a file"),
            ));
        }
    }
    let mut pairs = BTreeMap::new();
    for (module, slots) in found {
        let (tensor, missing) = match slots {
            [Some(a), Some(b)] => {
                pairs.insert(module, Pair { a, b });
                continue;
            }
            [Some(a), None] => (a, a.name.replace(".lora_A.", ".lora_B.")),
            [None, Some(b)] => (b, b.name.replace(".lora_B.", ".lora_A.")),
            [None, None] => continue,
        };
        let (file, tensor) = (file.to_owned(), tensor.name.clone());
        return Err(LoraError::MissingFactor { file, tensor, missing });
    }
    Ok(pairs)
}

enum Factor {
    A,
    B,
}

/// The module and the factor of a tensor's name.
fn parse(name: &str) -> Option<(&str, Factor)> {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    let (module, rest, factor) = match (name.split_once(".lora_A."), name.split_once(".lora_B.")) {
        (Some((module, rest)), None) => (module, rest, Factor::A),
        (None, Some((module, rest))) => (module, rest, Factor::B),
        _ => return None,
    };
    let adapter = rest.strip_suffix("weight")?;
    let plain = |name: &str| !name.is_empty() && !name.contains('.');
    (adapter.is_empty() || adapter.strip_suffix('.').is_some_and(plain)).then_some((module, factor))
}

/// Describes a tensor that is no factor of a matrix.
fn not_a_factor(name: &str) -> &'static str {
    let has = |part: &str| name.contains(part);
    if has("lora_magnitude_vector") {
        "belongs to DoRA, which is not supported: train a plain LoRA adapter, or merge this one with PEFT"
    } else if has("lora_embedding_") {
        "adapts the embedding, which is not supported: train without embed_tokens in target_modules"
    } else if has("trainable_tokens") {
        "has single embeddings (trainable_token_indices), which are not supported: train without them"
    } else if has(".lora_") && name.ends_with(".bias") {
        "is a bias of a factor (lora_bias), which is not supported: train without it"
    } else if has("modules_to_save") || (name.ends_with(".weight") && !has(".lora_")) {
        "is a whole tensor (modules_to_save, or an embedding that was saved too), which is not supported: save the \
         adapter without it, or merge it with PEFT"
    } else {
        "is not a factor of LoRA: need names that end in .lora_A.weight and .lora_B.weight"
    }
}

struct Reader<'r> {
    file: &'r str,
    source: &'r dyn ByteSource,
    adapter: &'r AdapterConfig,
    config: &'r ModelConfig,
    factors: HashMap<TensorId, LoraFactors>,
    adapted: Adapted,
}

impl Reader<'_> {
    async fn pair(&mut self, module: &str, pair: &Pair<'_>) -> Result<(), LoraError> {
        let place = of_module(self.config, module)
            .map_err(|problem| self.tensor_error(&pair.a.name, problem))?;
        match place {
            Place::Matrix(id) => self.matrix(module, id, pair).await,
            Place::Stack { layer } => self.stack(module, layer, pair).await,
        }
    }

    async fn matrix(
        &mut self,
        module: &str,
        id: TensorId,
        pair: &Pair<'_>,
    ) -> Result<(), LoraError> {
        let [rows, cols] = adapted_shape(self.config, id).unwrap_or_default();
        let [a_rank, a_cols] = self.two_dimensions(pair.a, || format!("[rank, {cols}]"))?;
        if a_cols != cols {
            return Err(self.shape_error(pair.a, format!("[rank, {cols}]")));
        }
        let [b_rows, b_rank] = self.two_dimensions(pair.b, || format!("[{rows}, rank]"))?;
        if b_rows != rows {
            return Err(self.shape_error(pair.b, format!("[{rows}, rank]")));
        }
        self.same_rank(pair, a_rank, b_rank)?;
        // A matrix that was targeted as a parameter has the parameter's key.
        let parameter = format!("{module}.weight");
        let is_parameter = self.adapter.target_parameters.iter().any(|t| is_target(t, &parameter));
        let key = if is_parameter { &*parameter } else { module };
        self.configured_rank(pair.a, key, a_rank)?;
        let scale = self.adapter.scale_of(key, a_rank)?;
        let a = elements(self.source, pair.a).await?.into();
        let b = elements(self.source, pair.b).await?.into();
        self.insert(id, LoraFactors { rank: a_rank, scale, a, b }, pair)?;
        self.adapted.modules.insert(module.to_owned());
        if is_parameter {
            self.adapted.parameters.insert(parameter);
        }
        Ok(())
    }

    async fn stack(
        &mut self,
        module: &str,
        layer: usize,
        pair: &Pair<'_>,
    ) -> Result<(), LoraError> {
        let Some(moe) = &self.config.moe else { return Ok(()) };
        let experts = moe.num_experts;
        let need = |factor: usize| {
            let needs = Parameter::ALL.map(|parameter| {
                let [a, b] = parameter.need(self.config, moe);
                format!("{} for {}", if factor == 0 { a } else { b }, parameter.name())
            });
            needs.join(" or ")
        };
        let [a_rows, a_cols] = self.two_dimensions(pair.a, || need(0))?;
        let [b_rows, b_cols] = self.two_dimensions(pair.b, || need(1))?;
        // The names say nothing about the parameter, and the order of the wrappers depends on the version of PEFT.
        // Columns and rows together always tell: gate_up_proj has [2 w, h] and down_proj [h, w].
        let shape = |parameter: &Parameter| parameter.shape(self.config, moe);
        let by_a: Vec<_> = Parameter::ALL.into_iter().filter(|p| shape(p)[1] == a_cols).collect();
        let Some(first) = by_a.first() else { return Err(self.shape_error(pair.a, need(0))) };
        let Some(parameter) = by_a.iter().copied().find(|p| shape(p)[0] == b_rows) else {
            let [_, b] = first.need(self.config, moe);
            return Err(self.shape_error(pair.b, format!("{b} for {}", first.name())));
        };
        let [need_a, need_b] = parameter.need(self.config, moe);
        if !a_rows.is_multiple_of(experts) {
            return Err(self.shape_error(pair.a, need_a));
        }
        if !b_cols.is_multiple_of(experts) {
            return Err(self.shape_error(pair.b, need_b));
        }
        let rank = a_rows / experts;
        self.same_rank(pair, rank, b_cols / experts)?;
        let container = module.strip_suffix(".base_layer").unwrap_or(module);
        let key = format!("{container}.{}", parameter.name());
        self.configured_rank(pair.a, &key, rank)?;
        let scale = self.adapter.scale_of(&key, rank)?;
        let a = elements(self.source, pair.a).await?;
        let b = elements(self.source, pair.b).await?;
        for (id, factors) in parameter.split(layer, experts, rank, scale, &a, &b) {
            self.insert(id, factors, pair)?;
        }
        self.adapted.parameters.insert(key);
        Ok(())
    }

    fn insert(
        &mut self,
        id: TensorId,
        factors: LoraFactors,
        pair: &Pair<'_>,
    ) -> Result<(), LoraError> {
        match self.factors.insert(id, factors) {
            None => Ok(()),
            Some(_) => {
                let problem = format!(
                    "adapts {} a second time: need one pair of factors for a matrix",
                    id.hub_name()
                );
                Err(self.tensor_error(&pair.a.name, problem))
            }
        }
    }

    fn two_dimensions(
        &self,
        tensor: &TensorInfo,
        need: impl Fn() -> String,
    ) -> Result<[usize; 2], LoraError> {
        match tensor.shape[..] {
            [rows, cols] => Ok([rows, cols]),
            _ => Err(self.shape_error(tensor, need())),
        }
    }

    fn same_rank(&self, pair: &Pair<'_>, a: usize, b: usize) -> Result<(), LoraError> {
        check_rank(self.file, &pair.a.name, a)?;
        if a == b {
            return Ok(());
        }
        let need = format!(
            "but its other factor has rank {a}: the file is damaged, save the adapter again"
        );
        let (file, tensor) = (self.file.to_owned(), pair.b.name.clone());
        Err(LoraError::Rank { file, tensor, got: b, need })
    }

    fn configured_rank(&self, a: &TensorInfo, key: &str, rank: usize) -> Result<(), LoraError> {
        let need = self.adapter.rank_of(key);
        if rank == need {
            return Ok(());
        }
        let need = format!(
            "{} says {need} (r, rank_pattern): the two files are not of one adapter",
            self.adapter.file
        );
        let (file, tensor) = (self.file.to_owned(), a.name.clone());
        Err(LoraError::Rank { file, tensor, got: rank, need })
    }

    fn shape_error(&self, tensor: &TensorInfo, need: String) -> LoraError {
        let (file, got) = (self.file.to_owned(), tensor.shape.clone());
        LoraError::Shape { file, tensor: tensor.name.clone(), got, need }
    }

    fn tensor_error(&self, tensor: &str, problem: String) -> LoraError {
        LoraError::Tensor { file: self.file.to_owned(), tensor: tensor.to_owned(), problem }
    }
}
