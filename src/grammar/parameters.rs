//! The tools of a request, with each parameter's schema on its own.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::error::GrammarError;
use super::limits::MAX_SCHEMA_BYTES;
use crate::text::{function_of, is_call_name};

/// Keywords that relate the arguments to each other. A schema with one is enforced as a whole.
const RELATIONS: [&str; 18] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "const",
    "enum",
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "dependencies",
    "dependentRequired",
];
/// More of them, which newer drafts have.
const NEWER_RELATIONS: [&str; 2] = ["dependentSchemas", "unevaluatedProperties"];

/// A tool.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub name: String,
    /// Whether a schema that cannot be enforced is an error.
    pub strict: bool,
    pub arguments: Arguments,
    /// The schema of all arguments.
    schema: Value,
}

/// The arguments of a tool.
#[derive(Clone, Debug)]
pub(super) enum Arguments {
    /// One after the other.
    Listed(Vec<Parameter>),
    /// Fields of an object of this schema.
    Object(Value),
}

/// A parameter.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub name: String,
    pub required: bool,
    /// Its schema as the definition has it, by which calls are read.
    pub own: Value,
    /// Its schema with all that it refers to.
    pub schema: Value,
}

/// Reads definitions of tools as [`Tools::new`](crate::text::Tools::new) does. The first tool of a name counts.
pub(super) fn tools(definitions: &[Value]) -> Result<Vec<Tool>, GrammarError> {
    let mut seen = HashSet::new();
    let tools = definitions.iter().filter_map(|definition| {
        let function = function_of(definition);
        let name = function.get("name")?.as_str()?;
        seen.insert(name).then(|| Tool::new(name, function))
    });
    tools.collect()
}

impl Tool {
    fn new(name: &str, function: &Value) -> Result<Self, GrammarError> {
        let none = json!({ "type": "object", "properties": {} });
        let schema = function.get("parameters").filter(|p| !p.is_null()).unwrap_or(&none);
        let problem = match schema.get("type") {
            _ if !schema.is_object() => Some("parameters: must be a JSON schema"),
            None => None,
            Some(one) if one == "object" || one == "dict" => None,
            Some(_) => Some("parameters: type must be \"object\""),
        };
        if let Some(problem) = problem {
            return Err(GrammarError::refused(format!("tool {name:?}"), problem));
        }
        Ok(Self {
            name: name.to_owned(),
            strict: function.get("strict").and_then(Value::as_bool).unwrap_or(false),
            arguments: arguments(schema),
            schema: schema.clone(),
        })
    }

    /// Enforces only the names of the arguments, and which are required.
    pub fn relax(&mut self) {
        let required = required(&self.schema);
        let properties = self.schema.get("properties").and_then(Value::as_object);
        let mut names: Vec<&str> =
            properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        names.extend(
            required.iter().filter(|name| properties.is_none_or(|p| !p.contains_key(**name))),
        );
        let listed = names.iter().all(|name| is_call_name(name));
        self.arguments = if listed {
            let parameter = |name: &&str| Parameter {
                name: (*name).to_owned(),
                required: required.contains(name),
                own: json!({}),
                schema: json!({}),
            };
            Arguments::Listed(names.iter().map(parameter).collect())
        } else {
            let names: Vec<&&str> = required.iter().collect();
            Arguments::Object(json!({ "type": "object", "required": names }))
        };
    }
}

fn required(schema: &Value) -> HashSet<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn arguments(schema: &Value) -> Arguments {
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required = required(schema);
    let related = RELATIONS.iter().chain(&NEWER_RELATIONS).any(|key| schema.get(key).is_some());
    let known = required.iter().all(|name| properties.contains_key(*name));
    // Errors in these are found when the whole schema is compiled.
    let proper = schema.get("properties").is_none_or(Value::is_object)
        && schema.get("required").is_none_or(Value::is_array);
    // Each of these parameters gets a copy of the whole.
    let copies = properties.values().filter(|own| refers(own)).count();
    let large = copies > 0 && copies * schema.to_string().len() > MAX_SCHEMA_BYTES;
    if large || related || !known || !proper || !properties.keys().all(|name| is_call_name(name)) {
        let mut whole = schema.clone();
        whole["type"] = "object".into();
        return Arguments::Object(whole);
    }
    let parameter = |(name, own): (&String, &Value)| Parameter {
        name: name.clone(),
        required: required.contains(name.as_str()),
        own: own.clone(),
        schema: alone(schema, name, own),
    };
    Arguments::Listed(properties.iter().map(parameter).collect())
}

