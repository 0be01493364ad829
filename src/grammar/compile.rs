//! Compiles structures.

use llguidance::api::GrammarWithLexer;
use serde_json::{Value, json};

use super::compiled::Grammar;
use super::error::GrammarError;
use super::lark::with_space;
use super::structure::Structure;
use super::vocabulary::Grammars;
use super::{calls, limits, reasoning};
use crate::text::{AnswerFormat, CallForm, catch_panic};

/// White space between the tokens of JSON: a space, or a line break with an indent. Without a bound a model could write
/// nothing else for ever.
const JSON_SPACE: &str = r"[ \t]|\r?\n[ \t]{0,40}";

impl Grammars {
    /// Compiles a structure. `format` is that of the answer: if the model may reason, reasoning may come before the
    /// structure. `form` is the model's form of tool calls.
    ///
    /// # Errors
    /// [`GrammarError`] for a structure that is invalid, not supported or too large.
    pub fn compile(
        &self,
        structure: &Structure,
        format: &AnswerFormat,
        form: Option<CallForm>,
    ) -> Result<Grammar, GrammarError> {
        let (place, answer) = match structure {
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
            Structure::Calls(calls) => return calls::compile(self, calls, format, form),
        };
        self.build(place, reasoning::before(vec![answer], format, self.tokenizer()))
    }
}

/// The grammar of a schema's JSON.
fn json_grammar(schema: &Value) -> GrammarWithLexer {
    GrammarWithLexer::from_json_schema(with_space(schema, JSON_SPACE))
}
