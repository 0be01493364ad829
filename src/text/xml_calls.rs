//! Calls in XML, as LFM3 writes them: `<function=name>`, then a `<parameter=key>` for each argument,
//! whose value has neither quotes nor escapes; the tool's schema says what it is.

use super::literal::Literal;
use super::literal_reader::Reader;
use super::tool_call::ToolCall;
use super::tools::Tools;

const FUNCTION: &str = "<function=";
const FUNCTION_END: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";
/// Ends the call around the function.
const CALL_END: &str = "</tool_call>";
/// Begins it.
const CALL_START: &str = "<tool_call>";

/// The function that comes next.
pub(super) fn function(reader: &mut Reader<'_>, tools: Option<&Tools>) -> Option<ToolCall> {
    if reader.take(CALL_START) {
        reader.at += reader.rest().len() - reader.rest().trim_start().len();
    }
    let name = opening(reader, FUNCTION)?;
    let tool = tools.and_then(|tools| tools.get(name));
    let mut arguments = Vec::new();
    loop {
        let space = reader.rest().len() - reader.rest().trim_start().len();
        reader.at += space;
        if reader.take(FUNCTION_END) {
            break;
        }
        // A function whose end is missing is whole all the same: its parameters are.
        if reader.rest().is_empty() || reader.take(CALL_END) {
            break;
        }
        let key = opening(reader, PARAMETER)?;
        let text = value(reader)?;
        let typed = tool.map(|tool| tool.typed(key, text));
        arguments.push((key.to_owned(), typed.unwrap_or_else(|| Literal::String(text.to_owned()))));
    }
    Some(ToolCall::new(name, arguments))
}

/// The name in `<function=name>`.
fn opening<'a>(reader: &mut Reader<'a>, tag: &str) -> Option<&'a str> {
    if !reader.take(tag) {
        return None;
    }
    let rest = reader.rest();
    let end = rest.find(['>', '\n'])?;
    let name = rest.get(..end)?;
    let closed = rest.get(end..)?.starts_with('>') && !name.trim().is_empty();
    reader.at += end + 1;
    closed.then_some(name.trim())
}

/// The text up to the parameter's end: an end counts only where another parameter or the function's
/// end follows, and behind that the call's, so that a value may hold one.
fn value<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let rest = reader.rest();
    let mut from = 0;
    // An end behind which the call's is missing: it counts if there is no better one in this call.
    let mut doubtful: Option<usize> = None;
    let at = loop {
        let Some(found) = rest.get(from..)?.find(PARAMETER_END) else { break doubtful? };
        let at = from + found;
        from = at + PARAMETER_END.len();
        let after = rest.get(from..)?.trim_start();
        if ends_parameter(after) {
            let other = |first: usize| rest.get(first..at).is_some_and(|t| t.contains(FUNCTION));
            break doubtful.filter(|first| other(*first)).unwrap_or(at);
        }
        if after.starts_with(FUNCTION_END) || after.starts_with(CALL_END) {
            doubtful = doubtful.or(Some(at));
        }
    };
    reader.at += at + PARAMETER_END.len();
    let value = rest.get(..at)?;
    // Of the newlines around it one each belongs to the form.
    let value = value.strip_prefix('\n').unwrap_or(value);
    Some(value.strip_suffix('\n').unwrap_or(value))
}

/// Whether what follows the end of a parameter shows that it is one.
fn ends_parameter(after: &str) -> bool {
    let next = |tag: &str| after.strip_prefix(tag).map(str::trim_start);
    after.is_empty()
        || after.starts_with(PARAMETER)
        || next(FUNCTION_END).is_some_and(|rest| {
            rest.is_empty() || [CALL_END, CALL_START, FUNCTION].iter().any(|t| rest.starts_with(t))
        })
        || next(CALL_END).is_some_and(|rest| rest.is_empty() || rest.starts_with(CALL_START))
}

/// A call in XML; `arguments` are fields of an object.
pub(super) fn write(name: &str, arguments: &[(String, Literal)]) -> String {
    let mut out = format!("<tool_call>\n{FUNCTION}{name}>\n");
    for (key, value) in arguments {
        let text = match value {
            Literal::String(text) => text.clone(),
            other => other.to_spaced_json(),
        };
        out.push_str(&format!("{PARAMETER}{key}>\n{text}\n{PARAMETER_END}\n"));
    }
    out + FUNCTION_END + "\n" + CALL_END
}