/// The schema of a parameter, which may refer to other parts of the whole.
fn alone(whole: &Value, name: &str, own: &Value) -> Value {
    if !refers(own) {
        return own.clone();
    }
    let mut whole = whole.clone();
    move_references(&mut whole);
    json!({ "$defs": { "parameters": whole }, "$ref": format!("#/$defs/parameters/properties/{name}") })
}

/// Whether a schema refers to another place of its document.
fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.get("$ref").is_some_and(Value::is_string) || fields.values().any(refers)
        }
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

/// Lets references find their place after the document has become a part of another one.
fn move_references(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(place) if key == "$ref" && place.starts_with('#') => {
                        *place = format!("#/$defs/parameters{}", place.trim_start_matches('#'));
                    }
                    // Values, not schemas.
                    _ if matches!(key.as_str(), "const" | "enum" | "default" | "examples") => {}
                    value => move_references(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(move_references),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(parameters: Value) -> Tool {
        tools(&[json!({ "name": "f", "parameters": parameters })]).unwrap().remove(0)
    }

    #[test]
    fn parameters_are_listed_in_the_order_of_the_schema() {
        let tool =
            tool(json!({"properties": {"b": {"type": "string"}, "a": true}, "required": ["a"]}));
        let Arguments::Listed(listed) = &tool.arguments else { panic!("{tool:?}") };
        let listed: Vec<_> = listed.iter().map(|p| (p.name.as_str(), p.required)).collect();
        assert_eq!(listed, [("b", false), ("a", true)]);
    }

    #[test]
    fn arguments_that_depend_on_each_other_are_one_object() {
        for parameters in [
            json!({"properties": {"a": {}}, "anyOf": [{"required": ["a"]}]}),
            json!({"properties": {"a b": {}}}),
            json!({"required": ["a"]}),
            json!({"$ref": "#/$defs/A"}),
        ] {
            assert!(matches!(tool(parameters).arguments, Arguments::Object(_)));
        }
    }

    #[test]
    fn references_are_moved_with_their_document() {
        let tool = tool(json!({
            "properties": {"a": {"items": {"$ref": "#/$defs/T"}}, "b": {"enum": [{"$ref": "#x"}]}},
            "$defs": {"T": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}},
        }));
        let Arguments::Listed(listed) = &tool.arguments else { panic!("{tool:?}") };
        let a = &listed[0].schema;
        assert_eq!(a["$ref"], "#/$defs/parameters/properties/a");
        let whole = &a["$defs"]["parameters"];
        assert_eq!(whole["properties"]["a"]["items"]["$ref"], "#/$defs/parameters/$defs/T");
        assert_eq!(whole["$defs"]["T"]["anyOf"][1]["$ref"], "#/$defs/parameters");
        assert_eq!(whole["properties"]["b"]["enum"][0]["$ref"], "#x");
    }

    #[test]
    fn a_relaxed_tool_keeps_its_names() {
        let mut tool = tool(json!({"properties": {"a": {"not": {}}}, "required": ["a", "b"]}));
        tool.relax();
        let Arguments::Listed(listed) = &tool.arguments else { panic!("{tool:?}") };
        let listed: Vec<_> =
            listed.iter().map(|p| (p.name.as_str(), p.required, &p.schema)).collect();
        assert_eq!(listed, [("a", true, &json!({})), ("b", true, &json!({}))]);
    }

    #[test]
    fn definitions_that_are_no_schemas_are_refused() {
        for parameters in [json!([]), json!({"type": "string"})] {
            let error = tools(&[json!({ "name": "f", "parameters": parameters })]).unwrap_err();
            assert!(error.to_string().starts_with("tool \"f\": parameters: "), "{error}");
        }
    }
}
