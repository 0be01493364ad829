//! JSON of files and requests, made acceptable to serde_json.

use std::borrow::Cow;

/// The byte order mark that some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A JSON text without its byte order mark, and with U+FFFD for each unpaired surrogate (`\ud83d` alone),
/// which Rust's strings cannot hold.
///
/// Python and JavaScript write unpaired surrogates when they cut a text inside an emoji. The text is copied
/// only if it has any. Its length stays the same, so that columns in errors stay right.
#[must_use]
pub fn json_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut mended: Cow<'_, [u8]> = Cow::Borrowed(bytes);
    let mut at = 0;
    // Outside of strings a backslash is an error, which serde_json reports.
    while let Some(next) = bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'\\')) {
        at += next;
        let unit = unit(bytes, at);
        match unit {
            Some(0xd800..=0xdbff) if matches!(self::unit(bytes, at + 6), Some(0xdc00..=0xdfff)) => {
                at += 12;
            }
            Some(0xd800..=0xdfff) => {
                if let Some(digits) = mended.to_mut().get_mut(at + 2..at + 6) {
                    digits.copy_from_slice(b"fffd");
                }
                at += 6;
            }
            // The escaped character may itself be a backslash.
            _ => at += 2,
        }
    }
    mended
}

/// The value of the escape `\uXXXX` at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// `T` from a JSON object only. serde's derived code would also accept a list of the fields' values.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Object<T> {
    fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Fields<T>(std::marker::PhantomData<T>);
        impl<'de, T: serde::Deserialize<'de>> serde::de::Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<Object<T>, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Object)
            }
        }
        json.deserialize_map(Fields(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> String {
        serde_json::from_slice(&json_bytes(json.as_bytes())).unwrap()
    }

    #[test]
    fn halves_of_characters_become_the_replacement_character() {
        for (json, text) in [
            (r#""Hi \ud83d""#, "Hi \u{fffd}"),
            (r#""\uDE00!""#, "\u{fffd}!"),
            (r#""\ud83d\ude00""#, "\u{1f600}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\n\ude00""#, "\u{fffd}\n\u{fffd}"),
            (r#""\\ud83d""#, "\\ud83d"),
            (r#""\\\ud83d""#, "\\\u{fffd}"),
            (r#""\ud83dé""#, "\u{fffd}é"),
            ("\u{feff}\"a\"", "a"),
        ] {
            assert_eq!(read(json), text, "{json}");
        }
    }

    #[test]
    fn what_is_sound_is_not_copied() {
        for json in ["", "\"", r#"{"a": "\u00e9 \ud83d\ude00 \\u"}"#, r"\", r"\u", r"\ud8"] {
            assert!(matches!(json_bytes(json.as_bytes()), Cow::Borrowed(_)), "{json}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// Any sequence of escapes reads as lossily decoded UTF-16.
        #[test]
        fn every_order_of_halves_is_read(
            units in prop::collection::vec(prop::sample::select(vec![0x41u16, 0x5c, 0xd83d, 0xde00, 0xdbff]), 0..12),
        ) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            prop_assert_eq!(read(&format!("\"{escaped}\"")), String::from_utf16_lossy(&units));
        }
    }
}
