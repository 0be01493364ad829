//! Text of files and of other crates in errors: one line of bounded length.

/// Longest text of a file that an error repeats.
const MAX_QUOTED_CHARS: usize = 120;

/// A name from a file in quotes, with control characters escaped and long names cut, so that every error is
/// one readable line.
pub(crate) fn quoted(name: &str) -> String {
    let clipped: String = name.chars().take(MAX_QUOTED_CHARS).collect();
    let cut = if clipped.len() < name.len() { "..." } else { "" };
    format!("{clipped:?}{cut}")
}

/// A message of another crate, which may repeat text of a file, as one line of bounded length.
pub(crate) fn one_line(message: &dyn std::fmt::Display) -> String {
    let message = message.to_string();
    let chars: Vec<char> = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let half = MAX_QUOTED_CHARS;
    match (chars.get(..half), chars.len().checked_sub(half)) {
        // The end is kept because serde_json puts line and column there.
        (Some(head), Some(tail)) if chars.len() > 2 * half => {
            let head: String = head.iter().collect();
            let tail: String = chars.iter().skip(tail).collect();
            format!("{head}...{tail}")
        }
        _ => chars.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_one_short_line() {
        assert_eq!(quoted("a\nb\u{1b}[0m"), r#""a\nb\u{1b}[0m""#);
        let long = quoted(&"é".repeat(10_000));
        assert!(long.ends_with("\"...") && long.chars().count() < 130, "{long}");
    }

    #[test]
    fn a_long_message_keeps_both_ends() {
        let message = format!("unknown field `{}` at line 1 column 9", "x\n".repeat(5_000));
        let line = one_line(&message);
        assert!(line.starts_with("unknown field") && line.ends_with("column 9"));
        assert!(!line.contains('\n') && line.chars().count() < 250, "{line}");
        assert_eq!(one_line(&"short"), "short");
    }
}
