//! The forms that an answer may be asked for.

use serde_json::Value;

/// The form of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Structure {
    /// Any JSON object.
    JsonObject,
    /// JSON of this schema. A keyword that cannot be enforced is refused.
    JsonSchema(Value),
    /// Text that matches this regular expression as a whole, in the syntax of Rust's crate `regex`.
    Regex(String),
    /// Text of this grammar, in the variant of Lark's syntax that llguidance defines. Its first rule is `start`.
    Lark(String),
    /// Calls of tools.
    Calls(ToolCalls),
}

/// Calls of tools, written in the model's own form.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCalls {
    /// The definitions of the tools, as for [`Tools::new`](crate::text::Tools::new). The arguments follow the schema in
    /// `parameters`, in its order. If a schema cannot be enforced as a whole, a definition with `"strict": true` is
    /// refused; for another only the arguments' names, and which are required, are enforced.
    pub tools: Vec<Value>,
    /// The calls that the answer must have.
    pub choice: ToolChoice,
    /// Whether the answer may have several calls.
    pub parallel: bool,
    /// With [`ToolChoice::Auto`], the form of an answer that calls no tool; `None`: any text. It is not `Calls`.
    pub content: Option<Box<Structure>>,
}

/// The calls that an answer must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// Text for the user, calls, or text before calls. The answer should be read with
    /// [`AnswerFormat::with_marked_calls`](crate::text::AnswerFormat::with_marked_calls): other calls in the text would
    /// not follow their schemas.
    #[default]
    Auto,
    /// At least one call.
    Required,
    /// At least one call, and only of this tool.
    Named(String),
}
