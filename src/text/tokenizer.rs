//! Converts text to token ids and back.
//!
//! The crate `tokenizers` encodes, behind our own type, so that it can be replaced. The vocabulary,
//! the special tokens around a text and decoding are ours.

use super::byte_level::ByteTable;
use super::catch_panic::catch_panic;
use super::error::{TextError, bad, one_line};
use super::json_tree::Node;
use super::tokenizer_file::TokenizerFile;
use crate::formats::{Metadata, json_bytes};
use std::sync::Arc;
use tokenizers::pipeline::{EncodeOptions, Override, PipelineToken, PipelineTokenizer};

/// A byte-level BPE tokenizer, as LFM2 and LFM2.5 ship it. Cheap to clone.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    encoder: PipelineTokenizer,
    /// Tokens by id. Ids may have gaps.
    tokens: Vec<Option<Token>>,
    /// Ids sorted by their tokens' text, for lookup.
    by_text: Vec<u32>,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
}

struct Token {
    /// The token as the file writes it.
    text: Box<str>,
    /// The token's bytes in decoded text.
    bytes: Box<[u8]>,
    special: bool,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Loads a `tokenizer.json` (version 1.0, as Hugging Face `tokenizers` writes it).
    ///
    /// `vocab_size_of_model` is the number of rows of the model's embedding: every id of the file
    /// must be below it. A `truncation` or `padding` in the file is checked but never applied.
    ///
    /// # Errors
    /// [`TextError::TokenizerFile`] naming the field, if the file is broken or asks for something
    /// that is not supported (a model other than BPE, a normalizer, a pre-tokenizer other than a
    /// known `Split` and `ByteLevel`, ...).
    pub fn from_json(tokenizer_json: &[u8], vocab_size_of_model: usize) -> Result<Self, TextError> {
        let tokenizer_json = json_bytes(tokenizer_json);
        let root = Node::parse(&tokenizer_json)?;
        Self::load(&TokenizerFile::read(&root, vocab_size_of_model)?)
    }

    /// Loads the tokenizer of a GGUF file's metadata; `None` if it has none. The ids equal
    /// those of the model's own tokenizer.json.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), naming the key.
    pub fn from_gguf(
        metadata: &Metadata,
        vocab_size_of_model: usize,
    ) -> Result<Option<Self>, TextError> {
        TokenizerFile::with_gguf(metadata, vocab_size_of_model, Self::load)
    }

    fn load(file: &TokenizerFile<'_>) -> Result<Self, TextError> {
        let canonical = file.to_canonical_json()?;
        let encoder = catch_panic(
            |e| failed("load", e),
            || tokenizers::from_json(&canonical).map_err(|e| failed("load", e)),
        )?;
        let tokens = token_table(file)?;
        let mut by_text: Vec<(&str, u32)> = Vec::with_capacity(tokens.len());
        for (token, id) in tokens.iter().zip(0u32..) {
            by_text.extend(token.as_ref().map(|token| (&*token.text, id)));
        }
        by_text.sort_unstable();
        let by_text = by_text.into_iter().map(|(_, id)| id).collect();
        let (prefix, suffix) = (file.prefix.clone(), file.suffix.clone());
        let inner = Inner { encoder, by_text, prefix, suffix, tokens };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Encodes a text.
    ///
    /// Special tokens written in the text become their ids, as in the reference.
    /// `add_special_tokens` puts the ids of the file's post-processor around the text (LFM2: BOS
    /// before it). A rendered chat already contains BOS and is encoded without them.
    ///
    /// # Errors
    /// [`TextError::Tokenizer`] if the library fails (a text of 4 GiB or more).
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TextError> {
        self.encode_as(text, add_special_tokens, false)
    }

    /// As [`Tokenizer::encode`], but special tokens written in the text are ordinary text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_verbatim(
        &self,
        text: &str,
        add_special_tokens: bool,
    ) -> Result<Vec<u32>, TextError> {
        self.encode_as(text, add_special_tokens, true)
    }

    fn encode_as(
        &self,
        text: &str,
        add_special_tokens: bool,
        encode_special_tokens: bool,
    ) -> Result<Vec<u32>, TextError> {
        let options = EncodeOptions {
            add_special_tokens: false,
            encode_special_tokens,
            padding: Override::Off,
            truncation: Override::Off,
        };
        let ids: Vec<PipelineToken> = catch_panic(
            |e| failed("encode", e),
            || {
                let mut ids = Vec::new();
                let done = self.inner.encoder.encode_into(text, &options, &mut ids);
                done.map(|()| ids).map_err(|e| failed("encode", e))
            },
        )?;
        let ids = ids.into_iter().map(PipelineToken::id);
        if !add_special_tokens {
            return Ok(ids.collect());
        }
        let prefix = self.inner.prefix.iter().copied();
        Ok(prefix.chain(ids).chain(self.inner.suffix.iter().copied()).collect())
    }

