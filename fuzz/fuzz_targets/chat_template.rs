//! Chat templates (any text, or programs of the grammar), and conversations rendered with them.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use lfm2_fuzz::template::{Template, conversation};
use lfm2_fuzz::{files, held, one_line};
use lfm2_wgpu::text::{ChatFormat, ChatTemplate, Conversation};

/// Longest input of a generated program.
const MAX_INPUT: usize = 4096;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // A first byte of 0 or 1 marks a description; otherwise the input is files.
    if let Some((0 | 1, rest)) = data.split_first() {
        let mut u = Unstructured::new(&rest[..rest.len().min(MAX_INPUT)]);
        let Ok(chat) = conversation(&mut u) else { return };
        let Ok(Template(template)) = Template::arbitrary(&mut u) else { return };
        held(|| render(Some(template.as_bytes()), None, chat.as_bytes()));
    } else {
        let files = files::split(data, "chat_template.jinja");
        let find = |name| files::find(&files, name);
        let chat = find("chat.json").unwrap_or(br#"[{"role": "user", "content": "Hi"}]"#);
        held(|| render(find("chat_template.jinja"), find("tokenizer_config.json"), chat));
    }
});

fn render(jinja: Option<&[u8]>, config: Option<&[u8]>, chat: &[u8]) {
    let chat = std::str::from_utf8(chat).unwrap_or_default();
    let chat = Conversation::from_json(chat).inspect_err(|error| one_line(error));
    let template = ChatTemplate::from_files(jinja, config).inspect_err(|error| one_line(error));
    let (Ok(template), Ok(chat)) = (template, chat) else { return };
    let template = ChatFormat::new(template.with_time(1_700_000_000), None);
    for add_generation_prompt in [false, true] {
        match template.render(&chat, add_generation_prompt) {
            Ok(text) => assert!(text.len() <= 64 << 20, "{} bytes", text.len()),
            Err(error) => one_line(&error),
        }
    }
}
