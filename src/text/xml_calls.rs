//! Tool calls in XML, as LFM3 writes them: `<function=name>`, then a `<parameter=key>` for each
//! argument. Values have neither quotes nor escapes; the tool's schema gives their types.

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
/// Begins the call around the function.
const CALL_START: &str = "<tool_call>";

/// Reads the next function.
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
        // A function without an end tag is accepted if its parameters are complete.
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

/// Reads the name in `<function=name>` or `<parameter=name>`.
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

/// Reads a parameter's value. A value may contain an end tag, so an end tag counts only if another
/// parameter follows, or the ends of function and call.
fn value<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let rest = reader.rest();
    let mut from = 0;
    // An end tag before a missing end of the call. It counts if this call has no better one.
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
    // One newline on each side belongs to the form, not to the value.
    let value = value.strip_prefix('\n').unwrap_or(value);
    Some(value.strip_suffix('\n').unwrap_or(value))
}

/// Whether the text after an end tag confirms that the parameter ends there.
fn ends_parameter(after: &str) -> bool {
    let next = |tag: &str| after.strip_prefix(tag).map(str::trim_start);
    after.is_empty()
        || after.starts_with(PARAMETER)
        || next(FUNCTION_END).is_some_and(|rest| {
            rest.is_empty() || [CALL_END, CALL_START, FUNCTION].iter().any(|t| rest.starts_with(t))
        })
        || next(CALL_END).is_some_and(|rest| rest.is_empty() || rest.starts_with(CALL_START))
}

/// Writes a call in XML.
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
