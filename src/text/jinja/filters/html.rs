//! Filters for HTML and URLs.

use super::super::bind::Bound;
use super::super::error::{Res, error};
use super::super::escape::{escape, escape_text};
use super::super::interp::Interp;
use super::super::operands::{undefined, wrong_type};
use super::super::repr::to_str;
use super::super::split::split_space;
use super::super::unicode::{is_alpha, is_numeric, is_space};
use super::super::value::Value;

pub(super) fn filter(i: &Interp, name: &str, value: &Value, args: &mut Bound) -> Res<Value> {
    match name {
        "e" | "escape" => Ok(Value::Markup(escape(i, value)?)),
        "forceescape" => {
            let text = escape_text(&to_str(i, value)?);
            i.meter.pay_bytes(text.len())?;
            Ok(Value::Markup(text.into()))
        }
        "safe" => Ok(Value::Markup(to_str(i, value)?)),
        "striptags" => {
            let text = to_str(i, value)?;
            strip_tags(i, &text).map(Value::str)
        }
        "urlencode" => encode(i, value),
        "urlize" => urlize(i, value, args),
        _ => attributes(i, value, args.given(0).is_none_or(|v| v.truthy())),
    }
}

/// Removes comments and tags, joins white space and resolves entities.
pub(in crate::text::jinja) fn strip_tags(i: &Interp, text: &str) -> Res<String> {
    i.meter.pay_bytes(text.len())?;
    let without = |text: &str, open: &str, close: &str| -> Res<String> {
        let mut text = text.to_owned();
        let mut from = 0;
        // A removal may join its neighbours to another match.
        while let Some(start) = text.get(from..).and_then(|t| t.find(open)).map(|at| at + from) {
            i.meter.pay(1 + (text.len() - start) / 64)?;
            let Some(end) = text.get(start..).and_then(|t| t.find(close)) else {
                break;
            };
            text.replace_range(start..start + end + close.len(), "");
            from = start.saturating_sub(open.len() - 1);
            while !text.is_char_boundary(from) {
                from -= 1;
            }
        }
        Ok(text)
    };
    let text = without(text, "<!--", "-->")?;
    let text = without(&text, "<", ">")?;
    unescape_checked(&split_space(&text, None, false).join(" "))
}

/// Entities that need no semicolon, in the order of their codes from 160 on.
const LATIN1: [&str; 96] = [
    "nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar", "sect", "uml", "copy", "ordf",
    "laquo", "not", "shy", "reg", "macr", "deg", "plusmn", "sup2", "sup3", "acute", "micro",
    "para", "middot", "cedil", "sup1", "ordm", "raquo", "frac14", "frac12", "frac34", "iquest",
    "Agrave", "Aacute", "Acirc", "Atilde", "Auml", "Aring", "AElig", "Ccedil", "Egrave", "Eacute",
    "Ecirc", "Euml", "Igrave", "Iacute", "Icirc", "Iuml", "ETH", "Ntilde", "Ograve", "Oacute",
    "Ocirc", "Otilde", "Ouml", "times", "Oslash", "Ugrave", "Uacute", "Ucirc", "Uuml", "Yacute",
    "THORN", "szlig", "agrave", "aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil",
    "egrave", "eacute", "ecirc", "euml", "igrave", "iacute", "icirc", "iuml", "eth", "ntilde",
    "ograve", "oacute", "ocirc", "otilde", "ouml", "divide", "oslash", "ugrave", "uacute", "ucirc",
    "uuml", "yacute", "thorn", "yuml",
];

fn named(name: &str) -> Option<char> {
    Some(match name {
        "amp" | "AMP" => '&',
        "lt" | "LT" => '<',
        "gt" | "GT" => '>',
        "quot" | "QUOT" => '"',
        "COPY" => '©',
        "REG" => '®',
        _ => {
            let at = LATIN1.iter().position(|n| *n == name)?;
            char::from_u32(u32::try_from(at).ok()? + 160)?
        }
    })
}

/// The character of a numeric reference, Windows' code points included.
fn numbered(code: u32) -> String {
    const WINDOWS: [u32; 32] = [
        0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039,
        0x152, 0x8d, 0x17d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
        0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
    ];
    let code = match code {
        0 => 0xfffd,
        0x80..=0x9f => {
            usize::try_from(code - 0x80).ok().and_then(|i| WINDOWS.get(i)).copied().unwrap_or(code)
        }
        0x1..=0x8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef => return String::new(),
        code if code <= 0x10_ffff && code & 0xfffe == 0xfffe => return String::new(),
        code => code,
    };
    char::from_u32(code).unwrap_or('\u{fffd}').to_string()
}

