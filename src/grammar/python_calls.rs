//! The grammar of calls in Python's form: `<|tool_call_start|>[f(a="x", b=1), g()]<|tool_call_end|>`.

use serde_json::{Value, json};

use super::error::GrammarError;
use super::lark::{Lark, literal, marker};
use super::parameters::{Arguments, Parameter, Tool};
use crate::text::{TOOL_CALL_MARKERS, is_call_name};

/// Adds the rule `calls`: all that follows the start marker.
pub(super) fn write(
    lark: &mut Lark<'_>,
    tools: &[Tool],
    parallel: bool,
) -> Result<(), GrammarError> {
    let end = marker(lark.tokenizer, TOOL_CALL_MARKERS[1]);
    let more = if parallel { "(\", \" call)* " } else { "" };
    lark.rule("calls", &format!("\"[\" call {more}\"]\" {end}"));
    let choices: Vec<String> = (0..tools.len()).map(|i| format!("tool{i}")).collect();
    lark.rule("call", &choices.join(" | "));
    for (tool, rule) in tools.iter().zip(&choices) {
        if is_call_name(&tool.name) {
            python(lark, tool, rule);
        } else {
            json_object(lark, tool, rule);
        }
    }
    Ok(())
}

/// A call `f(a="x")`.
fn python(lark: &mut Lark<'_>, tool: &Tool, rule: &str) {
    let name = literal(&format!("{}(", tool.name));
    match &tool.arguments {
        Arguments::Listed(parameters) => {
            lark.rule(rule, &format!("{name} {rule}_first0 \")\""));
            list(lark, parameters, rule);
        }
        Arguments::Object(schema) => {
            let object = lark.json(schema);
            lark.rule(rule, &format!("{name} \"**\" {object} \")\""));
        }
    }
}

/// Arguments in their order: `first` rules come before the first one that is written, `next` rules after it.
fn list(lark: &mut Lark<'_>, parameters: &[Parameter], rule: &str) {
    for (i, parameter) in parameters.iter().enumerate() {
        let after = i + 1;
        let (mut first, mut next) = (
            format!("{rule}_arg{i} {rule}_next{after}"),
            format!("\", \" {rule}_arg{i} {rule}_next{after}"),
        );
        if !parameter.required {
            first.push_str(&format!(" | {rule}_first{after}"));
            next.push_str(&format!(" | {rule}_next{after}"));
        }
        lark.rule(&format!("{rule}_first{i}"), &first);
        lark.rule(&format!("{rule}_next{i}"), &next);
        let name = literal(&format!("{}=", parameter.name));
        let value = value(lark, parameter);
        lark.rule(&format!("{rule}_arg{i}"), &format!("{name} ({value})"));
    }
    let end = parameters.len();
    lark.rule(&format!("{rule}_first{end}"), "\"\"");
    lark.rule(&format!("{rule}_next{end}"), "\"\"");
}

/// JSON, or a word of Python for the same value.
fn value(lark: &mut Lark<'_>, parameter: &Parameter) -> String {
    let json = lark.json(&parameter.schema);
    let word = |of: &str, words: &str| {
        if takes(&parameter.own, of) { words.to_owned() } else { String::new() }
    };
    let booleans = word("boolean", " | \"True\" | \"False\"");
    json + &booleans + &word("null", " | \"None\"")
}

/// Whether a schema surely takes every value of a type that has only a few.
fn takes(schema: &Value, of: &str) -> bool {
    let Some(fields) = schema.as_object() else { return schema == &json!(true) };
    let narrowed = ["enum", "const", "allOf", "oneOf", "not", "if", "$ref"];
    if narrowed.iter().any(|key| fields.contains_key(*key)) {
        return false;
    }
    let typed = match fields.get("type") {
        None => true,
        Some(Value::String(name)) => name == of,
        Some(Value::Array(names)) => names.iter().any(|name| name == of),
        Some(_) => false,
    };
    let choices = fields.get("anyOf").and_then(Value::as_array);
    typed && choices.is_none_or(|choices| choices.iter().any(|choice| takes(choice, of)))
}

/// A call in JSON, for a tool whose name is not valid before a parenthesis.
fn json_object(lark: &mut Lark<'_>, tool: &Tool, rule: &str) {
    let object = match &tool.arguments {
        Arguments::Object(schema) => schema.clone(),
        Arguments::Listed(parameters) => {
            let properties: serde_json::Map<String, Value> =
                parameters.iter().map(|p| (p.name.clone(), p.schema.clone())).collect();
            let required: Vec<&str> =
                parameters.iter().filter(|p| p.required).map(|p| p.name.as_str()).collect();
            json!({
                "type": "object", "properties": properties, "required": required,
                "additionalProperties": false,
            })
        }
    };
    let name = literal(&format!("{{\"name\": {}, \"arguments\": ", literal(&tool.name)));
    let arguments = lark.json(&object);
    lark.rule(rule, &format!("{name} {arguments} \"}}\""));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_python_are_allowed_if_the_type_is_free() {
        for (schema, boolean, null) in [
            (json!({"type": "boolean"}), true, false),
            (json!({"type": ["string", "null"]}), false, true),
            (json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]}), true, true),
            (json!({"type": "boolean", "enum": [true]}), false, false),
            (json!({}), true, true),
            (json!(true), true, true),
            (json!(false), false, false),
        ] {
            assert_eq!(takes(&schema, "boolean"), boolean, "{schema}");
            assert_eq!(takes(&schema, "null"), null, "{schema}");
        }
    }
}
