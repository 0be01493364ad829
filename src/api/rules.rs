//! The rules for tokens that requests demand: structure of the content, and of tool calls.

use super::chat::ChatRequest;
use super::fields::wrong;
use super::structure::Wanted;
use super::tool_choice::ToolChoice;
use crate::engine::{AllowedTokens, Engine};
use crate::error::Error;
use crate::grammar::{self, GrammarError, Structure, ToolCalls};
use crate::text::AnswerFormat;

/// Problem of a rule that an engine cannot keep.
const NO_LIBRARY: &str = "is not supported by this build (feature `structure`)";

impl ChatRequest {
    /// Whether the answer needs a library that parses grammars: its tokens are restricted by a structure or by rules for
    /// tool calls.
    #[must_use]
    pub fn needs_grammar(&self) -> bool {
        self.wanted != Wanted::Text || self.tools_have_rules()
    }

    /// Whether tokens of tool calls are restricted: calls are demanded, must follow their schemas, must not be several,
    /// or are the alternative to content of a given form.
    fn tools_have_rules(&self) -> bool {
        let has_tools = self.conversation.tools.as_ref().is_some_and(|tools| !tools.is_empty());
        let demanded = matches!(self.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
        let rules = self.rules.strict || !self.rules.parallel;
        has_tools && (demanded || rules || self.wanted != Wanted::Text)
    }

    /// As `tools_have_rules`, for rules that `engine` can keep.
    pub(super) fn tools_are_restricted(&self, engine: &Engine) -> bool {
        engine.has_grammar_library() && self.tools_have_rules()
    }

    /// Checks that `engine` can keep the rules. Without a library that parses grammars, `strict` is accepted and not
    /// enforced.
    ///
    /// # Errors
    /// [`Error::Request`] for the first field that it cannot.
    pub(super) fn check_rules(&self, engine: &Engine) -> Result<(), Error> {
        match self.tool_choice {
            _ if engine.has_grammar_library() || !self.needs_grammar() => Ok(()),
            ToolChoice::Required | ToolChoice::Named(_) => Err(wrong("tool_choice", NO_LIBRARY)),
            _ if !self.rules.parallel => Err(wrong("parallel_tool_calls", NO_LIBRARY)),
            _ if self.wanted != Wanted::Text => Err(wrong(self.wanted.field(), NO_LIBRARY)),
            _ => Ok(()),
        }
    }
}

impl Wanted {
    fn structure(&self) -> Option<Structure> {
        Some(match self {
            Self::Text => return None,
            Self::JsonObject => Structure::JsonObject,
            Self::JsonSchema(schema) => Structure::JsonSchema(schema.clone()),
            Self::Regex(regex) => Structure::Regex(regex.clone()),
            Self::Grammar(grammar) => Structure::Lark(grammar.clone()),
        })
    }

    /// The rule for the tokens of an answer that is only content.
    pub(super) fn rule(
        &self,
        engine: &Engine,
        format: &AnswerFormat,
    ) -> Result<Option<AllowedTokens>, Error> {
        let Some(structure) = self.structure() else { return Ok(None) };
        engine.structure(&structure, format).map(Some).map_err(|e| named(e, self.field()))
    }
}

impl ChatRequest {
    /// The rule for the tokens of an answer in `format`.
    pub(super) fn rule(
        &self,
        engine: &Engine,
        format: &AnswerFormat,
    ) -> Result<Option<AllowedTokens>, Error> {
        self.check_rules(engine)?;
        let tools = self.conversation.tools.as_deref();
        let Some(tools) = tools.filter(|_| self.tools_are_restricted(engine)) else {
            return self.wanted.rule(engine, format);
        };
        let calls = ToolCalls {
            tools: tools.to_vec(),
            choice: match &self.tool_choice {
                ToolChoice::Required => grammar::ToolChoice::Required,
                ToolChoice::Named(name) => grammar::ToolChoice::Named(name.clone()),
                ToolChoice::Auto | ToolChoice::None => grammar::ToolChoice::Auto,
            },
            parallel: self.rules.parallel,
            content: self.wanted.structure().map(Box::new),
        };
        engine.structure(&Structure::Calls(calls), format).map(Some).map_err(|e| match &e {
            Error::Grammar(GrammarError::Refused { place, .. }) if !place.starts_with("tool") => {
                named(e, self.wanted.field())
            }
            _ => named(e, "tools"),
        })
    }
}

/// The error of a field, if the fault is a part of the request.
fn named(error: Error, field: &str) -> Error {
    match error {
        Error::Grammar(e @ (GrammarError::Refused { .. } | GrammarError::TooLarge { .. })) => {
            wrong(field, e.to_string())
        }
        Error::Grammar(GrammarError::NoLibrary) => wrong(field, NO_LIBRARY),
        other => other,
    }
}
