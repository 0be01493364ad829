//! Reads and checks `tokenizer.json` before the tokenizer library sees any of it.
//!
//! The library panics, reads out of bounds or silently mis-tokenizes on files that break its
//! assumptions. Every assumption is therefore checked here. The library then loads a file that this
//! module writes from the checked values alone (its canonical version 2.0).
//!
//! The files of LFM2 and LFM2.5 are supported: byte-level BPE without a normalizer, one `Split` by a
//! known pattern, special tokens before and after the text.

mod gguf;
mod model;
mod pipeline;
mod write;

use super::error::{TextError, bad};
use super::json_tree::Node;

use model::AddedToken;
pub(super) use pipeline::Pattern;

/// A checked tokenizer.
#[derive(Debug)]
pub(super) struct TokenizerFile<'a> {
    /// Vocabulary entries and their ids; ids and entries are unique.
    pub vocab: Vec<(&'a str, u32)>,
    /// Merges in order of rank; parts and products are in the vocabulary.
    pub merges: Vec<(&'a str, &'a str)>,
    /// Whether a piece that is itself an entry skips the merges.
    pub ignore_merges: bool,
    /// Added tokens in order of id; some of them are in the vocabulary too.
    pub added: Vec<AddedToken<'a>>,
    /// The pattern that splits text into pieces.
    pub pattern: Pattern,
    /// Ids before a text if special tokens are requested (BOS).
    pub prefix: Vec<u32>,
    /// Ids after a text if special tokens are requested.
    pub suffix: Vec<u32>,
}

const ROOT_KEYS: [&str; 9] = [
    "version",
    "truncation",
    "padding",
    "added_tokens",
    "normalizer",
    "pre_tokenizer",
    "post_processor",
    "decoder",
    "model",
];

impl<'a> TokenizerFile<'a> {
    /// Checks a parsed file. Ids must be below the model's `vocab_size`.
    pub(super) fn read(root: &'a Node<'a>, vocab_size: usize) -> Result<Self, TextError> {
        root.object("file")?;
        root.only_keys("", &ROOT_KEYS)?;
        let version = root.need("file", "version")?.str("version")?;
        if version != "1.0" {
            let problem = format_args!("{version:?} is not supported (need \"1.0\")");
            return Err(bad("version", problem));
        }
        pipeline::check_normalizer(root.field("normalizer"))?;
        pipeline::check_truncation(root.field("truncation"))?;
        pipeline::check_padding(root.field("padding"))?;
        pipeline::check_decoder(root.field("decoder"))?;
        let pattern = pipeline::read_pattern(root.field("pre_tokenizer"))?;
        let model =
            model::read(root.need("file", "model")?, root.field("added_tokens"), vocab_size)?;
        let (prefix, suffix) = pipeline::read_post_processor(root.field("post_processor"), &model)?;
        Ok(Self {
            vocab: model.vocab,
            merges: model.merges,
            ignore_merges: model.ignore_merges,
            added: model.added,
            pattern,
            prefix,
            suffix,
        })
    }
}
