//! Writes the checked tokenizer in the library's format, version 2.0.

use super::super::error::{TextError, bad};
use super::TokenizerFile;
use serde_json::{Value, json};
use std::collections::HashSet;

impl TokenizerFile<'_> {
    /// The library's `tokenizer.json`, version 2.0 (SPEC.md of crate `tk-serialize`).
    ///
    /// Post-processor and decoder are left out, since special tokens around a text and decoding are
    /// ours. Added tokens are entries of the vocabulary too, which fixes their ids.
    pub(in crate::text) fn to_canonical_json(&self) -> Result<String, TextError> {
        let added: Vec<Value> = self
            .added
            .iter()
            .map(|token| {
                json!({
                    "id": token.id,
                    "content": token.content,
                    "single_word": false,
                    "lstrip": token.lstrip,
                    "rstrip": token.rstrip,
                    "normalized": token.normalized,
                    "special": token.special,
                })
            })
            .collect();
        let split = json!({
            "type": "Split",
            "pattern": {"Regex": self.pattern.regex()},
            "behavior": "Isolated",
            "invert": false,
        });
        let known: HashSet<&str> = self.vocab.iter().map(|(token, _)| *token).collect();
        let outside = self.added.iter().filter(|token| !known.contains(token.content));
        let entries = self.vocab.iter().copied();
        let entries = entries.chain(outside.map(|token| (token.content, token.id)));

        let mut out = String::from("{\"version\":\"2.0\",\"truncation\":null,\"padding\":null,");
        out.push_str(&format!("\"added_tokens\":{},", Value::Array(added)));
        out.push_str(&format!("\"normalizer\":null,\"pre_tokenizer\":{split},"));
        out.push_str("\"post_processor\":null,\"decoder\":null,\"model\":{\"type\":\"BPE\",");
        out.push_str(&format!("\"ignore_merges\":{},", self.ignore_merges));
        out.push_str("\"byte_level\":true,\"vocab\":{");
        for (i, (token, id)) in entries.enumerate() {
            push_comma(&mut out, i);
            push_string(&mut out, token)?;
            out.push_str(&format!(":{id}"));
        }
        out.push_str("},\"merges\":[");
        for (i, (left, right)) in self.merges.iter().enumerate() {
            push_comma(&mut out, i);
            out.push('[');
            push_string(&mut out, left)?;
            out.push(',');
            push_string(&mut out, right)?;
            out.push(']');
        }
        out.push_str("]}}");
        Ok(out)
    }
}

fn push_comma(out: &mut String, i: usize) {
    if i > 0 {
        out.push(',');
    }
}

fn push_string(out: &mut String, text: &str) -> Result<(), TextError> {
    out.push_str(&serde_json::to_string(text).map_err(|e| bad("file", e))?);
    Ok(())
}
