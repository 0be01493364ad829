//! The grammars of answers that are only content.

use serde_json::{Value, json};

use super::error::GrammarError;
use super::lark::with_space;
use super::limits;
use super::source::{Form, Source};
use super::structure::Structure;

/// White space between the tokens of JSON: a space, or a line break with an indent. Without a bound a model could write
/// nothing else for ever.
const JSON_SPACE: &str = r"[ \t]|\r?\n[ \t]{0,40}";

/// The grammar of an answer that is only content, and its name in errors.
pub(super) fn grammar(structure: &Structure) -> Result<(&'static str, Source), GrammarError> {
    Ok(match structure {
        Structure::JsonObject => ("JSON object", json_grammar(&json!({ "type": "object" }))),
        Structure::JsonSchema(schema) => {
            limits::check_schema("JSON schema", schema)?;
            ("JSON schema", json_grammar(schema))
        }
        Structure::Regex(text) => {
            limits::check_text("regular expression", text)?;
            ("regular expression", Form::Regex(text.clone()).into())
        }
        Structure::Lark(text) => {
            limits::check_lark("grammar", text)?;
            ("grammar", Form::Lark(text.clone()).into())
        }
        Structure::Calls(_) => {
            return Err(GrammarError::refused("content", "must not be calls of tools"));
        }
    })
}

/// The grammar of a schema's JSON.
fn json_grammar(schema: &Value) -> Source {
    Form::JsonSchema(with_space(schema, JSON_SPACE)).into()
}
