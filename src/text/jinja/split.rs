//! Splits text into lines and words.

use super::unicode::is_space;

/// Line ends of `str.splitlines`.
fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r'
            | '\u{b}'
            | '\u{c}'
            | '\u{1c}'
            | '\u{1d}'
            | '\u{1e}'
            | '\u{85}'
            | '\u{2028}'
            | '\u{2029}'
    )
}

/// `str.splitlines(keep)`
pub(super) fn split_lines(text: &str, keep: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !is_line_end(c) {
            continue;
        }
        let mut end = at + c.len_utf8();
        if c == '\r' && chars.next_if(|(_, next)| *next == '\n').is_some() {
            end += 1;
        }
        lines.extend(text.get(start..if keep { end } else { at }));
        start = end;
    }
    if start < text.len() {
        lines.extend(text.get(start..));
    }
    lines
}

/// Words, each with the white space after it.
pub(super) fn words_with_space(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(is_space).unwrap_or(rest.len());
        let after = rest.get(word..).unwrap_or_default();
        let end = word + after.find(|c| !is_space(c)).unwrap_or(after.len());
        let (taken, left) = rest.split_at(end);
        words.push(taken);
        rest = left;
    }
    words
}

/// `str.split()` and `str.rsplit()` at white space, at most `most` times.
pub(super) fn split_space(text: &str, most: Option<usize>, from_end: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        rest = if from_end {
            rest.trim_end_matches(is_space)
        } else {
            rest.trim_start_matches(is_space)
        };
        if rest.is_empty() {
            break;
        }
        if most.is_some_and(|most| parts.len() >= most) {
            // The rest keeps the white space at its other end.
            parts.push(rest);
            break;
        }
        let cut = match from_end {
            false => rest.find(is_space).map(|at| rest.split_at(at)),
            true => rest.char_indices().rev().find(|(_, c)| is_space(*c)).map(|(at, c)| {
                let (before, after) = rest.split_at(at + c.len_utf8());
                (after, before)
            }),
        };
        match cut {
            Some((part, left)) => {
                parts.push(part);
                rest = left;
            }
            None => {
                parts.push(rest);
                break;
            }
        }
    }
    if from_end {
        parts.reverse();
    }
    parts
}

/// `str.split(separator)` and `str.rsplit(separator)`.
pub(super) fn split_at<'t>(
    text: &'t str,
    separator: &str,
    most: Option<usize>,
    from_end: bool,
) -> Vec<&'t str> {
    let pieces = most.map_or(usize::MAX, |most| most.saturating_add(1));
    if from_end {
        let mut parts: Vec<&str> = text.rsplitn(pieces, separator).collect();
        parts.reverse();
        return parts;
    }
    text.splitn(pieces, separator).collect()
}
