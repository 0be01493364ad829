//! The grammar of calls in XML: `<tool_call>`, `<function=name>`, then a `<parameter=key>` for each argument. Text has
//! neither quotes nor escapes, and must not have the end tag of a parameter.

use serde_json::Value;

use super::error::GrammarError;
use super::lark::{Lark, literal, marker};
use super::parameters::{Arguments, Parameter, Tool};
use crate::text::XML_CALL_MARKERS;

/// Ends a value.
const VALUE_END: &str = "\n</parameter>\n";
/// Keywords that do not restrict a value.
const NOTES: [&str; 8] =
    ["type", "title", "description", "default", "examples", "nullable", "deprecated", "$comment"];

/// The form of a value.
enum Form {
    /// JSON.
    Json,
    /// Text of so many characters.
    Text { least: u64, most: Option<u64> },
    /// One of these texts.
    OneOf(Vec<String>),
}

/// Adds the rule `calls`: all that follows the start marker.
pub(super) fn write(
    lark: &mut Lark<'_>,
    tools: &[Tool],
    parallel: bool,
) -> Result<(), GrammarError> {
    let [start, end] = XML_CALL_MARKERS.map(|text| marker(lark.tokenizer, text));
    let more = if parallel { format!(" (\"\\n\" {start} call)*") } else { String::new() };
    lark.rule("calls", &format!("call{more}"));
    let choices: Vec<String> = (0..tools.len()).map(|i| format!("tool{i}")).collect();
    lark.rule("call", &format!("\"\\n\" ({}) \"</function>\\n\" {end}", choices.join(" | ")));
    lark.rule("VALUE", "/(?s:.*)/ & ~/(?s:.*<\\/parameter>.*)/");
    for (tool, rule) in tools.iter().zip(&choices) {
        let place = format!("tool {:?}", tool.name);
        let refused = |problem: &str| GrammarError::refused(place.as_str(), problem);
        let Arguments::Listed(parameters) = &tool.arguments else {
            return Err(refused(
                "parameters: keywords that relate the arguments to each other are not supported in \
                 this model's form of calls",
            ));
        };
        if !is_xml_name(&tool.name) || !parameters.iter().all(|p| is_xml_name(&p.name)) {
            return Err(refused(
                "its name, or a parameter's, is not valid in this model's form of calls",
            ));
        }
        let mut body = literal(&format!("<function={}>\n", tool.name));
        for (i, parameter) in parameters.iter().enumerate() {
            let value = format!("{rule}_arg{i}");
            body.push_str(&if parameter.required {
                format!(" {value}")
            } else {
                format!(" {value}?")
            });
            argument(lark, parameter, &value).map_err(|problem| {
                refused(&format!("parameter {:?}: {problem}", parameter.name))
            })?;
        }
        lark.rule(rule, &body);
    }
    Ok(())
}

/// Whether a name is read back from a tag.
fn is_xml_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.contains(['>', '\n', '<'])
}

/// Adds the rule of an argument.
fn argument(lark: &mut Lark<'_>, parameter: &Parameter, rule: &str) -> Result<(), String> {
    let start = literal(&format!("<parameter={}>\n", parameter.name));
    let end = literal(VALUE_END);
    match form_of(&parameter.own)? {
        Form::Json => {
            let json = lark.json(&parameter.schema);
            lark.rule(rule, &format!("{start} {json} {end}"));
        }
        Form::OneOf(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| literal(text)).collect();
            lark.rule(rule, &format!("{start} ({}) {end}", texts.join(" | ")));
        }
        Form::Text { least, most } => {
            let upper = rule.to_uppercase();
            let most = most.map_or(String::new(), |most| most.to_string());
            let text = match (least, most.as_str()) {
                (0, "") => "VALUE".to_owned(),
                (least, most) => {
                    lark.rule(&upper, &format!("VALUE & /(?s:.{{{least},{most}}})/"));
                    upper
                }
            };
            lark.rule(rule, &format!("{start} {rule}_text"));
            lark.rule(&format!("{rule}_text[suffix={end}]"), &text);
        }
    }
    Ok(())
}

/// The form of a parameter's values, which the reader finds by the types that the schema declares.
fn form_of(schema: &Value) -> Result<Form, String> {
    let Some(fields) = schema.as_object() else {
        return Ok(Form::Text { least: 0, most: None });
    };
    let restricts = |key: &&String| !NOTES.contains(&key.as_str());
    let types: Vec<&str> = match fields.get("type") {
        None => Vec::new(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(name) => name.as_str().into_iter().collect(),
    };
    let plain = || fields.keys().filter(restricts).all(|key| key == "anyOf");
    if !types.is_empty() && !types.contains(&"string") {
        return Ok(Form::Json);
    }
    if let Some(choices) = fields.get("anyOf").and_then(Value::as_array) {
        let forms: Vec<Form> = choices.iter().map(form_of).collect::<Result<_, _>>()?;
        if types.is_empty() && forms.iter().all(|form| matches!(form, Form::Json)) {
            return Ok(Form::Json);
        }
        let free = |form: &Form| matches!(form, Form::Text { least: 0, most: None });
        let typed = choices.iter().zip(&forms).all(|(choice, form)| match form {
            Form::Json => choice.as_object().is_some_and(|c| !c.keys().any(|k| restricts(&k))),
            other => free(other),
        });
        return match plain() && typed && types.len() < 2 {
            true => Ok(Form::Text { least: 0, most: None }),
            false => Err("anyOf of restricted types with text is not supported".to_owned()),
        };
    }
    let one = fields.get("const").map(std::slice::from_ref);
    let values = fields.get("enum").and_then(Value::as_array).map(Vec::as_slice).or(one);
    let (mut least, mut most) = (0, None);
    for (key, value) in fields.iter().filter(|(key, _)| restricts(key)) {
        match (key.as_str(), value.as_u64()) {
            ("minLength", Some(count)) if values.is_none() => least = count,
            ("maxLength", Some(count)) if values.is_none() => most = Some(count),
            ("enum" | "const", _) => {}
            (key, _) => return Err(format!("the keyword {key:?} is not supported for text")),
        }
    }
    if types.len() > 1 && (values.is_some() || least > 0 || most.is_some()) {
        return Err("restrictions of several types with text are not supported".to_owned());
    }
    if most.is_some_and(|most| most < least) {
        return Err("maxLength is less than minLength".to_owned());
    }
    let Some(values) = values else { return Ok(Form::Text { least, most }) };
    let texts = values.iter().map(|value| match value.as_str() {
        Some(text) if !text.contains("</parameter>") => Ok(text.to_owned()),
        Some(_) => Err("a value has the end tag of a parameter".to_owned()),
        None => Err("values of other types need a \"type\"".to_owned()),
    });
    Ok(Form::OneOf(texts.collect::<Result<_, String>>()?))
}