/// `html.unescape`, with an error for unknown names.
pub(in crate::text::jinja) fn unescape_checked(text: &str) -> Res<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let inner = after.get(1..).unwrap_or_default();
        let (text, length) = reference(inner)?;
        out.push_str(&text);
        rest = inner.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

/// Resolves the reference after an `&`: its text, and its length in bytes.
fn reference(inner: &str) -> Res<(String, usize)> {
    if let Some(number) = inner.strip_prefix('#') {
        let (radix, skip) = if number.starts_with(['x', 'X']) { (16, 1) } else { (10, 0) };
        let digits = number.get(skip..).unwrap_or_default();
        let length = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        if length == 0 {
            return Ok(("&".to_owned(), 0));
        }
        let (digits, after) = digits.split_at(length);
        let code = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
        return Ok((numbered(code), 1 + skip + length + usize::from(after.starts_with(';'))));
    }
    let ends = |c: char| matches!(c, '\t' | '\n' | '\u{c}' | ' ' | '<' | '&' | '#' | ';');
    let length = inner.find(ends).unwrap_or(inner.len());
    let name: String = inner.get(..length).unwrap_or_default().chars().take(32).collect();
    let closed = inner.get(name.len()..).is_some_and(|after| after.starts_with(';'));
    if let Some(c) = named(&name) {
        return Ok((c.to_string(), name.len() + usize::from(closed)));
    }
    if closed && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(error!(Limit, "the HTML entity &{name}; is not supported"));
    }
    let prefix = name.char_indices().map(|(at, _)| at).filter(|at| *at > 1).rev();
    for at in prefix {
        if let Some(c) = name.get(..at).and_then(named) {
            return Ok((c.to_string(), at));
        }
    }
    Ok(("&".to_owned(), 0))
}

fn quote(text: &str, query: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                out.push(char::from(byte))
            }
            b'/' if !query => out.push('/'),
            b' ' if query => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn encode(i: &Interp, value: &Value) -> Res<Value> {
    let quoted = |value: &Value, query: bool| -> Res<String> {
        let text = match value {
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text.into(),
                Err(_) => return Err(error!(Limit, "bytes that are no text cannot be encoded")),
            },
            other => to_str(i, other)?,
        };
        i.meter.pay_bytes(text.len() * 3)?;
        Ok(quote(&text, query))
    };
    let pairs = match value {
        Value::Str(_) | Value::Markup(_) => return quoted(value, false).map(Value::str),
        Value::Dict(dict) => dict.map.values().cloned().collect(),
        _ => {
            let Ok(iter) = i.iterate(value) else {
                return quoted(value, false).map(Value::str);
            };
            let mut pairs = Vec::new();
            while let Some(pair) = i.advance(&iter)? {
                let pair = i.collect(&pair)?;
                let [key, value] = &pair[..] else {
                    return Err(error!(Value, "urlencode needs pairs"));
                };
                pairs.push((key.clone(), value.clone()));
            }
            pairs
        }
    };
    let mut parts = Vec::new();
    for (key, value) in pairs {
        parts.push(format!("{}={}", quoted(&key, true)?, quoted(&value, true)?));
    }
    Ok(Value::str(parts.join("&")))
}

fn attributes(i: &Interp, value: &Value, space: bool) -> Res<Value> {
    let Value::Dict(dict) = value else {
        return Err(wrong_type(value, "xmlattr needs a mapping"));
    };
    let mut items = Vec::new();
    for (key, value) in dict.map.values() {
        if matches!(value, Value::None | Value::Undefined(_)) {
            continue;
        }
        let Some(name) = key.as_str() else {
            return Err(wrong_type(key, "expected string or bytes-like object"));
        };
        let bad =
            |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '/' | '>' | '=');
        if name.contains(bad) {
            return Err(error!(Value, "Invalid character in attribute name: {name:?}"));
        }
        items.push(format!("{}=\"{}\"", escape(i, key)?, escape(i, value)?));
    }
    let mut text = items.join(" ");
    if space && !text.is_empty() {
        text.insert(0, ' ');
    }
    i.meter.pay_bytes(text.len())?;
    Ok(if i.autoescape.get() { Value::Markup(text.into()) } else { Value::str(text) })
}

