//! The matrices of a model that an adapter can change, by their names in PEFT's and llama.cpp's files.

use crate::model::{FfnKind, ModelConfig, OperatorKind, TensorId};

/// A place in the model for one pair of factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A matrix.
    Matrix(TensorId),
    /// A parameter that stacks all experts of a layer.
    Stack {
        /// The layer.
        layer: usize,
    },
}

/// Rows and columns of a matrix that an adapter can change; `None` if it is not one, or if the model does not
/// have it.
#[must_use]
pub fn adapted_shape(config: &ModelConfig, id: TensorId) -> Option<[usize; 2]> {
    use TensorId as T;
    let (hidden, width) = (config.hidden_size, config.intermediate_size);
    let layer = |i: usize| config.layers.get(i);
    let conv = |i| layer(i).is_some_and(|l| l.operator == OperatorKind::ShortConv);
    let attention = |i| layer(i).is_some_and(|l| l.operator == OperatorKind::FullAttention);
    let dense = |i| layer(i).is_some_and(|l| l.ffn == FfnKind::Dense);
    let moe = |i| config.moe.as_ref().filter(|_| layer(i).is_some_and(|l| l.ffn == FfnKind::Moe));
    let expert = |i, e: usize| moe(i).filter(|moe| e < moe.num_experts);
    match id {
        T::ConvInProj(i) => conv(i).then_some([3 * hidden, hidden]),
        T::ConvOutProj(i) => conv(i).then_some([hidden, hidden]),
        T::Q(i) => attention(i).then_some([config.q_size(), hidden]),
        T::K(i) | T::V(i) => attention(i).then_some([config.kv_size(), hidden]),
        T::AttentionOut(i) => attention(i).then_some([hidden, config.q_size()]),
        T::W1(i) | T::W3(i) => dense(i).then_some([width, hidden]),
        T::W2(i) => dense(i).then_some([hidden, width]),
        T::Router(i) => moe(i).map(|moe| [moe.num_experts, hidden]),
        T::ExpertW1(i, e) | T::ExpertW3(i, e) => {
            expert(i, e).map(|moe| [moe.intermediate_size, hidden])
        }
        T::ExpertW2(i, e) => expert(i, e).map(|moe| [hidden, moe.intermediate_size]),
        _ => None,
    }
}

/// The matrices of a layer that are no expert's, whether the model has them or not.
pub(super) fn of_layer(i: usize) -> [TensorId; 10] {
    use TensorId as T;
    [
        T::ConvInProj(i),
        T::ConvOutProj(i),
        T::Q(i),
        T::K(i),
        T::V(i),
        T::AttentionOut(i),
        T::W1(i),
        T::W2(i),
        T::W3(i),
        T::Router(i),
    ]
}

/// The matrices of an expert.
pub(super) fn of_expert(i: usize, e: usize) -> [TensorId; 3] {
    [TensorId::ExpertW1(i, e), TensorId::ExpertW2(i, e), TensorId::ExpertW3(i, e)]
}

/// The place of a PEFT module: a name as `model.layers.2.self_attn.q_proj`, of a bare model without `model.`.
/// The parameters of stacked experts are wrappers in each other, whose names say nothing about the parameter:
/// `….experts` and `….experts.base_layer`.
///
/// # Errors
/// The problem, if the model has no such matrix or if it cannot be adapted.
pub(super) fn of_module(config: &ModelConfig, module: &str) -> Result<Place, String> {
    let name = module.strip_prefix("model.").unwrap_or(module);
    if matches!(name, "lm_head" | "embed_tokens") {
        return Err(format!(
            "adapters of {name} are not supported: train without it in target_modules"
        ));
    }
    let Some((layer, rest)) = name.strip_prefix("layers.").and_then(|name| name.split_once('.'))
    else {
        return Err("is not of a module of LFM2: the adapter was made for another model".to_owned());
    };
    let layer = index(config, layer)?;
    if matches!(rest, "feed_forward.experts" | "feed_forward.experts.base_layer") {
        return match adapted_shape(config, TensorId::Router(layer)) {
            Some(_) => Ok(Place::Stack { layer }),
            None => Err(format!("layer {layer} of this model has no experts")),
        };
    }
    let full = format!("model.layers.{layer}.{rest}.weight");
    let expert = rest.strip_prefix("feed_forward.experts.").and_then(|rest| rest.split_once('.'));
    let found = match expert.and_then(|(expert, _)| number(expert)) {
        Some(e) => of_expert(layer, e).into_iter().find(|id| id.hub_name() == full),
        None => of_layer(layer).into_iter().find(|id| id.hub_name() == full),
    };
    match found {
        Some(id) => present(config, id, layer),
        None if rest == "conv.conv" => {
            Err("adapters of the convolution's taps are not supported: name conv.in_proj and conv.out_proj in target_modules".to_owned())
        }
        None if rest.ends_with("norm") => Err("norms cannot be adapted".to_owned()),
        None => {
            Err("is not of a module of LFM2: the adapter was made for another model".to_owned())
        }
    }
}

/// The place of a tensor of a GGUF adapter, by the name of the model's tensor (`blk.2.attn_q.weight`). A stack has
/// the kind of its matrices as that of expert 0.
///
/// # Errors
/// As [`of_module`].
pub(super) fn of_gguf(config: &ModelConfig, name: &str) -> Result<TensorId, String> {
    if matches!(name, "token_embd.weight" | "output.weight") {
        return Err(format!(
            "adapters of {name} are not supported: train without embed_tokens and lm_head in target_modules"
        ));
    }
    let layer = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')).map(|(i, _)| i);
    let other = || "is not of a tensor of LFM2: the adapter was made for another model".to_owned();
    let layer = index(config, layer.ok_or_else(other)?)?;
    let all = of_layer(layer).into_iter().chain(of_expert(layer, 0));
    match all.into_iter().find(|id| id.gguf_name() == name) {
        Some(id) => present(config, id, layer).map(|_| id),
        None => Err(other()),
    }
}

fn present(config: &ModelConfig, id: TensorId, layer: usize) -> Result<Place, String> {
    match adapted_shape(config, id) {
        Some(_) => Ok(Place::Matrix(id)),
        None => Err(format!(
            "layer {layer} of this model has no such matrix: the adapter was made for another model"
        )),
    }
}

/// Index of a layer.
fn index(config: &ModelConfig, text: &str) -> Result<usize, String> {
    let n = config.layers.len();
    number(text).filter(|i| *i < n).ok_or_else(|| {
        format!(
            "is of a layer that this model does not have (it has {n}): the adapter was made for another model"
        )
    })
}

/// A number in its only spelling, so that no two names mean one matrix.
fn number(text: &str) -> Option<usize> {
    let number: usize = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
