//! Tests of the public text API: tokenizer, streams, templates.

mod bfcl;
mod broken;
mod broken_cases;
mod calls;
mod history;
mod hostile;
mod hostile_cases;
mod real;
mod template;
mod tokenizer;
mod variants;

use lfm2_wgpu::text::Tokenizer;
use proptest::test_runner::Config;
use std::path::PathBuf;

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The small tokenizer with LFM2's structure (tools/small_tokenizer.py).
pub fn small() -> Tokenizer {
    Tokenizer::from_json(&fixture("tokenizer-small/tokenizer.json"), 1024).unwrap()
}

/// The same file in crate `tokenizers` 0.23, the reference.
pub fn small_oracle() -> tokenizers_oracle::Tokenizer {
    tokenizers_oracle::Tokenizer::from_bytes(fixture("tokenizer-small/tokenizer.json")).unwrap()
}

/// A configuration for property tests that keep no file of failures.
pub fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Texts in LFM2's eight languages, and texts that have broken tokenizers.
pub const TEXTS: &[&str] = &[
    "",
    " ",
    "Hello, world! It's 2024 and they'll say \"don't\".",
    "Größe, süß und schön: das Wetter in Zürich ist gut.",
    "L'été à Genève, ça va ? C'est très beau — déjà vu.",
    "¿Qué tiempo hace mañana en España, señor?",
    "今天北京的天气怎么样？模型读取一段文本。",
    "今日の東京の天気はどうですか。カタカナ、ひらがな。",
    "오늘 서울의 날씨는 어떻습니까? 안녕하세요.",
    "كيف حال الطقس في القاهرة اليوم؟ مرحبا بالعالم.",
    "😀 👍🏽 👩‍👩‍👧 ❤️ 🇨🇭 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "mixed 中文 and العربية and 日本語 and русский",
    "a\u{300}e\u{301}\u{302} combining ı İ ß ﬁ Ⅻ ½ ²",
    "tabs\tand\r\nCRLF\r\n\r\n  spaces   \n\n\n end ",
    "\u{0}\u{1}\u{7f}\u{80}\u{a0}\u{ad}\u{200b}\u{feff}\u{fffd}\u{10ffff}",
    "def f(x):\n    return x**2 # comment\n\n\n\nprint(f(3))",
    "python pythonic cpython PYTHON Python",
    "<|im_start|>user\nhi<|im_end|>\n<|startoftext|><|unknown|><|im_end",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "1234567890 3.14159 1,000,000 0x7f 1e-9",
];
