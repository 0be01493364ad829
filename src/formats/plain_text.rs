//! Text files written by editors and shells.

/// Decodes a text file and removes its byte order mark.
///
/// # Errors
/// A description of the file's encoding, if it is not UTF-8.
pub fn plain_text(bytes: Vec<u8>) -> Result<String, &'static str> {
    let mark = |mark: &[u8]| bytes.starts_with(mark);
    if mark(&[0xff, 0xfe, 0, 0]) || mark(&[0, 0, 0xfe, 0xff]) {
        return Err("is UTF-32 text by its byte order mark, need UTF-8");
    }
    if mark(&[0xff, 0xfe]) || mark(&[0xfe, 0xff]) {
        return Err(
            "is UTF-16 text by its byte order mark, need UTF-8: save it as UTF-8, or convert it \
                    with iconv",
        );
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "not UTF-8 text")?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    Ok(text)
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Decoded text without its byte order mark.
#[must_use]
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_no_part_of_the_text() {
        for (bytes, text) in [
            (&b"\xef\xbb\xbfHello"[..], "Hello"),
            (b"Hello", "Hello"),
            (b"\xef\xbb\xbf", ""),
            (b"", ""),
            // Only one mark is removed, and only at the beginning.
            (b"\xef\xbb\xbf\xef\xbb\xbfx", "\u{feff}x"),
            (b"x\xef\xbb\xbf", "x\u{feff}"),
        ] {
            assert_eq!(plain_text(bytes.to_vec()), Ok(text.to_owned()));
        }
        for (bytes, word) in [
            (&b"\xff\xfeH\0i\0"[..], "UTF-16"),
            (b"\xfe\xff\0H\0i", "UTF-16"),
            (b"\xff\xfe\0\0H\0\0\0", "UTF-32"),
            (b"caf\xe9", "not UTF-8"),
            (b"\xef\xbb\xbfcaf\xe9", "not UTF-8"),
        ] {
            assert!(plain_text(bytes.to_vec()).unwrap_err().contains(word));
        }
        assert_eq!((without_mark("\u{feff}x"), without_mark("x")), ("x", "x"));
    }
}
