//! `--lora`: the LoRA adapters of an engine.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::hub;
use super::lora_scale::{Scale, check_scales, factor, scale};
use super::options::Common;
use crate::engine::{Engine, LoraChoice, LoraInfo};
use crate::formats::{ModelFiles, model_name};
use crate::model::ModelConfig;
use crate::model::lora::LoraAdapter;

/// The word that turns adapters off in a chat.
const OFF: &str = "off";

/// A `--lora`, read and checked.
pub struct Adapter {
    /// Its name.
    pub name: String,
    /// Factor on its own scale.
    pub scale: f32,
    /// Its content.
    pub adapter: LoraAdapter,
}

/// The name and the place of a `--lora`. A path may have a `=`, so only a plain word before it is a name.
fn split(text: &str) -> (Option<&str>, &str) {
    let is_plain = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
    };
    match text.split_once('=') {
        Some((name, place)) if is_plain(name) => (Some(name), place),
        _ => (None, text),
    }
}

/// The name of an adapter without one: that of its folder or file, or of its repository.
fn default_name(place: &str) -> String {
    let plain = model_name(place);
    let is_file = ["adapter_model.safetensors", "adapter_config.json"].contains(&plain.as_str());
    let folder = Path::new(place).parent().filter(|_| is_file);
    let named = match folder {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new(place),
    };
    // `.` and `..` are no names.
    let named = match named.file_name() {
        Some(_) => named.to_owned(),
        None => std::fs::canonicalize(named).unwrap_or_else(|_| named.to_owned()),
    };
    let name = model_name(&named.to_string_lossy());
    let mut name = name.rsplit('/').next().unwrap_or(&name).to_owned();
    // A quantisation or a revision of a name on the hub.
    if let Some(at) = name.find([':', '@']).filter(|at| *at > 0 && !named.exists()) {
        name.truncate(at);
    }
    let end = [".gguf", ".safetensors"].iter().find_map(|end| {
        let at = name.len().checked_sub(end.len())?;
        name.get(at..).filter(|last| last.eq_ignore_ascii_case(end)).map(|_| at)
    });
    name[..end.filter(|at| *at > 0).unwrap_or(name.len())].to_owned()
}

/// The names and places of all `--lora`.
fn named(common: &Common, model: &str) -> Result<Vec<(String, PathBuf)>, CliError> {
    let mut all: Vec<(String, PathBuf)> = Vec::new();
    for given in &common.lora {
        let text = given.to_string_lossy();
        let (name, place) = match given.to_str().map(split) {
            Some((Some(name), place)) => (name.to_owned(), PathBuf::from(place)),
            _ => (default_name(&text), given.clone()),
        };
        let wrong = |problem: &str| {
            let problem = format!("--lora {text}: {problem}");
            let tip = format!("choose a name: --lora NAME={}", place.display());
            Err(CliError::Advised { problem, tip })
        };
        if place.as_os_str().is_empty() {
            let problem = format!("--lora {text}: need a path or a name on the hub after the =");
            return Err(CliError::User(problem));
        }
        if all.iter().any(|(other, _)| *other == name) {
            return wrong(&format!("another adapter has the name {name}"));
        }
        if name == model {
            return wrong(&format!("the model has the name {name}"));
        }
        if name.trim().is_empty() || name == OFF {
            return wrong("its own name cannot be used");
        }
        all.push((name, place));
    }
    Ok(all)
}

/// Reads the adapters for a model of this name and configuration. It needs no GPU, so that a wrong file is told at
/// once.
pub fn read(common: &Common, model: &str, config: &ModelConfig) -> Result<Vec<Adapter>, CliError> {
    let places = named(common, model)?;
    let names: Vec<&str> = places.iter().map(|(name, _)| name.as_str()).collect();
    check_scales(&common.lora_scale, &names)?;
    let mut all = Vec::new();
    for (name, place) in places {
        if let Some(advice) = hub::meant_for_the_hub(&place) {
            return Err(advice);
        }
        let files = ModelFiles::path(hub::resolve(&place, common, hub::Kind::Adapter)?)?;
        let adapter = pollster::block_on(LoraAdapter::read(&files, config));
        let adapter = adapter.map_err(crate::Error::from)?;
        let scale = factor(&common.lora_scale, &name);
        all.push(Adapter { name, scale, adapter });
    }
    Ok(all)
}

/// Loads the adapters into the engine, in their order.
pub fn load(engine: &Engine, adapters: Vec<Adapter>) -> Result<(), CliError> {
    for Adapter { name, scale, adapter } in adapters {
        pollster::block_on(engine.load_lora(&name, adapter, scale))?;
    }
    Ok(())
}

