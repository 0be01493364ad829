//! `rank_pattern` and `alpha_pattern` of adapter_config.json: values for modules by regular expressions.

use regex_lite::{Regex, RegexBuilder};

/// Longest regular expression that is read, in bytes.
const MAX_PATTERN_BYTES: usize = 512;
/// Most patterns of one table that are more than plain names; bounds the time of an adapter with many modules.
const MAX_EXPRESSIONS: usize = 64;
/// Most bytes of a compiled expression.
const MAX_COMPILED_BYTES: usize = 1 << 18;

/// Values by patterns, in the order of the file.
///
/// PEFT (`get_pattern_key` in `utils/other.py`) takes the first pattern for which
/// `re.match(rf"(.*\.)?({pattern})$", key)` matches. The key is a module's name
/// (`model.layers.0.conv.in_proj`), or a parameter's (`model.layers.2.feed_forward.experts.gate_up_proj`).
#[derive(Debug)]
pub(super) struct Patterns<T> {
    entries: Vec<(Pattern, T)>,
}

impl<T: Copy> Patterns<T> {
    /// Compiles the patterns. The error is the problem with one of them.
    pub(super) fn new<'a>(entries: impl IntoIterator<Item = (&'a str, T)>) -> Result<Self, String> {
        let entries: Result<Vec<_>, String> =
            entries.into_iter().map(|(text, value)| Ok((Pattern::new(text)?, value))).collect();
        let entries = entries?;
        let is_expression = |(pattern, _): &&(Pattern, T)| matches!(pattern, Pattern::Regex(_));
        match entries.iter().filter(is_expression).count() {
            n if n > MAX_EXPRESSIONS => {
                Err(format!("has {n} regular expressions, at most {MAX_EXPRESSIONS} are read"))
            }
            _ => Ok(Self { entries }),
        }
    }

    /// The value for a module or parameter.
    pub(super) fn get(&self, key: &str) -> Option<T> {
        self.entries.iter().find(|(pattern, _)| pattern.matches(key)).map(|(_, value)| *value)
    }
}

/// One pattern.
#[derive(Debug)]
enum Pattern {
    /// Letters, digits, `_`, `-`, and `.` for any character: most patterns are names of modules, and an adapter
    /// of experts may have thousands.
    Name(String),
    Regex(Regex),
}

impl Pattern {
    fn new(text: &str) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.chars().all(is_plain) {
            return Ok(Self::Name(text.to_owned()));
        }
        compile(&format!(r"^(?:.*\.)?(?:{text})$"), text).map(Self::Regex)
    }

    fn matches(&self, key: &str) -> bool {
        match self {
            Self::Name(name) => {
                let (name, key) = (name.as_bytes(), key.as_bytes());
                let Some(before) = key.len().checked_sub(name.len()) else { return false };
                let (before, end) = key.split_at(before);
                let same = |(n, k): (&u8, &u8)| n == k || *n == b'.';
                before.last().is_none_or(|last| *last == b'.') && name.iter().zip(end).all(same)
            }
            Self::Regex(regex) => regex.is_match(key),
        }
    }
}

/// Compiles `regex`, in which `text` is the user's part.
pub(super) fn compile(regex: &str, text: &str) -> Result<Regex, String> {
    let shown = crate::formats::quoted(text);
    if text.len() > MAX_PATTERN_BYTES {
        let n = text.len();
        return Err(format!("{shown} has {n} bytes, at most {MAX_PATTERN_BYTES} are read"));
    }
    RegexBuilder::new(regex)
        .size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|error| format!("{shown} is not a supported regular expression ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "model.layers.2.feed_forward.experts.11.w1";

    #[test]
    fn a_pattern_matches_the_end_of_a_key_after_a_dot() {
        for (pattern, matches) in [
            ("w1", true),
            ("11.w1", true),
            ("1.w1", false),
            ("experts.11.w1", true),
            ("experts_11.w1", false),
            ("experts", false),
            (KEY, true),
            ("odel.layers.2.feed_forward.experts.11.w1", false),
            (r".*\.w1", true),
            (r"layers\.\d+\.feed_forward\..*w[13]", true),
            (r"layers\.\d\.w1", false),
            ("w2|w1", true),
            ("(w2|w3)", false),
            ("^model.*w1", true),
            ("feed.forward.experts.1..w1", true),
            ("", false),
        ] {
            let patterns = Patterns::new([(pattern, ())]).unwrap();
            assert_eq!(patterns.get(KEY).is_some(), matches, "{pattern}");
        }
    }

    #[test]
    fn the_first_pattern_in_the_order_of_the_file_counts() {
        let patterns = Patterns::new([("w3", 1), (r"experts\..*", 2), ("w1", 3)]).unwrap();
        assert_eq!(patterns.get(KEY), Some(2));
        assert_eq!(patterns.get("model.layers.0.feed_forward.w1"), Some(3));
        assert_eq!(patterns.get("model.layers.0.conv.in_proj"), None);
    }

    #[test]
    fn invalid_and_expensive_expressions_are_refused() {
        for (pattern, problem) in [
            ("w1(".to_owned(), "not a supported regular expression"),
            ("(?=w1)".to_owned(), "not a supported regular expression"),
            ("(a{1000}){1000}".to_owned(), "not a supported regular expression"),
            (format!("({})", "a".repeat(600)), "has 602 bytes"),
        ] {
            let error = Patterns::new([(&*pattern, ())]).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        let many: Vec<String> = (0..=MAX_EXPRESSIONS).map(|i| format!("w{i}+")).collect();
        let error = Patterns::new(many.iter().map(|p| (&**p, ()))).unwrap_err();
        assert!(error.starts_with("has 65 regular expressions"), "{error}");
    }
}