fn urlize(i: &Interp, value: &Value, args: &mut Bound) -> Res<Value> {
    if value.is_undefined() && args.some(0).is_some() {
        return Err(undefined(value));
    }
    let limit = match args.some(0) {
        None => None,
        Some(limit) => {
            Some(limit.as_int().ok_or_else(|| wrong_type(&limit, "an integer is required"))?)
        }
    };
    let nofollow = args.truthy(1);
    let target = args.some(2).filter(Value::truthy);
    let rel = args.some(3).filter(Value::truthy);
    let mut rels: Vec<String> = match rel {
        None => Vec::new(),
        Some(rel) => {
            split_space(&to_str(i, &rel)?, None, false).into_iter().map(str::to_owned).collect()
        }
    };
    if nofollow {
        rels.push("nofollow".to_owned());
    }
    rels.push("noopener".to_owned());
    rels.sort();
    rels.dedup();
    let mut schemes = Vec::new();
    if let Some(given) = args.some(4) {
        for scheme in i.collect(&given)? {
            let scheme = to_str(i, &scheme)?;
            let name = scheme.trim_end_matches('/').strip_suffix(':').unwrap_or_default();
            let slashes = scheme.len() - scheme.trim_end_matches('/').len();
            let fits = |c: char| is_word(c) || matches!(c, '.' | '+' | '-');
            if name.chars().count() < 2 || slashes > 2 || !name.chars().all(fits) {
                return Err(error!(Runtime, "{scheme:?} is not a valid URI scheme prefix."));
            }
            schemes.push(scheme.to_string());
        }
    }
    let mut attributes = format!(" rel=\"{}\"", escape_text(&rels.join(" ")));
    if let Some(target) = target {
        attributes.push_str(&format!(" target=\"{}\"", escape(i, &target)?));
    }
    let text = escape(i, value)?;
    let mut out = String::new();
    let mut rest = &*text;
    while !rest.is_empty() {
        let spaces = rest.find(|c| !is_space(c)).unwrap_or(rest.len());
        let (space, after) = rest.split_at(spaces);
        out.push_str(space);
        let (word, left) = after.split_at(after.find(is_space).unwrap_or(after.len()));
        if !word.is_empty() {
            let made = link(word, limit, &attributes, &schemes);
            i.meter.pay(1 + (made.len() + word.len()) / 16)?;
            out.push_str(&made);
        }
        rest = left;
    }
    Ok(if i.autoescape.get() { Value::Markup(out.into()) } else { Value::str(out) })
}

fn is_word(c: char) -> bool {
    c == '_' || is_alpha(c) || is_numeric(c)
}

fn link(word: &str, limit: Option<i128>, attributes: &str, schemes: &[String]) -> String {
    let mut start = 0;
    while let Some(open) =
        ["(", "<", "&lt;"].iter().find(|o| word.get(start..).is_some_and(|w| w.starts_with(**o)))
    {
        start += open.len();
    }
    let (head, middle) = word.split_at(start);
    let closers = [")", ">", ".", ",", "&gt;"];
    let mut end = middle.len();
    while let Some(close) =
        closers.iter().find(|c| middle.get(..end).is_some_and(|m| m.ends_with(**c)))
    {
        end -= close.len();
    }
    let (middle, tail) = middle.split_at(end);
    let (mut middle, mut tail) = (middle.to_owned(), tail.to_owned());
    for (open, close) in [("(", ")"), ("<", ">"), ("&lt;", "&gt;")] {
        let opened = middle.matches(open).count();
        if opened <= middle.matches(close).count() {
            continue;
        }
        for _ in 0..opened.min(tail.matches(close).count()) {
            let Some(at) = tail.find(close) else {
                break;
            };
            let rest = tail.split_off(at + close.len());
            middle.push_str(&tail);
            tail = rest;
        }
    }
    let shown = match limit {
        Some(limit) if i128::try_from(middle.chars().count()).unwrap_or(0) > limit => {
            let count = middle.chars().count();
            let keep = if limit < 0 { i128::try_from(count).unwrap_or(0) + limit } else { limit };
            let cut: String = middle.chars().take(usize::try_from(keep).unwrap_or(0)).collect();
            format!("{cut}...")
        }
        _ => middle.clone(),
    };
    let made = if is_address(&middle) {
        let scheme = if middle.starts_with("https://") || middle.starts_with("http://") {
            ""
        } else {
            "https://"
        };
        format!("<a href=\"{scheme}{middle}\"{attributes}>{shown}</a>")
    } else if let Some(mail) = middle.strip_prefix("mailto:").filter(|m| is_mail(m)) {
        format!("<a href=\"{middle}\">{mail}</a>")
    } else if middle.contains('@')
        && !middle.starts_with("www.")
        && !middle.starts_with('@')
        && !middle.contains(':')
        && is_mail(&middle)
    {
        format!("<a href=\"mailto:{middle}\">{middle}</a>")
    } else {
        let mut made = middle;
        for scheme in schemes {
            if made != *scheme && made.starts_with(scheme) {
                made = format!("<a href=\"{made}\"{attributes}>{made}</a>");
            }
        }
        made
    };
    format!("{head}{made}{tail}")
}

