//! The tools offered to a model: their names and the types of their parameters.

use super::literal::Literal;
use serde_json::Value;

/// The tools of a request, reduced to the data needed to read calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tools(Vec<Tool>);

/// A tool.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tool {
    name: String,
    /// Parameters in the order of the schema.
    parameters: Vec<(String, Vec<Type>)>,
}

/// A JSON Schema type of a value written without quotes. Any other value is a string.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Integer,
    Number,
    Boolean,
    Null,
    Object,
    Array,
}

/// The function that a tool's definition describes: that in OpenAI's `{"type": "function", "function": {...}}`, or
/// Liquid's bare one.
pub(crate) fn function_of(definition: &Value) -> &Value {
    definition.get("function").filter(|function| function.is_object()).unwrap_or(definition)
}

impl Tools {
    /// Reads definitions: OpenAI's `{"type": "function", "function": {...}}`, or Liquid's bare
    /// `{"name", "description", "parameters"}`. Definitions without a name are ignored.
    #[must_use]
    pub fn new(definitions: &[Value]) -> Self {
        Self(definitions.iter().filter_map(Tool::new).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Tool> {
        self.0.iter().find(|tool| tool.name == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|tool| tool.name.as_str())
    }
}

impl Tool {
    fn new(definition: &Value) -> Option<Self> {
        let function = function_of(definition);
        let name = function.get("name")?.as_str()?.to_owned();
        let schema = function.get("parameters").and_then(|p| p.get("properties"));
        let properties = schema.and_then(Value::as_object).into_iter().flatten();
        let parameters = properties.map(|(key, schema)| {
            let mut types = Vec::new();
            add_types(schema, &mut types);
            (key.clone(), types)
        });
        Some(Self { name, parameters: parameters.collect() })
    }

    /// The name of the parameter at a position.
    pub(super) fn parameter(&self, place: usize) -> Option<&str> {
        self.parameters.get(place).map(|(name, _)| name.as_str())
    }

    /// Casts text without quotes to the first of the parameter's declared types that fits. If none
    /// fits, the value is the text. Source: transformers 5.24, `utils/chat_parsing`.
    pub(super) fn typed(&self, parameter: &str, text: &str) -> Literal {
        let types = self.parameters.iter().find(|(name, _)| name == parameter);
        let types = types.map(|(_, types)| types.as_slice()).unwrap_or_default();
        let value = types.iter().find_map(|wanted| wanted.cast(text));
        value.unwrap_or_else(|| Literal::String(text.to_owned()))
    }
}

/// The recursion is bounded, because parsed JSON has a bounded depth.
fn add_types(schema: &Value, types: &mut Vec<Type>) {
    let names = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name.as_str()],
        _ => Vec::new(),
    };
    types.extend(names.into_iter().filter_map(Type::named));
    for union in ["anyOf", "oneOf"] {
        let choices = schema.get(union).and_then(Value::as_array).into_iter().flatten();
        choices.for_each(|choice| add_types(choice, types));
    }
    if schema.get("nullable").and_then(Value::as_bool) == Some(true) {
        types.push(Type::Null);
    }
}

impl Type {
    /// Reads JSON Schema's names and other names found in collections of tools.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "integer" => Self::Integer,
            "number" | "float" => Self::Number,
            "boolean" => Self::Boolean,
            "null" => Self::Null,
            "object" | "dict" => Self::Object,
            "array" | "list" | "tuple" => Self::Array,
            _ => return None,
        })
    }

    fn cast(self, text: &str) -> Option<Literal> {
        let plain = text.trim();
        match self {
            Self::Integer => whole(plain).or_else(|| whole_float(plain)).map(Literal::Number),
            Self::Number => whole(plain).or_else(|| float(plain)).map(Literal::Number),
            Self::Boolean => match plain.to_ascii_lowercase().as_str() {
                "true" | "1" => Some(Literal::Bool(true)),
                "false" | "0" => Some(Literal::Bool(false)),
                _ => None,
            },
            Self::Null => matches!(plain, "null" | "None").then_some(Literal::Null),
            Self::Object => Literal::object_of_json(text),
            Self::Array => Literal::list_of_json(text),
        }
    }
}

