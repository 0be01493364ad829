//! LoRA adapters on the command line.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::hub;
use super::options::Common;
use crate::formats::ModelFiles;
use crate::model::{LoraAdapter, ModelConfig};

/// `--lora [NAME=]PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraPath {
    /// The adapter's name: the given one, or that of its file or folder.
    pub name: String,
    /// The file or folder, or a name on the hub.
    pub path: PathBuf,
}

/// `--lora-scale [NAME=]X`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraScale {
    /// The adapter; without one, all that have no scale of their own.
    pub name: Option<String>,
    /// Factor on the adapter's own scale.
    pub scale: f32,
}

/// Parses `[NAME=]PATH`. A text with `=` that is a path is one as a whole.
pub fn lora_path(text: &str) -> Result<LoraPath, String> {
    let is_name = |name: &str| !name.is_empty() && !name.contains(['/', '\\']);
    let (name, path) = match text.split_once('=') {
        Some((name, path)) if is_name(name) && !Path::new(text).exists() => (name.to_owned(), path),
        _ => (default_name(text), text),
    };
    if path.is_empty() {
        return Err("need [NAME=]PATH: a folder, a file or owner/repo on the hub".to_owned());
    }
    Ok(LoraPath { name, path: PathBuf::from(path) })
}

/// The last part of a path, without the ends of adapters' files.
fn default_name(path: &str) -> String {
    let mut parts = path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']);
    let last = parts.next().unwrap_or_default();
    let name = match last {
        // The folder is the adapter.
        "adapter_model.safetensors" | "adapter_config.json" => parts.next().unwrap_or(last),
        _ => last,
    };
    let ends = [".gguf", ".safetensors"];
    ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
}

/// Parses `[NAME=]X`.
pub fn lora_scale(text: &str) -> Result<LoraScale, String> {
    let (name, scale) = match text.rsplit_once('=') {
        Some((name, scale)) => (Some(name.to_owned()), scale),
        None => (None, text),
    };
    let scale = scale.trim().parse().ok().filter(|scale: &f32| scale.is_finite());
    match scale {
        Some(scale) => Ok(LoraScale { name, scale }),
        None => Err("need [NAME=]X, e.g. 0.5".to_owned()),
    }
}

/// Reads the adapters of a model with their names, each with its factor.
///
/// # Errors
/// Two adapters of one name, a scale for none of them, and errors of the files.
pub fn read(
    paths: &[LoraPath],
    scales: &[LoraScale],
    config: &ModelConfig,
    common: &Common,
) -> Result<Vec<(String, LoraAdapter, f32)>, CliError> {
    for (i, LoraPath { name, .. }) in paths.iter().enumerate() {
        if paths.iter().take(i).any(|other| other.name == *name) {
            return Err(CliError::User(format!(
                "--lora: two adapters are named {name}: give one another name, e.g. --lora other={}",
                paths[i].path.display()
            )));
        }
    }
    for LoraScale { name, .. } in scales {
        if let Some(name) = name
            && !paths.iter().any(|path| path.name == *name)
        {
            let there: Vec<&str> = paths.iter().map(|path| &*path.name).collect();
            let there = there.join(", ");
            return Err(CliError::User(format!(
                "--lora-scale {name}: no adapter has this name, there are: {there}"
            )));
        }
    }
    let mut adapters = Vec::new();
    for LoraPath { name, path } in paths {
        let of = |wanted: Option<&str>| scales.iter().rev().find(|s| s.name.as_deref() == wanted);
        let scale = of(Some(name)).or_else(|| of(None)).map_or(1.0, |s| s.scale);
        if let Some(advice) = hub::meant_for_the_hub(path) {
            return Err(advice);
        }
        let files = ModelFiles::path(hub::resolve(path, common, hub::Kind::Adapter)?)?;
        let adapter = pollster::block_on(LoraAdapter::read(&files, config))?;
        adapters.push((name.clone(), adapter, scale));
    }
    Ok(adapters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_named_by_its_place_or_by_the_user() {
        for (text, name, path) in [
            ("adapters/invoices", "invoices", "adapters/invoices"),
            ("adapters/invoices/", "invoices", "adapters/invoices/"),
            ("x/invoices.gguf", "invoices", "x/invoices.gguf"),
            (
                "x/invoices/adapter_model.safetensors",
                "invoices",
                "x/invoices/adapter_model.safetensors",
            ),
            ("adapter_model.safetensors", "adapter_model", "adapter_model.safetensors"),
            ("de=x/y", "de", "x/y"),
            ("de=owner/repo", "de", "owner/repo"),
            ("x/a=b", "a=b", "x/a=b"),
        ] {
            let parsed = lora_path(text).unwrap();
            assert_eq!((&*parsed.name, parsed.path.to_str().unwrap()), (name, path), "{text}");
        }
        assert!(lora_path("de=").is_err());
    }

    #[test]
    fn a_scale_is_a_finite_number() {
        let scale = |name: Option<&str>, scale| LoraScale { name: name.map(str::to_owned), scale };
        assert_eq!(lora_scale("0.5").unwrap(), scale(None, 0.5));
        assert_eq!(lora_scale("de=-2").unwrap(), scale(Some("de"), -2.0));
        assert_eq!(lora_scale("a=b=1").unwrap(), scale(Some("a=b"), 1.0));
        for wrong in ["", "de=", "x", "nan", "de=inf", "1,5"] {
            assert!(lora_scale(wrong).is_err(), "{wrong}");
        }
    }
}
