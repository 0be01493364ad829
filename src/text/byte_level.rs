//! GPT-2's byte-level alphabet, in which every byte has a printable character.
//!
//! Bytes that are printable in Latin-1 stand for themselves; the other 68 take U+0100 and up, in
//! order. Source: `bytes_to_unicode` of openai/gpt-2 `encoder.py`.

/// Whether a byte stands for itself in the alphabet.
fn is_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character that stands for `byte` in a vocabulary entry.
pub(super) fn byte_to_char(byte: u8) -> char {
    if is_itself(byte) {
        return char::from(byte);
    }
    let shifted = (0..byte).filter(|b| !is_itself(*b)).count();
    // 68 bytes are shifted, so this is at most U+0143.
    u32::try_from(0x100 + shifted)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Maps characters back to bytes.
pub(super) struct ByteTable([Option<u8>; 0x144]);

impl ByteTable {
    pub(super) fn new() -> Self {
        let mut table = [None; 0x144];
        for byte in 0..=u8::MAX {
            let code = usize::try_from(u32::from(byte_to_char(byte)));
            if let Some(slot) = code.ok().and_then(|code| table.get_mut(code)) {
                *slot = Some(byte);
            }
        }
        Self(table)
    }

    /// The byte that `c` stands for, or `None` if it is not in the alphabet.
    pub(super) fn byte(&self, c: char) -> Option<u8> {
        let code = usize::try_from(u32::from(c)).ok()?;
        self.0.get(code).copied().flatten()
    }

    /// The raw bytes of a vocabulary entry, or `None` if a character is not in the alphabet.
    pub(super) fn bytes(&self, text: &str) -> Option<Box<[u8]>> {
        text.chars().map(|c| self.byte(c)).collect()
    }

    /// As [`ByteTable::bytes`], but characters outside the alphabet become their UTF-8. The tokenizer
    /// library stores added tokens of the vocabulary in this way.
    pub(super) fn bytes_or_text(&self, text: &str) -> Box<[u8]> {
        let mut bytes = Vec::with_capacity(text.len());
        for c in text.chars() {
            match self.byte(c) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        bytes.into_boxed_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        let table = ByteTable::new();
        for byte in 0..=u8::MAX {
            let c = byte_to_char(byte);
            assert_eq!(table.byte(c), Some(byte), "{c:?} of {byte:#x}");
        }
        let shown = [b' ', b'\n', 0xAD].map(byte_to_char);
        assert_eq!(shown, ['Ġ', 'Ċ', 'Ń']);
    }

    #[test]
    fn other_characters_are_not_in_the_alphabet() {
        let table = ByteTable::new();
        for c in [' ', '\n', '\u{7f}', '\u{a0}', '\u{ad}', '\u{144}', '中', '😀'] {
            assert_eq!(table.byte(c), None, "{c:?}");
        }
        assert_eq!(table.bytes("Ġé").as_deref(), Some(&[0x20, 0xE9][..]));
        assert_eq!(table.bytes("a b"), None);
    }
}