/// The first adapter, which commands with one model for all answers use.
pub fn first(engine: &Engine) -> Option<LoraChoice> {
    let first = engine.loras().into_iter().next()?;
    Some(LoraChoice { name: first.name, scale: None })
}

fn described(lora: &LoraInfo) -> String {
    let LoraInfo { name, rank, scale } = lora;
    match scale {
        1.0 => format!("{name} (rank {rank})"),
        _ => format!("{name} (rank {rank}, scale {scale})"),
    }
}

/// The line about the adapters after loading, if there are any.
pub fn line(engine: &Engine) -> Option<String> {
    let all: Vec<String> = engine.loras().iter().map(described).collect();
    (!all.is_empty()).then(|| format!("LoRA: {}", all.join(", ")))
}

/// The adapters, one per line; a `*` marks the one in use.
pub fn list(engine: &Engine, used: Option<&LoraChoice>) -> String {
    let mark = |is_used: bool| if is_used { '*' } else { ' ' };
    let mut text = format!("{} {OFF}: the model alone", mark(used.is_none()));
    for lora in engine.loras() {
        let own = used.filter(|choice| choice.name == lora.name);
        let scale = own.and_then(|choice| choice.scale).unwrap_or(lora.scale);
        let shown = described(&LoraInfo { scale, ..lora });
        text += &format!("\n{} {shown}", mark(own.is_some()));
    }
    if engine.loras().is_empty() {
        text += "\n--lora PATH loads an adapter at the start.";
    }
    text
}

/// The adapter that a user of a chat names: `off`, or a name and perhaps a scale.
pub fn choose(engine: &Engine, words: &str) -> Result<Option<LoraChoice>, CliError> {
    let loras = engine.loras();
    let has = |name: &str| loras.iter().any(|lora| lora.name == name);
    if words == OFF {
        return Ok(None);
    }
    // A name may have spaces.
    let (name, scale) = match words.rsplit_once(char::is_whitespace) {
        Some((name, number)) if !has(words) => match scale(number) {
            Ok(Scale { name: None, factor }) => (name.trim_end(), Some(factor)),
            _ => (words, None),
        },
        _ => (words, None),
    };
    if has(name) {
        return Ok(Some(LoraChoice { name: name.to_owned(), scale }));
    }
    let names: Vec<_> = loras.iter().map(|lora| lora.name.as_str()).collect();
    Err(CliError::User(match names.is_empty() {
        true => "No LoRA adapter is loaded: --lora PATH loads one at the start.".to_owned(),
        false => format!("{name}: no such adapter; these are: {}, {OFF}", names.join(", ")),
    }))
}

/// The error for an `--adapter`, which chooses the GPU, if a file or folder has this name.
pub fn meant_a_file(adapter: Option<&String>, error: CliError) -> CliError {
    match adapter.filter(|adapter| Path::new(adapter).exists()) {
        Some(path) => CliError::Advised {
            problem: error.to_string(),
            tip: format!("--adapter chooses the GPU; --lora {path} loads a LoRA adapter"),
        },
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_word_before_an_equals_sign_is_a_name() {
        for (text, name, place) in [
            ("legal=dir/x", Some("legal"), "dir/x"),
            ("a-b_c.1=x=y", Some("a-b_c.1"), "x=y"),
            ("./a=b", None, "./a=b"),
            ("dir/a=b", None, "dir/a=b"),
            ("C:\\a=b", None, "C:\\a=b"),
            ("=x", None, "=x"),
            ("owner/repo", None, "owner/repo"),
        ] {
            assert_eq!(split(text), (name, place), "{text}");
        }
    }

    #[test]
    fn an_adapter_is_called_as_its_folder_file_or_repository() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let hub = format!("/h/models--owner--my-lora/snapshots/{commit}");
        for (place, name) in [
            ("dir/legal", "legal"),
            ("dir/legal/", "legal"),
            ("legal-f16.gguf", "legal-f16"),
            ("Legal.GGUF", "Legal"),
            ("dir/legal/adapter_model.safetensors", "legal"),
            ("dir/legal/adapter_config.json", "legal"),
            ("v1.5", "v1.5"),
            ("owner/my-lora", "my-lora"),
            ("owner/my-lora:F16@main", "my-lora"),
            (".gguf", ".gguf"),
            (hub.as_str(), "my-lora"),
        ] {
            assert_eq!(default_name(place), name, "{place}");
        }
        let here = std::env::current_dir().unwrap();
        let here = here.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!((default_name("."), default_name("adapter_config.json")), (here.clone(), here));
    }
}
