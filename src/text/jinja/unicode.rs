//! Character classes and case mapping, as in Python.

use unicode_general_category::{GeneralCategory, get_general_category};

/// `str.isspace` of a character.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.isidentifier`
pub(super) fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c == '_' || unicode_ident::is_xid_start(c))
        && chars.all(unicode_ident::is_xid_continue)
}

pub(super) fn is_printable(c: char) -> bool {
    use GeneralCategory as G;
    c == ' '
        || !matches!(
            get_general_category(c),
            G::Control
                | G::Format
                | G::Surrogate
                | G::PrivateUse
                | G::Unassigned
                | G::LineSeparator
                | G::ParagraphSeparator
                | G::SpaceSeparator
        )
}

pub(super) fn is_alpha(c: char) -> bool {
    use GeneralCategory as G;
    matches!(
        get_general_category(c),
        G::UppercaseLetter
            | G::LowercaseLetter
            | G::TitlecaseLetter
            | G::ModifierLetter
            | G::OtherLetter
    )
}

/// The value of a decimal digit of any script.
pub(super) fn decimal(c: char) -> Option<u32> {
    if c.is_ascii() {
        return c.to_digit(10);
    }
    if get_general_category(c) != GeneralCategory::DecimalNumber {
        return None;
    }
    let code = u32::from(c);
    // Digits form groups of ten. The mathematical digits are five groups without a gap.
    if (0x1d7ce..=0x1d7ff).contains(&code) {
        return Some((code - 0x1d7ce) % 10);
    }
    let is_digit = |code| {
        char::from_u32(code)
            .is_some_and(|c| get_general_category(c) == GeneralCategory::DecimalNumber)
    };
    let before = (1..10).take_while(|back| is_digit(code - back)).count();
    u32::try_from(before).ok()
}

/// Digits that are not decimal, such as `²`.
const OTHER_DIGITS: [(u32, u32); 20] = [
    (178, 179),
    (185, 185),
    (4969, 4977),
    (6618, 6618),
    (8304, 8304),
    (8308, 8313),
    (8320, 8329),
    (9312, 9320),
    (9332, 9340),
    (9352, 9360),
    (9450, 9450),
    (9461, 9469),
    (9471, 9471),
    (10102, 10110),
    (10112, 10120),
    (10122, 10130),
    (68160, 68163),
    (69216, 69224),
    (69714, 69722),
    (127_232, 127_242),
];

/// Letters that stand for numbers.
const NUMERALS: &str = "㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零\u{f96b}\u{f973}\u{f978}\u{f9b2}\u{f9d1}\u{f9d3}\u{f9fd}𠀁𠁤𠃢𠄡𠤪𠦃𠦌𠦜𠫪𠫽𠬙𢎐𢦘𣬛𦉭\u{2f890}";

pub(super) fn is_digit(c: char) -> bool {
    let code = u32::from(c);
    decimal(c).is_some()
        || OTHER_DIGITS.iter().any(|(first, last)| (*first..=*last).contains(&code))
}

pub(super) fn is_numeric(c: char) -> bool {
    use GeneralCategory as G;
    matches!(get_general_category(c), G::DecimalNumber | G::LetterNumber | G::OtherNumber)
        || NUMERALS.contains(c)
}

/// The case of a character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Title,
    Lower,
    None,
}

pub(super) fn case(c: char) -> Case {
    if get_general_category(c) == GeneralCategory::TitlecaseLetter {
        Case::Title
    } else if c.is_uppercase() {
        Case::Upper
    } else if c.is_lowercase() {
        Case::Lower
    } else {
        Case::None
    }
}

/// Writes a character in title case.
pub(super) fn push_title(c: char, out: &mut String) {
    let code = u32::from(c);
    let from_code = |code: u32, out: &mut String| out.extend(char::from_u32(code));
    match code {
        // Digraphs, of which one letter is a capital.
        0x1c4..=0x1cc => from_code(0x1c5 + (code - 0x1c4) / 3 * 3, out),
        0x1f1..=0x1f3 => from_code(0x1f2, out),
        0x10d0..=0x10fa | 0x10fd..=0x10ff => out.push(c),
        0x1f80..=0x1faf => from_code(code | 8, out),
        0x1fb3 | 0x1fc3 | 0x1ff3 => from_code(code + 9, out),
        0x1fbc | 0x1fcc | 0x1ffc => out.push(c),
        0x1fb7 | 0x1fc7 | 0x1ff7 => {
            from_code(code + 5, out);
            out.push('\u{342}');
        }
        0x1fb2 | 0x1fb4 | 0x1fc2 | 0x1fc4 | 0x1ff2 | 0x1ff4 => {
            out.extend(c.to_uppercase().next());
            out.push('\u{345}');
        }
        0x149 => out.extend(c.to_uppercase()),
        _ => {
            let mut upper = c.to_uppercase();
            out.extend(upper.next());
            out.extend(upper.flat_map(char::to_lowercase));
        }
    }
}

/// `str.lower`, with both lower-case forms of sigma.
pub(super) fn lower(text: &str) -> String {
    text.to_lowercase()
}

/// `str.title`
pub(super) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let lowered = lower_in_place(text);
    let mut inside = false;
    for (c, low) in text.chars().zip(lowered) {
        if inside {
            out.push_str(&low);
        } else {
            push_title(c, &mut out);
        }
        inside = case(c) != Case::None;
    }
    out
}

/// `str.capitalize`
pub(super) fn capitalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, (c, low)) in text.chars().zip(lower_in_place(text)).enumerate() {
        if i == 0 {
            push_title(c, &mut out);
        } else {
            out.push_str(&low);
        }
    }
    out
}

/// `str.swapcase`
pub(super) fn swap_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (c, low) in text.chars().zip(lower_in_place(text)) {
        match case(c) {
            Case::Upper => out.push_str(&low),
            Case::Lower => out.extend(c.to_uppercase()),
            _ => out.push(c),
        }
    }
    out
}

/// The lower case of each character in its context.
fn lower_in_place(text: &str) -> impl Iterator<Item = String> {
    // Only sigma depends on its context.
    let whole: Option<Vec<char>> = text.contains('Σ').then(|| text.chars().collect());
    text.chars().enumerate().map(move |(at, c)| match &whole {
        Some(chars) if c == 'Σ' => {
            let cased = |c: &&char| case(**c) != Case::None;
            let skipped = |c: &&char| {
                matches!(**c, '\'' | '.' | '\u{ad}' | '\u{2019}' | '\u{300}'..='\u{36f}')
            };
            let before = chars.get(..at).unwrap_or_default();
            let after = chars.get(at + 1..).unwrap_or_default();
            let word_before = before.iter().rev().find(|c| !skipped(c)).is_some_and(|c| cased(&c));
            let word_after = after.iter().find(|c| !skipped(c)).is_some_and(|c| cased(&c));
            if word_before && !word_after { "ς".to_owned() } else { "σ".to_owned() }
        }
        _ => c.to_lowercase().collect(),
    })
}

/// `str.casefold`
pub(super) fn casefold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c) {
            0x13a0..=0x13f5 | 0x131 => out.push(c),
            0x13f8..=0x13fd | 0xab70..=0xabbf => out.extend(c.to_uppercase()),
            0x1e9e => out.push_str("ss"),
            _ => out.extend(c.to_uppercase().flat_map(char::to_lowercase)),
        }
    }
    out
}
