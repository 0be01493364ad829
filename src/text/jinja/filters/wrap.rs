//! The filter `wordwrap`, which is Python's `textwrap`.

use super::super::bind::Bound;
use super::super::error::{Res, error};
use super::super::interp::Interp;
use super::super::operands::wrong_type;
use super::super::split::split_lines;
use super::super::unicode::{decimal, is_alpha, is_numeric, is_space};
use super::super::value::Value;
use std::collections::VecDeque;

pub(super) fn wordwrap(i: &Interp, value: &Value, args: &mut Bound) -> Res<Value> {
    let width = args.int(0, 79)?;
    let long = args.given(1).is_none_or(|v| v.truthy());
    let end = args.some(2).unwrap_or_else(|| Value::str("\n"));
    let hyphens = args.given(3).is_none_or(|v| v.truthy());
    let Some(end) = end.as_str() else {
        return Err(wrong_type(&end, "wrapstring must be text"));
    };
    let Some(text) = value.as_str() else {
        return Err(wrong_type(value, "wordwrap needs text"));
    };
    i.meter.pay(1 + text.len() / 8)?;
    let mut out = String::new();
    for (at, line) in split_lines(text, false).into_iter().enumerate() {
        if at > 0 {
            out.push_str(end);
        }
        let lines = wrap(line, width, long, hyphens)?;
        i.meter.pay(lines.len().saturating_mul(1 + end.len() / 64))?;
        out.push_str(&lines.join(end));
    }
    Ok(Value::str(out))
}

fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn is_word(c: char) -> bool {
    c == '_' || is_alpha(c) || is_numeric(c)
}

fn is_letter(c: char) -> bool {
    is_word(c) && decimal(c).is_none()
}

/// Splits text into words, white space and the parts of hyphenated words.
fn chunks(text: &[char], hyphens: bool) -> Vec<&[char]> {
    let mut chunks = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let end = match hyphens {
            true => chunk_end(text, at),
            false => {
                let blank = text.get(at).copied().is_some_and(is_blank);
                let rest = text.get(at..).unwrap_or_default();
                at + rest.iter().position(|c| is_blank(*c) != blank).unwrap_or(rest.len())
            }
        };
        chunks.extend(text.get(at..end));
        at = end.max(at + 1);
    }
    chunks
}

fn chunk_end(text: &[char], start: usize) -> usize {
    let is = |at: Option<usize>, test: fn(char) -> bool| {
        at.and_then(|at| text.get(at)).is_some_and(|c| test(*c))
    };
    let punctuation: fn(char) -> bool = |c| is_word(c) || "!\"'&.,?".contains(c);
    let hyphen: fn(char) -> bool = |c| c == '-';
    let rest = text.get(start..).unwrap_or_default();
    if is(Some(start), is_blank) {
        return start + rest.iter().position(|c| !is_blank(*c)).unwrap_or(rest.len());
    }
    // The end of dashes between words that begin at `at`.
    let dashes = |at: usize| {
        let count = text.get(at..).unwrap_or_default().iter().take_while(|c| **c == '-').count();
        (count >= 2 && is(at.checked_sub(1), punctuation) && is(Some(at + count), is_word))
            .then_some(at + count)
    };
    if let Some(end) = dashes(start) {
        return end;
    }
    for at in start + 1..=text.len() {
        let back = |n: usize| at.checked_sub(n);
        let behind = (is(back(2), is_letter) && is(back(1), is_letter))
            || (is(back(3), is_letter) && is(back(2), hyphen) && is(back(1), punctuation));
        let ahead = is(Some(at + 1), is_letter)
            && (is(Some(at + 2), is_letter)
                || (is(Some(at + 2), hyphen) && is(Some(at + 3), is_letter)));
        if is(Some(at), hyphen) && behind && ahead {
            return at + 1;
        }
        if at == text.len() || is(Some(at), is_blank) || dashes(at).is_some() {
            return at;
        }
    }
    text.len()
}

fn wrap(line: &str, width: i128, long: bool, hyphens: bool) -> Res<Vec<String>> {
    let width = usize::try_from(width).ok().filter(|w| *w > 0);
    let width = width.ok_or_else(|| error!(Value, "invalid width (must be > 0)"))?;
    let text: Vec<char> = line.chars().collect();
    let mut left: VecDeque<&[char]> = chunks(&text, hyphens).into();
    let is_space_only = |chunk: &[char]| chunk.iter().all(|c| is_space(*c));
    let mut lines: Vec<String> = Vec::new();
    while let Some(first) = left.front() {
        let mut current: Vec<&[char]> = Vec::new();
        let mut length = 0;
        if is_space_only(first) && !lines.is_empty() {
            left.pop_front();
        }
        while let Some(chunk) = left.front()
            && length + chunk.len() <= width
        {
            length += chunk.len();
            current.extend(left.pop_front());
        }
        if let Some(chunk) = left.front().copied()
            && chunk.len() > width
        {
            if long {
                let space = width - length;
                let mut end = space;
                if hyphens {
                    let before = chunk.get(..space).unwrap_or_default();
                    if let Some(at) = before.iter().rposition(|c| *c == '-')
                        && before.iter().take(at).any(|c| *c != '-')
                    {
                        end = at + 1;
                    }
                }
                let (taken, rest) = chunk.split_at(end.min(chunk.len()));
                current.push(taken);
                left.pop_front();
                left.push_front(rest);
            } else if current.is_empty() {
                current.extend(left.pop_front());
            }
        }
        if current.last().is_some_and(|chunk| is_space_only(chunk)) {
            current.pop();
        }
        if !current.is_empty() {
            lines.push(current.concat().into_iter().collect());
        }
    }
    Ok(lines)
}
