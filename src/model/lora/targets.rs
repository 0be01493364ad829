//! Checks that each target of adapter_config.json has a tensor in the file.
//!
//! Source: PEFT 0.21.2 `tuners/tuners_utils.py`, `check_target_module_exists` and `_inject_parameters`.

use std::collections::BTreeSet;

use super::config::{AdapterConfig, Modules};
use super::error::LoraError;
use super::patterns::compile;
use super::places::{adapted_shape, of_expert, of_layer};
use crate::model::ModelConfig;

/// Whether PEFT's list entry `target` means the module or parameter `key`: it is its name or the end of it.
pub(super) fn is_target(target: &str, key: &str) -> bool {
    key.strip_suffix(target).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The modules and parameters that have tensors in a file.
#[derive(Debug, Default)]
pub(super) struct Adapted {
    /// Modules, e.g. `model.layers.0.conv.in_proj`.
    pub(super) modules: BTreeSet<String>,
    /// Parameters, e.g. `model.layers.2.feed_forward.experts.gate_up_proj`.
    pub(super) parameters: BTreeSet<String>,
}

impl Adapted {
    /// Refuses a target without a tensor in the file `weights`.
    ///
    /// # Errors
    /// [`LoraError::Target`].
    pub(super) fn check(
        &self,
        adapter: &AdapterConfig,
        config: &ModelConfig,
        weights: &str,
    ) -> Result<(), LoraError> {
        let error = |field, target: &str, problem: String| {
            let (file, weights) = (adapter.file.clone(), weights.to_owned());
            Err(LoraError::Target { file, field, target: target.to_owned(), weights, problem })
        };
        for target in &adapter.target_parameters {
            // A parameter may be meant by its module, too.
            let module = target.strip_suffix(".weight").unwrap_or(target);
            if !has(&self.parameters, target) && !has(&self.modules, module) {
                let problem = "the model has no such parameter, or the file is incomplete";
                return error("target_parameters", target, problem.to_owned());
            }
        }
        match &adapter.target_modules {
            Modules::Unset => {}
            Modules::Expression(text) if text.eq_ignore_ascii_case("all-linear") => {}
            Modules::Expression(text) => {
                // An expression that is not supported here changes nothing: the file has the tensors.
                if let Ok(regex) = compile(&format!("^(?:{text})$"), text)
                    && !self.modules.iter().any(|key| regex.is_match(key))
                {
                    let problem = "the expression matches no module with a tensor".to_owned();
                    return error("target_modules", text, problem);
                }
            }
            Modules::List(targets) => {
                for target in targets {
                    if has(&self.modules, target) {
                        continue;
                    }
                    let problem = match meant(adapter, config, target) {
                        Meant::LeftOut => continue,
                        Meant::Missing(key) => format!("{key} is missing, the file is incomplete"),
                        Meant::Nothing => {
                            "the model has no such module, so it was never trained".to_owned()
                        }
                    };
                    return error("target_modules", target, problem);
                }
            }
        }
        Ok(())
    }
}

fn has(keys: &BTreeSet<String>, target: &str) -> bool {
    keys.iter().any(|key| is_target(target, key))
}

/// The modules of the model that a target means.
enum Meant {
    /// None.
    Nothing,
    /// Only modules that other fields leave out.
    LeftOut,
    /// This one among others.
    Missing(String),
}

fn meant(adapter: &AdapterConfig, config: &ModelConfig, target: &str) -> Meant {
    let mut left_out = false;
    for layer in 0..config.layers.len() {
        let experts = config.moe.as_ref().map_or(0, |moe| moe.num_experts);
        let experts = (0..experts).flat_map(|e| of_expert(layer, e));
        for id in of_layer(layer).into_iter().chain(experts) {
            let name = id.hub_name();
            let key = name.strip_suffix(".weight").unwrap_or(&name);
            if !is_target(target, key) || adapted_shape(config, id).is_none() {
                continue;
            }
            let in_layers =
                adapter.layers_to_transform.as_ref().is_none_or(|layers| layers.contains(&layer));
            if in_layers && !is_excluded(&adapter.exclude_modules, key) {
                return Meant::Missing(key.to_owned());
            }
            left_out = true;
        }
    }
    if left_out { Meant::LeftOut } else { Meant::Nothing }
}

/// An expression that is not supported here may exclude anything.
fn is_excluded(exclude: &Modules, key: &str) -> bool {
    match exclude {
        Modules::Unset => false,
        Modules::List(names) => names.iter().any(|name| is_target(name, key)),
        Modules::Expression(text) => {
            compile(&format!("^(?:{text})$"), text).map_or(true, |regex| regex.is_match(key))
        }
    }
}
