//! `--lora-scale`: the factors of LoRA adapters.

use super::error::CliError;

/// `--lora-scale [NAME=]X`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The adapter; `None`: all of them.
    pub name: Option<String>,
    /// The factor of its addition.
    pub factor: f32,
}

/// Parses a `--lora-scale`.
pub fn scale(text: &str) -> Result<Scale, String> {
    let (name, number) = match text.rsplit_once('=') {
        Some((name, number)) => (Some(name.trim().to_owned()), number),
        None => (None, text),
    };
    let factor = number.trim().parse().ok().filter(|factor: &f32| factor.is_finite());
    let factor = factor.ok_or("need a number, or NAME=NUMBER, e.g. 0.5 or legal=0.5")?;
    Ok(Scale { name, factor })
}

/// The factor of an adapter.
pub fn factor(scales: &[Scale], name: &str) -> f32 {
    let own = scales.iter().find(|scale| scale.name.as_deref() == Some(name));
    let all = || scales.iter().find(|scale| scale.name.is_none());
    own.or_else(all).map_or(1.0, |scale| scale.factor)
}

/// Checks that each `--lora-scale` has its adapter, and that none is given twice.
pub fn check_scales(scales: &[Scale], names: &[&str]) -> Result<(), CliError> {
    for (index, scale) in scales.iter().enumerate() {
        let before = scales.iter().take(index);
        let shown = scale.name.as_deref().unwrap_or("all adapters");
        let problem = match &scale.name {
            _ if names.is_empty() => "there is no --lora".to_owned(),
            Some(name) if !names.contains(&name.as_str()) => {
                format!("there is no adapter {name}; these are: {}", names.join(", "))
            }
            _ if before.clone().any(|other| other.name == scale.name) => {
                format!("two factors of {shown}")
            }
            _ => continue,
        };
        return Err(CliError::User(format!("--lora-scale: {problem}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_of_one_adapter_or_of_all() {
        let all = |texts: &[&str]| -> Vec<Scale> {
            texts.iter().map(|text| scale(text).unwrap()).collect()
        };
        let scales = all(&["0.5", "b=-2", "c = 0"]);
        assert_eq!(["a", "b", "c"].map(|name| factor(&scales, name)), [0.5, -2.0, 0.0]);
        assert_eq!(factor(&all(&["b=2"]), "a"), 1.0);
        for wrong in ["", "x", "a=", "a=b", "nan", "inf", "a=1e99"] {
            assert!(scale(wrong).is_err(), "{wrong}");
        }
        let problem = |texts: &[&str], names: &[&str]| {
            check_scales(&all(texts), names).unwrap_err().to_string()
        };
        assert_eq!(
            problem(&["x=1"], &["a", "b"]),
            "--lora-scale: there is no adapter x; these are: a, b"
        );
        assert_eq!(problem(&["1"], &[]), "--lora-scale: there is no --lora");
        assert_eq!(problem(&["1", "2"], &["a"]), "--lora-scale: two factors of all adapters");
        assert_eq!(problem(&["a=1", "1", "a=2"], &["a"]), "--lora-scale: two factors of a");
        assert!(check_scales(&scales, &["a", "b", "c"]).is_ok());
    }
}
