//! Escapes text for HTML, as markupsafe does.

use super::error::Res;
use super::interp::Interp;
use super::repr::to_str;
use super::value::Value;
use std::sync::Arc;

/// `markupsafe.escape(text)`
pub(super) fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The text of `markupsafe.escape(value)`. Safe text stays unchanged.
pub(super) fn escape(i: &Interp, value: &Value) -> Res<Arc<str>> {
    if let Value::Markup(text) = value {
        return Ok(Arc::clone(text));
    }
    let text = to_str(i, value)?;
    let out = escape_text(&text);
    i.meter.pay_bytes(out.len())?;
    Ok(out.into())
}
