//! The grammars of answers that are only content.

use llguidance::api::GrammarWithLexer;
use serde_json::{Value, json};

use super::error::GrammarError;
use super::lark::with_space;
use super::limits;
use super::structure::Structure;
use crate::text::catch_panic;

/// White space between the tokens of JSON: a space, or a line break with an indent. Without a bound a model could write
/// nothing else for ever.
const JSON_SPACE: &str = r"[ \t]|\r?\n[ \t]{0,40}";

/// The grammar of an answer that is only content, and its name in errors.
pub(super) fn grammar(
    structure: &Structure,
) -> Result<(&'static str, GrammarWithLexer), GrammarError> {
    Ok(match structure {
        Structure::JsonObject => ("JSON object", json_grammar(&json!({ "type": "object" }))),
        Structure::JsonSchema(schema) => {
            limits::check_schema("JSON schema", schema)?;
            ("JSON schema", json_grammar(schema))
        }
        Structure::Regex(text) => {
            limits::check_text("regular expression", text)?;
            let failed = |problem| GrammarError::of_library("regular expression", problem);
            let grammar = catch_panic(failed, || Ok(GrammarWithLexer::from_regex(text)))?;
            ("regular expression", grammar)
        }
        Structure::Lark(text) => {
            limits::check_lark("grammar", text)?;
            ("grammar", GrammarWithLexer::from_lark(text.clone()))
        }
        Structure::Calls(_) => {
            return Err(GrammarError::refused("content", "must not be calls of tools"));
        }
    })
}

/// The grammar of a schema's JSON.
fn json_grammar(schema: &Value) -> GrammarWithLexer {
    GrammarWithLexer::from_json_schema(with_space(schema, JSON_SPACE))
}
