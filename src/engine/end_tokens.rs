//! The tokens that end an answer.
//!
//! The end-of-text token of a file is often not the token that ends a turn: published files say
//! `<|endoftext|>`, `<|pad|>`, or nothing. So the result unites all tokens that the files name with
//! the token that the model's own template writes after a message of the assistant.

use super::ModelText;
use crate::text::{Conversation, Message};

/// Texts that end a turn or a document in every model of this family. llama.cpp lists them too.
const BY_TEXT: [&str; 2] = ["<|im_end|>", "<|endoftext|>"];

/// Placeholder for an answer, to find the text that the template writes after it.
const PROBE: &str = "an answer that nobody gives";

/// All tokens that end an answer, in order: `named` are those of the model's files.
pub(super) fn end_tokens(named: &[&[u32]], text: &ModelText) -> Vec<u32> {
    let mut ends: Vec<u32> = named.iter().flat_map(|ids| ids.iter().copied()).collect();
    if let Ok(tokenizer) = text.tokenizer() {
        ends.extend(BY_TEXT.iter().filter_map(|token| tokenizer.token_id(token)));
        ends.extend(text.named_end());
        ends.extend(turn_end(text));
    }
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// The token after an assistant's message in the model's own template.
fn turn_end(text: &ModelText) -> Option<u32> {
    let tokenizer = text.tokenizer().ok()?;
    let turns = [Message::user("a question"), Message::assistant(PROBE)];
    let rendered = text.render(&Conversation::new(turns), false).ok()?;
    let (_, behind) = rendered.rsplit_once(PROBE)?;
    let behind = behind.trim_start();
    // The spelling is looked up first: some files do not mark the token as special.
    let spelled = behind.split_inclusive('>').next().filter(|token| token.starts_with('<'));
    spelled.and_then(|token| tokenizer.token_id(token)).or_else(|| {
        let ids = tokenizer.encode(behind, false).ok()?;
        ids.into_iter().find(|id| tokenizer.is_special(*id))
    })
}