fn is_mail(text: &str) -> bool {
    text.match_indices('@').any(|(at, _)| {
        let domain = text.get(at + 1..).unwrap_or_default();
        let Some((host, top)) = domain.rsplit_once('.') else {
            return false;
        };
        at > 0
            && !top.is_empty()
            && top.chars().all(is_word)
            && host.chars().next().is_some_and(is_word)
            && host.chars().all(|c| is_word(c) || c == '.' || c == '-')
    })
}

/// jinja2's pattern of URLs: scheme or `www.`, host, port, path.
fn is_address(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let scheme = ["https://", "http://"].iter().find_map(|s| lower.strip_prefix(s));
    let after = scheme.unwrap_or(&lower);
    let cut = after.find(['/', '?', '#']).unwrap_or(after.len());
    let whole = after.get(..cut).unwrap_or_default();
    let without_port = whole.rsplit_once(':').and_then(|(host, port)| {
        let fits = (1..=5).contains(&port.len()) && port.chars().all(|c| c.is_ascii_digit());
        fits.then_some(host)
    });
    [Some(whole), without_port].into_iter().flatten().any(|host| match scheme {
        Some(_) => named_host(host) || is_ip(host),
        None => host.strip_prefix("www.").is_some_and(named_host) || known_host(host),
    })
}

fn named_host(host: &str) -> bool {
    let fits = |c: char| is_word(c) || c == '%';
    let (labels, top) =
        host.rsplit_once('.').map_or((None, host), |(labels, top)| (Some(labels), top));
    let plain = (2..=63).contains(&top.len()) && top.chars().all(|c| c.is_ascii_lowercase());
    let idna = top
        .strip_prefix("xn--")
        .is_some_and(|t| (2..=59).contains(&t.chars().count()) && t.chars().all(fits));
    let label = |l: &str| !l.is_empty() && l.chars().all(|c| fits(c) || c == '-');
    (plain || idna) && labels.is_none_or(|labels| labels.split('.').all(label))
}

fn known_host(host: &str) -> bool {
    let tops = ["com", "net", "int", "edu", "gov", "org", "info", "mil"];
    let label = |l: &str| {
        (2..=63).contains(&l.chars().count())
            && l.chars().all(|c| is_word(c) || c == '%' || c == '-')
    };
    host.rsplit_once('.')
        .is_some_and(|(labels, top)| tops.contains(&top) && labels.split('.').all(label))
}

fn is_ip(host: &str) -> bool {
    let number =
        |part: &str| (1..=3).contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit());
    if host.split('.').count() == 4 && host.split('.').all(number) {
        return true;
    }
    let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) else {
        return false;
    };
    let groups: Vec<&str> = inner.split(':').collect();
    let hex = |g: &&str| g.chars().all(|c| c.is_ascii_hexdigit());
    let (first, rest) = groups.split_at(groups.len().min(2));
    let pieces: usize = rest.iter().map(|g| g.len().div_ceil(4).max(1)).sum();
    first.len() == 2
        && groups.len() > 2
        && groups.iter().all(hex)
        && first.iter().all(|g| g.len() <= 4)
        && pieces <= 6 + usize::from(rest.last().is_some_and(|g| g.is_empty()))
}
