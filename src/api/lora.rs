//! The LoRA adapter of a request: its field `lora`, or an adapter's name as `model`.

use serde_json::Value;

use super::fields::{Fields, wrong};
use super::place::Place;
use crate::engine::{LoraChoice, LoraInfo};
use crate::error::Error;
use crate::formats::quoted;

/// `lora`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LoraField {
    /// `"NAME"`, or `{"name", "scale"}`.
    Named(LoraChoice),
    /// llama-server's `[{"id", "scale"}]` with one scale other than 0. Ids are the order of loading.
    Numbered { id: usize, scale: f32 },
    /// llama-server's list without such a scale: the model alone.
    Off,
}

impl Fields {
    /// `lora`.
    pub(super) fn lora(&mut self) -> Result<Option<LoraField>, Error> {
        self.take("lora").map(|value| LoraField::read(&value)).transpose()
    }
}

impl LoraField {
    fn read(value: &Value) -> Result<Self, Error> {
        let field = Place::new(value, "lora");
        match value {
            Value::String(name) => Ok(Self::Named(LoraChoice { name: name.clone(), scale: None })),
            Value::Object(_) => {
                only(&field, &["name", "scale"])?;
                let name = field.need_text("name")?.to_owned();
                let scale = field.get("scale").map(|scale| number(&scale)).transpose()?;
                Ok(Self::Named(LoraChoice { name, scale }))
            }
            Value::Array(_) => Self::numbered(&field),
            _ => Err(field.wrong("must be an adapter's name, or {\"name\", \"scale\"}")),
        }
    }

    fn numbered(list: &Place<'_>) -> Result<Self, Error> {
        let mut chosen = Self::Off;
        for one in list.list("must be a list")? {
            only(&one, &["id", "scale"])?;
            let id = one.need("id")?;
            let problem = "must be a whole number from 0";
            let number_of = id.value.as_u64().and_then(|id| usize::try_from(id).ok());
            let (id, scale) =
                (number_of.ok_or_else(|| id.wrong(problem))?, number(&one.need("scale")?)?);
            if scale == 0.0 {
                continue;
            }
            if chosen != Self::Off {
                let problem = "has several adapters: an answer uses one adapter at a time";
                return Err(list.wrong(problem));
            }
            chosen = Self::Numbered { id, scale };
        }
        Ok(chosen)
    }

    /// The adapter among those that are loaded.
    fn among(&self, loras: &[LoraInfo]) -> Result<Option<LoraChoice>, Error> {
        match self {
            Self::Off => Ok(None),
            Self::Named(choice) if loras.iter().any(|lora| lora.name == choice.name) => {
                Ok(Some(choice.clone()))
            }
            Self::Named(choice) => Err(unknown(&quoted(&choice.name), loras)),
            Self::Numbered { id, scale } => match loras.get(*id) {
                Some(lora) => Ok(Some(LoraChoice { name: lora.name.clone(), scale: Some(*scale) })),
                None => Err(unknown(&format!("the id {id}"), loras)),
            },
        }
    }
}

/// Refuses other keys of an object.
fn only(object: &Place<'_>, keys: &[&str]) -> Result<(), Error> {
    match object.object()?.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(object.wrong(format!("{} is not supported", quoted(key)))),
        None => Ok(()),
    }
}

fn number(place: &Place<'_>) -> Result<f32, Error> {
    let number = place.value.as_f64().map(|number| number as f32);
    number.filter(|number| number.is_finite()).ok_or_else(|| place.wrong("must be a finite number"))
}

fn unknown(asked: &str, loras: &[LoraInfo]) -> Error {
    let names: Vec<_> = loras.iter().map(|lora| lora.name.as_str()).collect();
    wrong(
        "lora",
        match names.is_empty() {
            true => format!("{asked} is not loaded; no adapter is"),
            false => format!("{asked} is not loaded; the adapters are {}", names.join(", ")),
        },
    )
}

