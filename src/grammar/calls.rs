//! The grammar of tool calls. All that it accepts is read back by [`AnswerReader`](crate::text::AnswerReader) as calls of
//! the offered tools with valid arguments, if text may come before them in [`Calls::Marked`](crate::text::Calls).

use super::compiled::Grammar;
use super::error::GrammarError;
use super::lark::{Lark, literal, marker};
use super::limits;
use super::parameters::{self, Tool};
use super::structure::{ToolCalls, ToolChoice};
use super::vocabulary::Grammars;
use super::{content, python_calls, reasoning, xml_calls};
use crate::text::{AnswerFormat, CallForm, TOOL_CALL_MARKERS, Tokenizer, XML_CALL_MARKERS};

/// Name of the grammar of an answer that calls no tool.
const CONTENT: &str = "content";

/// Compiles the grammar of calls.
pub(super) fn compile(
    grammars: &Grammars,
    calls: &ToolCalls,
    format: &AnswerFormat,
    form: Option<CallForm>,
) -> Result<Grammar, GrammarError> {
    limits::check_tools(&calls.tools)?;
    let form = form.ok_or(GrammarError::NoCalls)?;
    let mut tools = parameters::tools(&calls.tools)?;
    let names: Vec<String> = tools.iter().map(|tool| tool.name.clone()).collect();
    if let ToolChoice::Named(name) = &calls.choice {
        tools.retain(|tool| tool.name == *name);
        if tools.is_empty() {
            return Err(GrammarError::NoTool { name: name.clone(), tools: names });
        }
    }
    if tools.is_empty() {
        return Err(GrammarError::refused("tools", "the list of tools is empty"));
    }
    let other = match (&calls.choice, &calls.content) {
        (ToolChoice::Auto, Some(form)) => {
            let (place, mut grammar) = content::grammar(form)?;
            // Alone it shows whether it is at fault.
            grammars.build(place, vec![grammar.clone()])?;
            grammar.name = Some(CONTENT.to_owned());
            Some(grammar)
        }
        _ => None,
    };
    let build = |place: &str, tools: &[Tool]| {
        let lark = write(grammars.tokenizer(), (calls, other.is_some()), format, form, tools)?;
        let mut all = lark.finish();
        all.extend(other.clone());
        grammars.build(place, all)
    };
    let error = match build("tools", &tools) {
        Ok(grammar) => return Ok(grammar),
        Err(error) => error,
    };
    // Each tool alone shows which one it is.
    let mut relaxed = false;
    for tool in &mut tools {
        let place = format!("tool {:?}", tool.name);
        if let Err(error) = build(&place, std::slice::from_ref(tool)) {
            if tool.strict {
                return Err(error);
            }
            log::debug!("{error}; only the names of its arguments are enforced");
            tool.relax();
            relaxed = true;
        }
    }
    if relaxed { build("tools", &tools) } else { Err(error) }
}

/// Writes the grammar.
fn write<'a>(
    tokenizer: &'a Tokenizer,
    (calls, has_content): (&ToolCalls, bool),
    format: &AnswerFormat,
    form: CallForm,
    tools: &[Tool],
) -> Result<Lark<'a>, GrammarError> {
    let mut lark = Lark::new(tokenizer);
    let think = reasoning::rules(format, tokenizer);
    let first = if think.is_some() { "think " } else { "" };
    lark.rules.push_str(&think.unwrap_or_default());
    let open = match form {
        CallForm::Python => TOOL_CALL_MARKERS[0],
        CallForm::Xml => XML_CALL_MARKERS[0],
    };
    let start = match (&calls.choice, tokenizer.token_id(open)) {
        (ToolChoice::Required | ToolChoice::Named(_), _) => {
            lark.rule("open", &marker(tokenizer, open));
            "open calls"
        }
        (ToolChoice::Auto, _) if has_content => {
            lark.rule("open", &marker(tokenizer, open));
            "@content | open calls"
        }
        (ToolChoice::Auto, Some(_)) => {
            free_text(&mut lark);
            lark.rule("open", &marker(tokenizer, open));
            "FREE? (open calls)?"
        }
        (ToolChoice::Auto, None) => {
            free_text(&mut lark);
            lark.rule(&format!("open[suffix={}]", literal(open)), "BEFORE_CALLS");
            "(FREE | open calls)?"
        }
    };
    lark.rule("start", &format!("{first}({start})"));
    match form {
        CallForm::Python => python_calls::write(&mut lark, tools, calls.parallel)?,
        CallForm::Xml => xml_calls::write(&mut lark, tools, calls.parallel)?,
    }
    Ok(lark)
}

/// Text without the markers of calls. Those that are tokens are in no text.
fn free_text(lark: &mut Lark<'_>) {
    let markers = [TOOL_CALL_MARKERS[0], XML_CALL_MARKERS[0]].into_iter();
    let markers = markers.filter(|text| lark.tokenizer.token_id(text).is_none());
    let without: String =
        markers.map(|text| format!(" & ~(/(?s:.*)/ {} /(?s:.*)/)", literal(text))).collect();
    lark.rule("FREE", &format!("/(?s:.+)/{without}"));
    lark.rule("BEFORE_CALLS", &format!("/(?s:.*)/{without}"));
}
