//! Reads the tokenizer in a GGUF file's metadata, with the same checks as `tokenizer.json`.
//!
//! Sources: llama.cpp `conversion/base.py` (`get_vocab_base`) and `gguf-py/gguf/vocab.py` for the
//! keys, `src/llama-vocab.cpp` for their meaning. Unlike llama.cpp, a piece that is itself an entry is
//! still built by merges (`ignore_merges` is false), as in the published tokenizer.json.

use super::super::error::{TextError, quote};
use super::super::json_tree::Node;
use super::{Pattern, TokenizerFile, model};
use crate::formats::{KeyError, Metadata};
use std::borrow::Cow;
use std::collections::HashMap;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// Names of LFM2's pattern. Older files use the name of Llama 3, from which the pattern comes.
const LLAMA3: [&str; 4] = ["lfm2", "llama-bpe", "llama3", "llama-v3"];
/// Maximum number of tokens and of merges. LFM2.5 has 128,000 tokens.
const MAX_ENTRIES: usize = 1 << 18;

/// `enum llama_token_type`.
#[derive(Clone, Copy, PartialEq)]
enum TokenType {
    /// Built by merges.
    Normal,
    /// Matched before text is split; special.
    Control,
    /// Matched before text is split; printed.
    UserDefined,
    /// A row of the embedding without a token.
    Unused,
}

impl<'a> TokenizerFile<'a> {
    /// Reads and checks the metadata's tokenizer. Ids must be below the model's `vocab_size`.
    /// `None` if there is no tokenizer.
    pub(in crate::text) fn with_gguf<T>(
        m: &'a Metadata,
        vocab_size: usize,
        then: impl FnOnce(&TokenizerFile<'_>) -> Result<T, TextError>,
    ) -> Result<Option<T>, TextError> {
        if !check_kind(m)? {
            return Ok(None);
        }
        let types = token_types(m)?;
        let (vocab, added) = vocabulary(m, &types)?;
        let merges = merges(m)?;
        let text = |text: &'static str| Node::Str(Cow::Borrowed(text));
        let root = Node::Object(vec![
            ("type".into(), text("BPE")),
            ("vocab".into(), vocab),
            ("merges".into(), merges),
        ]);
        let added = Node::Array(added);
        let model = model::read(&root, Some(&added), vocab_size).map_err(|e| in_keys(m, e))?;
        let around = |flag: &str, default: bool, id: &str| around(m, &types, flag, default, id);
        let prefix = around("tokenizer.ggml.add_bos_token", true, "tokenizer.ggml.bos_token_id")?;
        let suffix = around("tokenizer.ggml.add_eos_token", false, "tokenizer.ggml.eos_token_id")?;
        let file = TokenizerFile {
            vocab: model.vocab,
            merges: model.merges,
            ignore_merges: false,
            added: model.added,
            pattern: Pattern::Llama3,
            prefix,
            suffix,
        };
        then(&file).map(Some)
    }
}

/// Whether there is a tokenizer. Unsupported tokenizers are refused.
fn check_kind(m: &Metadata) -> Result<bool, KeyError> {
    match m.string(MODEL)? {
        Some("gpt2") => {}
        Some("none" | "no_vocab") => return Ok(false),
        None if m.get(TOKENS).is_none() => return Ok(false),
        None => return Err(m.error(MODEL, "is missing, need \"gpt2\"")),
        Some(_) => return Err(m.mismatch(MODEL, "\"gpt2\" (others are not supported)")),
    }
    match m.string(PRE)? {
        Some(pre) if LLAMA3.contains(&pre) => Ok(true),
        Some(_) => Err(m.mismatch(PRE, "\"lfm2\" or \"llama-bpe\" (others are not supported)")),
        None => Err(m.error(PRE, "is missing, need \"lfm2\"")),
    }
}

fn token_types(m: &Metadata) -> Result<Vec<TokenType>, KeyError> {
    let types = m.array(TYPES)?.ok_or_else(|| m.error(TYPES, "is missing"))?;
    if types.len() > MAX_ENTRIES {
        return Err(m.mismatch(TYPES, format_args!("at most {MAX_ENTRIES}")));
    }
    let numbers = types.integers().ok_or_else(|| m.mismatch(TYPES, "an array of integers"))?;
    let read = |(id, number): (usize, i128)| match number {
        1 => Ok(TokenType::Normal),
        // An unknown token is matched like a control token (llama-vocab.cpp).
        2 | 3 => Ok(TokenType::Control),
        4 => Ok(TokenType::UserDefined),
        5 => Ok(TokenType::Unused),
        other => {
            Err(m.error(&format!("{TYPES}[{id}]"), format!("got {other}, need one of 1 to 5")))
        }
    };
    numbers.enumerate().map(read).collect()
}

/// `model.vocab` and `added_tokens` in the form of tokenizer.json.
fn vocabulary<'a>(
    m: &'a Metadata,
    types: &[TokenType],
) -> Result<(Node<'a>, Vec<Node<'a>>), KeyError> {
    let tokens = m.array(TOKENS)?.ok_or_else(|| m.error(TOKENS, "is missing"))?;
    let texts = tokens.texts().ok_or_else(|| m.mismatch(TOKENS, "an array of strings"))?;
    if tokens.len() != types.len() {
        let need = format_args!("{}, as many as {TYPES} has", types.len());
        return Err(m.mismatch(TOKENS, need));
    }
    let mut vocab = Vec::with_capacity(types.len());
    let mut seen = HashMap::with_capacity(types.len());
    let mut added = Vec::new();
    for ((text, token_type), id) in texts.zip(types).zip(0_u64..) {
        if *token_type == TokenType::Unused {
            continue;
        }
        if let Some(other) = seen.insert(text, id) {
            let problem = format!("{} is also {TOKENS}[{other}]", quote(text));
            return Err(m.error(&format!("{TOKENS}[{id}]"), problem));
        }
        vocab.push((Cow::Borrowed(text), Node::Unsigned(id)));
        if *token_type != TokenType::Normal {
            let special = *token_type == TokenType::Control;
            added.push(Node::Object(vec![
                ("id".into(), Node::Unsigned(id)),
                ("content".into(), Node::Str(Cow::Borrowed(text))),
                ("single_word".into(), Node::Bool(false)),
                ("lstrip".into(), Node::Bool(false)),
                ("rstrip".into(), Node::Bool(false)),
                ("normalized".into(), Node::Bool(!special)),
                ("special".into(), Node::Bool(special)),
            ]));
        }
    }
    Ok((Node::Object(vocab), added))
}