/// The adapter that a request chooses by these two fields. A model called as an adapter is the model.
pub(super) fn chosen(
    lora: Option<&LoraField>,
    model: Option<&str>,
    own: &str,
    loras: &[LoraInfo],
) -> Result<Option<LoraChoice>, Error> {
    let by_model = model
        .filter(|name| *name != own)
        .and_then(|name| loras.iter().find(|lora| lora.name == name))
        .map(|lora| LoraChoice { name: lora.name.clone(), scale: None });
    let Some(field) = lora else { return Ok(by_model) };
    let choice = field.among(loras)?;
    match (by_model, choice) {
        (Some(model), choice) if choice.as_ref().is_none_or(|lora| lora.name != model.name) => {
            let other = choice.map_or("the model alone".to_owned(), |lora| quoted(&lora.name));
            let problem =
                format!("is {other}, and model is {}: give one of them", quoted(&model.name));
            Err(wrong("lora", problem))
        }
        (_, choice) => Ok(choice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn loras() -> Vec<LoraInfo> {
        let info = |name: &str| LoraInfo { name: name.to_owned(), rank: 8, scale: 1.0 };
        vec![info("a"), info("b"), info("base")]
    }

    fn choose(lora: Value, model: Option<&str>) -> Result<Option<(String, Option<f32>)>, String> {
        let mut fields = Fields([("lora".to_owned(), lora)].into_iter().collect());
        let field = fields.lora().map_err(|e| e.to_string())?;
        let choice = chosen(field.as_ref(), model, "base", &loras()).map_err(|e| e.to_string())?;
        Ok(choice.map(|choice| (choice.name, choice.scale)))
    }

    #[test]
    fn an_adapter_is_chosen_by_name_id_or_model() {
        let some = |name: &str, scale: Option<f32>| Ok(Some((name.to_owned(), scale)));
        for (lora, model, choice) in [
            (json!(null), None, Ok(None)),
            (json!(null), Some("base"), Ok(None)),
            (json!(null), Some("other"), Ok(None)),
            (json!(null), Some("b"), some("b", None)),
            (json!("a"), None, some("a", None)),
            (json!("a"), Some("base"), some("a", None)),
            (json!("a"), Some("a"), some("a", None)),
            (json!({ "name": "a" }), None, some("a", None)),
            (json!({ "name": "a", "scale": null }), None, some("a", None)),
            (json!({ "name": "a", "scale": 0 }), None, some("a", Some(0.0))),
            (json!({ "name": "b", "scale": -0.5 }), Some("b"), some("b", Some(-0.5))),
            (json!([{ "id": 1, "scale": 1.0 }]), None, some("b", Some(1.0))),
            (json!([{ "id": 0, "scale": 0 }, { "id": 1, "scale": 2 }]), None, some("b", Some(2.0))),
            (json!([{ "id": 0, "scale": 0.0 }]), None, Ok(None)),
            (json!([]), Some("base"), Ok(None)),
        ] {
            assert_eq!(choose(lora.clone(), model), choice, "{lora} {model:?}");
        }
    }

    #[test]
    fn wrong_adapters_are_refused_by_name() {
        for (lora, model, start) in [
            (json!(1), None, "lora: must be an adapter's name"),
            (json!(true), None, "lora: must be an adapter's name"),
            (json!({}), None, "lora.name: missing"),
            (json!({ "name": 1 }), None, "lora.name: must be a string"),
            (json!({ "name": "a", "scale": "1" }), None, "lora.scale: must be a finite number"),
            (json!({ "name": "a", "scale": 1e300 }), None, "lora.scale: must be a finite number"),
            (json!({ "name": "a", "weight": 1 }), None, "lora: \"weight\" is not supported"),
            (json!("c"), None, "lora: \"c\" is not loaded; the adapters are a, b, base"),
            (json!("c\n"), None, "lora: \"c\\n\" is not loaded"),
            (json!([1]), None, "lora[0]: must be an object"),
            (json!([{ "id": 0 }]), None, "lora[0].scale: missing"),
            (json!([{ "id": -1, "scale": 1 }]), None, "lora[0].id: must be a whole number"),
            (json!([{ "id": 3, "scale": 1 }]), None, "lora: the id 3 is not loaded"),
            (
                json!([{ "id": 0, "scale": 1 }, { "id": 1, "scale": 1 }]),
                None,
                "lora: has several adapters",
            ),
            (json!("a"), Some("b"), "lora: is \"a\", and model is \"b\": give one of them"),
            (json!([]), Some("b"), "lora: is the model alone, and model is \"b\""),
        ] {
            let problem = choose(lora.clone(), model).unwrap_err();
            assert!(problem.starts_with(start), "{lora}: {problem}");
        }
        let none = LoraField::Off.among(&[]);
        assert_eq!(none.unwrap(), None);
        let field = LoraField::Numbered { id: 0, scale: 1.0 };
        let problem = field.among(&[]).unwrap_err().to_string();
        assert_eq!(problem, "lora: the id 0 is not loaded; no adapter is");
    }
}