    /// The text of token ids; bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`TextError::TokenId`] for an id without a token.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TextError> {
        let mut bytes = Vec::new();
        for &id in ids {
            let token = self.token(id)?;
            if !(skip_special_tokens && token.special) {
                bytes.extend_from_slice(&token.bytes);
            }
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// The bytes of a token in decoded text. They may not be whole characters.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.get(id).map(|token| &*token.bytes)
    }

    /// The token as the file writes it: ordinary tokens in the byte-level alphabet (`Ġthe`).
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.get(id).map(|token| &*token.text)
    }

    /// The id of a token by its text in the file.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        let by_text = &self.inner.by_text;
        let found = by_text.binary_search_by(|&id| self.token_text(id).cmp(&Some(text)));
        found.ok().and_then(|i| by_text.get(i).copied())
    }

    /// Whether an id is a special token (`<|im_end|>`, ...).
    pub fn is_special(&self, id: u32) -> bool {
        self.get(id).is_some_and(|token| token.special)
    }

    /// Whether an id has a token. A model's vocabulary may be larger than its tokenizer's.
    pub fn has_token(&self, id: u32) -> bool {
        self.get(id).is_some()
    }

    /// Bit mask of the ids that have a token: bit `i % 32` of word `i / 32` stands for id `i`, for ids
    /// below `vocab_size`. Other ids must never be sampled.
    pub fn token_mask(&self, vocab_size: usize) -> Vec<u32> {
        let mut mask = vec![0u32; vocab_size.div_ceil(32)];
        for (id, token) in self.inner.tokens.iter().take(vocab_size).enumerate() {
            if let (Some(_), Some(word)) = (token, mask.get_mut(id / 32)) {
                *word |= 1 << (id % 32);
            }
        }
        mask
    }

    /// One past the highest id that has a token.
    #[allow(clippy::len_without_is_empty, reason = "a tokenizer has at least 256 tokens")]
    pub fn len(&self) -> usize {
        self.inner.tokens.len()
    }

    /// The entry of an id, or an error if it has none.
    fn token(&self, id: u32) -> Result<&Token, TextError> {
        self.get(id).ok_or_else(|| {
            let last = self.len().saturating_sub(1);
            TextError::TokenId { id, last: u32::try_from(last).unwrap_or(u32::MAX) }
        })
    }

    fn get(&self, id: u32) -> Option<&Token> {
        self.inner.tokens.get(usize::try_from(id).ok()?)?.as_ref()
    }

    /// As [`Tokenizer::token_bytes`], with the error that [`Tokenizer::decode`] gives.
    pub(super) fn bytes_of(&self, id: u32) -> Result<&[u8], TextError> {
        self.token(id).map(|token| &*token.bytes)
    }
}

fn failed(operation: &'static str, error: impl std::fmt::Display) -> TextError {
    TextError::Tokenizer { operation, problem: one_line(error) }
}

fn token_table(file: &TokenizerFile) -> Result<Vec<Option<Token>>, TextError> {
    let ids = file.vocab.iter().map(|(_, id)| *id);
    let last = ids.chain(file.added.iter().map(|token| token.id)).max().unwrap_or(0);
    // The checks bound the ids by the number of entries in the file.
    let len = usize::try_from(last).unwrap_or(usize::MAX).saturating_add(1);
    let mut tokens: Vec<Option<Token>> = Vec::new();
    tokens.resize_with(len, || None);
    let table = ByteTable::new();
    let mut put = |id: u32, token: Token| {
        let slot = usize::try_from(id).ok().and_then(|id| tokens.get_mut(id));
        *slot.ok_or_else(|| bad("model.vocab", "ids out of order"))? = Some(token);
        Ok::<(), TextError>(())
    };
    for (text, id) in &file.vocab {
        let bytes = table.bytes_or_text(text);
        put(*id, Token { text: (*text).into(), bytes, special: false })?;
    }
    // Added tokens are matched and printed as written, not in the alphabet.
    for token in &file.added {
        let bytes = token.content.as_bytes().into();
        put(token.id, Token { text: token.content.into(), bytes, special: token.special })?;
    }
    Ok(tokens)
}
