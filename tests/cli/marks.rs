//! Byte order marks in files and pipes are not part of the text.

use super::{lfm2, ok, refused, text};

#[test]
fn a_byte_order_mark_is_not_part_of_the_text() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let marked = |text: &str| [b"\xef\xbb\xbf", text.as_bytes()].concat();
    let plain = ok(&["tokenize", "Hello"]);
    let file = format!("@{}", write("text", &marked("Hello")));
    assert_eq!(ok(&["tokenize", &file]), plain);
    for list in ["1,2,3", "[1, 2, 3]", "1 2\n3"] {
        let file = format!("@{}", write("ids", &marked(list)));
        assert_eq!(ok(&["tokenize", "--decode", &file]), ok(&["tokenize", "--decode", "1,2,3"]));
    }
    let chat = r#"{"messages": [{"role": "user", "content": "Hello"}]}"#;
    let (bare, with) = (write("a.json", chat.as_bytes()), write("b.json", &marked(chat)));
    assert_eq!(ok(&["tokenize", "--chat", &with]), ok(&["tokenize", "--chat", &bare]));
    // In a pipe.
    let mut piped = lfm2(&["tokenize", "@-"]);
    piped.stdin(std::fs::File::open(dir.path().join("text")).unwrap());
    assert_eq!(text(&piped.output().unwrap().stdout), plain);
    // The error names another encoding.
    for bytes in [&b"\xff\xfeH\0i\0"[..], b"\xfe\xff\0H\0i"] {
        let file = write("utf16", bytes);
        refused(&mut lfm2(&["tokenize", &format!("@{file}")]), &["utf16", "UTF-16", "need UTF-8"]);
        refused(&mut lfm2(&["tokenize", "--chat", &file]), &["utf16", "UTF-16"]);
        refused(&mut lfm2(&["generate", "-f", &file]), &["utf16", "UTF-16"]);
    }
}