fn merges(m: &Metadata) -> Result<Node<'_>, KeyError> {
    let merges = m.array(MERGES)?.ok_or_else(|| m.error(MERGES, "is missing"))?;
    let texts = merges.texts().ok_or_else(|| m.mismatch(MERGES, "an array of strings"))?;
    if merges.len() > MAX_ENTRIES {
        return Err(m.mismatch(MERGES, format_args!("at most {MAX_ENTRIES}")));
    }
    Ok(Node::Array(texts.map(|text| Node::Str(Cow::Borrowed(text))).collect()))
}

/// The token before or after a text, if any.
fn around(
    m: &Metadata,
    types: &[TokenType],
    flag: &str,
    default: bool,
    id: &str,
) -> Result<Vec<u32>, KeyError> {
    let Some(token) = m.token(id, types.len())? else {
        // A missing token is an error only if its flag is true.
        return match m.flag(flag)? {
            Some(true) => Err(m.error(id, format!("is missing, but {flag} is true"))),
            _ => Ok(Vec::new()),
        };
    };
    let index = usize::try_from(token).unwrap_or(usize::MAX);
    if types.get(index).is_none_or(|token_type| *token_type == TokenType::Unused) {
        return Err(m.error(id, format!("got {token}, which is the id of no token")));
    }
    Ok(if m.flag(flag)?.unwrap_or(default) { vec![token] } else { Vec::new() })
}

/// Converts an error about tokenizer.json, so that it names the metadata's key.
fn in_keys(m: &Metadata, error: TextError) -> TextError {
    let TextError::TokenizerFile { field, problem } = error else {
        return error;
    };
    let spell = |text: &str| {
        let pairs = [("model.merges", MERGES), ("model.vocab", TOKENS), ("added_tokens", TYPES)];
        pairs.iter().fold(text.to_owned(), |text, (json, key)| text.replace(json, key))
    };
    let key = match field.strip_prefix("token ") {
        Some(token) => format!("{TOKENS}[{token}]"),
        None => spell(&field),
    };
    m.error(&key, spell(&problem)).into()
}