/// Python's `int()` of text with an optional sign and underscores.
fn whole(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (if text.starts_with('-') { "-" } else { "" }, digits),
        None => ("", text),
    };
    let plain = digits
        .split('_')
        .all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    let digits = digits.replace('_', "");
    let number = digits.trim_start_matches('0');
    match (plain, number) {
        (false, _) => None,
        (true, "") => Some("0".to_owned()),
        (true, number) => Some(format!("{sign}{number}")),
    }
}

/// A whole number written as a float, e.g. `3.0`.
fn whole_float(text: &str) -> Option<String> {
    let value: f64 = number_text(text)?.parse().ok()?;
    // Above 2^53 several integers share one float.
    (value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0)
        .then(|| format!("{value:.0}"))
        .map(|number| if number == "-0" { "0".to_owned() } else { number })
}

/// Python's `float()` of text, as JSON. A whole number without a point stays a whole number.
fn float(text: &str) -> Option<String> {
    let number = number_text(text)?;
    let value: f64 = number.parse().ok()?;
    if !value.is_finite() {
        return None;
    }
    match text.contains('.') {
        true => Some(number),
        false => whole_float(text).or(Some(number)),
    }
}

/// Text as a JSON number; `None` if it is not a number.
fn number_text(text: &str) -> Option<String> {
    let mut reader = super::literal_reader::Reader::new(text);
    match reader.value(super::literal_reader::Place::Whole, 0)? {
        Literal::Number(number) if reader.rest().is_empty() => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Goldens: transformers 5.24 with LFM3's response template.
    #[test]
    fn values_are_cast_by_the_schema() {
        let tools =
            Tools::new(&[json!({"type": "function", "function": {"name": "f", "parameters": {
            "type": "object", "properties": {
                "s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"},
                "b": {"type": "boolean"}, "o": {"type": "object"}, "a": {"type": "array"},
                "u": {"type": ["string", "null"]},
                "v": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "w": {"type": "dict"}, "x": {"type": "integer", "nullable": true},
            }}}})]);
        let tool = tools.get("f").unwrap();
        for (key, text, json) in [
            ("s", "7", r#""7""#),
            ("s", "null", r#""null""#),
            ("i", "3.0", "3"),
            ("i", "-12345678901234567890123", "-12345678901234567890123"),
            ("i", "1_000", "1000"),
            ("i", "three", r#""three""#),
            ("i", "3.5", r#""3.5""#),
            ("n", "2", "2"),
            ("n", "2.50", "2.50"),
            ("n", "1e3", "1000"),
            ("n", "nan", r#""nan""#),
            ("b", "TRUE", "true"),
            ("b", "0", "false"),
            ("b", "yes", r#""yes""#),
            ("o", r#"{"k": null}"#, r#"{"k":null}"#),
            ("o", "{'k': 1}", r#""{'k': 1}""#),
            ("w", r#"{"k": 1}"#, r#"{"k":1}"#),
            ("a", "{}", r#""{}""#),
            ("a", "[1, \"x\"]", r#"[1,"x"]"#),
            ("u", "None", "null"),
            ("u", "null", "null"),
            ("u", "abc", r#""abc""#),
            ("v", "7", "7"),
            ("x", "null", "null"),
            ("unknown", "7", r#""7""#),
        ] {
            assert_eq!(tool.typed(key, text).to_json(), json, "{key} {text}");
        }
    }

    #[test]
    fn bare_definitions_are_tools_too() {
        let bare = json!({"name": "g", "parameters": {"properties": {"q": {}, "n": {}}}});
        let tools = Tools::new(&[bare, json!({}), json!("x")]);
        assert_eq!(tools.names().collect::<Vec<_>>(), ["g"]);
        assert_eq!(tools.get("g").unwrap().parameter(1), Some("n"));
    }
}
