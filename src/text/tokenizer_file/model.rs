//! Reads `model` and `added_tokens`: vocabulary, merges and the tokens matched before them.

use super::super::byte_level::{ByteTable, byte_to_char};
use super::super::error::{TextError, bad, quote};
use super::super::json_tree::Node;
use std::collections::{HashMap, HashSet};

const KEYS: [&str; 10] = [
    "type",
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "fuse_unk",
    "byte_fallback",
    "ignore_merges",
    "vocab",
    "merges",
];

/// The library keeps token lengths in 16 bits.
const MAX_TOKEN_BYTES: usize = 65_535;
/// Allowed gap in the ids. Tables are sized by the highest id, which must not outgrow the file.
const MAX_GAP: usize = 65_536;
/// The library's table of merges between its first 512 symbols has 16-bit indices.
const DENSE_SYMBOLS: usize = 512;
const MAX_DENSE_MERGES: usize = 65_534;
/// The library hashes entries of up to 7 bytes by their bytes alone. With all pairs of two bytes as
/// entries it fails after a minute. LFM2 has at most 10,000 entries of one length.
const SHORT_BYTES: usize = 8;
const MAX_SHORT_OF_A_LENGTH: usize = 40_000;

/// An entry of `added_tokens`.
#[derive(Debug)]
pub(in crate::text) struct AddedToken<'a> {
    pub id: u32,
    pub content: &'a str,
    pub lstrip: bool,
    pub rstrip: bool,
    pub normalized: bool,
    pub special: bool,
}

pub(super) struct Model<'a> {
    pub vocab: Vec<(&'a str, u32)>,
    pub merges: Vec<(&'a str, &'a str)>,
    pub ignore_merges: bool,
    pub added: Vec<AddedToken<'a>>,
    by_text: HashMap<&'a str, u32>,
}

impl Model<'_> {
    /// The id of a token by its text, added tokens included.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.by_text.get(text).copied()
    }
}

pub(super) fn read<'a>(
    model: &'a Node<'a>,
    added: Option<&'a Node<'a>>,
    vocab_size: usize,
) -> Result<Model<'a>, TextError> {
    model.object("model")?;
    let kind = model.need("model", "type")?.str("model.type")?;
    if kind != "BPE" {
        return Err(bad(
            "model.type",
            format_args!("{} is not supported (need \"BPE\")", quote(kind)),
        ));
    }
    model.only_keys("model", &KEYS)?;
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        let field = format!("model.{key}");
        if let Some(node) = model.field(key)
            && !node.str(&field)?.is_empty()
        {
            return Err(bad(field, "not supported (must be null)"));
        }
    }
    if let Some(node) = model.field("dropout")
        && !matches!(node, Node::Unsigned(0) | Node::OtherNumber(0.0))
    {
        return Err(bad("model.dropout", "not supported (must be null or 0)"));
    }
    let flag = |key: &str| match model.field(key) {
        Some(node) => node.bool(format_args!("model.{key}")),
        None => Ok(false),
    };
    if flag("byte_fallback")? {
        return Err(bad("model.byte_fallback", "not supported (must be false)"));
    }
    flag("fuse_unk")?;
    let ignore_merges = flag("ignore_merges")?;

    let (vocab, mut by_text) = read_vocab(model.need("model", "vocab")?, vocab_size)?;
    // Every byte has an entry (checked below), so an unknown token can never be needed.
    if let Some(node) = model.field("unk_token") {
        let unk = node.str("model.unk_token")?;
        if !by_text.contains_key(unk) {
            return Err(bad(
                "model.unk_token",
                format_args!("{} is not in model.vocab", quote(unk)),
            ));
        }
    }
    let added = match added {
        Some(node) => read_added(node, &by_text, vocab_size)?,
        None => Vec::new(),
    };
    check_bytes(&vocab, &added)?;
    let merges = read_merges(model.need("model", "merges")?, &by_text)?;
    by_text.extend(added.iter().map(|token| (token.content, token.id)));
    check_dense_merges(&by_text, &merges)?;
    Ok(Model { vocab, merges, ignore_merges, added, by_text })
}

type Vocab<'a> = (Vec<(&'a str, u32)>, HashMap<&'a str, u32>);

fn read_vocab<'a>(node: &'a Node<'a>, vocab_size: usize) -> Result<Vocab<'a>, TextError> {
    let entries = node.object("model.vocab")?;
    if entries.is_empty() {
        return Err(bad("model.vocab", "empty"));
    }
    let mut vocab = Vec::with_capacity(entries.len());
    let mut by_text = HashMap::with_capacity(entries.len());
    let mut owner: HashMap<u32, &str> = HashMap::with_capacity(entries.len());
    for (token, id) in entries {
        let field = || format!("model.vocab[{}]", quote(token));
        let id = id.id(field())?;
        check_id(id, entries.len(), vocab_size).map_err(|problem| bad(field(), problem))?;
        if let Some(other) = owner.insert(id, token) {
            return Err(bad(field(), format_args!("id {id} also belongs to {}", quote(other))));
        }
        check_length(token).map_err(|problem| bad(field(), problem))?;
        by_text.insert(&**token, id);
        vocab.push((&**token, id));
    }
    Ok((vocab, by_text))
}

fn check_id(id: u32, tokens: usize, vocab_size: usize) -> Result<(), String> {
    let id = usize::try_from(id).unwrap_or(usize::MAX);
    if id >= vocab_size {
        return Err(format!("id {id} is not below the model's vocabulary size {vocab_size}"));
    }
    if id > tokens.saturating_mul(2).saturating_add(MAX_GAP) {
        return Err(format!("id {id} is far beyond the {tokens} entries of the file"));
    }
    Ok(())
}

fn check_length(token: &str) -> Result<(), String> {
    match token.len() {
        0 => Err("an empty token".to_owned()),
        // The length in UTF-8 before mapping is never less than the token's own bytes.
        n if n > MAX_TOKEN_BYTES => Err(format!("{n} bytes long (at most {MAX_TOKEN_BYTES})")),
        _ => Ok(()),
    }
}

const ADDED_KEYS: [&str; 7] =
    ["id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"];

fn read_added<'a>(
    node: &'a Node<'a>,
    by_text: &HashMap<&'a str, u32>,
    vocab_size: usize,
) -> Result<Vec<AddedToken<'a>>, TextError> {
    let items = node.array("added_tokens")?;
    let mut added = Vec::with_capacity(items.len());
    let mut positions = HashMap::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let at = format!("added_tokens[{i}]");
        item.only_keys(&at, &ADDED_KEYS)?;
        let id = item.need(&at, "id")?.id(format_args!("{at}.id"))?;
        check_id(id, by_text.len().saturating_add(items.len()), vocab_size)
            .map_err(|problem| bad(format_args!("{at}.id"), problem))?;
        let content = item.need(&at, "content")?.str(format_args!("{at}.content"))?;
        check_length(content).map_err(|problem| bad(format_args!("{at}.content"), problem))?;
        if let Some(other) = positions.insert(content, i) {
            let problem = format_args!("{} is also added_tokens[{other}]", quote(content));
            return Err(bad(format_args!("{at}.content"), problem));
        }
        let flag = |key: &str| item.need(&at, key)?.bool(format_args!("{at}.{key}"));
        if flag("single_word")? {
            return Err(bad(format_args!("{at}.single_word"), "not supported (must be false)"));
        }
        added.push(AddedToken {
            id,
            content,
            lstrip: flag("lstrip")?,
            rstrip: flag("rstrip")?,
            normalized: flag("normalized")?,
            special: flag("special")?,
        });
    }
    added.sort_by_key(|token| token.id);
    check_added_ids(&added, &positions, by_text)?;
    Ok(added)
}

/// Checks that an added token has the id of its vocabulary entry, or the next free id after the
/// vocabulary. The reference library numbers them so, whatever the file says.
fn check_added_ids(
    added: &[AddedToken],
    positions: &HashMap<&str, usize>,
    by_text: &HashMap<&str, u32>,
) -> Result<(), TextError> {
    let taken: HashSet<u32> = by_text.values().copied().collect();
    let mut next = by_text.len();
    for token in added {
        let id = token.id;
        let wrong = |problem: String| {
            let i = positions.get(token.content).copied().unwrap_or_default();
            Err(bad(format_args!("added_tokens[{i}].id"), problem))
        };
        match by_text.get(token.content) {
            Some(&known) if known == id => {}
            Some(&known) => {
                return wrong(format!(
                    "{id}, but {} is {known} in model.vocab",
                    quote(token.content)
                ));
            }
            None if taken.contains(&id) => {
                return wrong(format!("{id} also belongs to an entry of model.vocab"));
            }
            None if usize::try_from(id).ok() != Some(next) => {
                return wrong(format!(
                    "{id}, but must be {next}: ids outside model.vocab follow it without gaps"
                ));
            }
            None => next = next.saturating_add(1),
        }
    }
    Ok(())
}

/// Checks that all 256 bytes can be encoded and that no two tokens have the same bytes.
fn check_bytes(vocab: &[(&str, u32)], added: &[AddedToken]) -> Result<(), TextError> {
    let table = ByteTable::new();
    let texts: HashSet<&str> = vocab.iter().map(|(token, _)| *token).collect();
    let added: HashSet<&str> = added.iter().map(|token| token.content).collect();
    let mut single = [false; 256];
    let mut of_length = [0usize; SHORT_BYTES];
    let mut seen: HashMap<Box<[u8]>, &str> = HashMap::with_capacity(vocab.len() + added.len());
    let outside = added.iter().copied().filter(|token| !texts.contains(token));
    for token in vocab.iter().map(|(token, _)| *token).chain(outside) {
        let bytes = match table.bytes(token) {
            Some(bytes) => bytes,
            None if added.contains(token) => table.bytes_or_text(token),
            None => {
                let problem = "not an entry of a byte-level vocabulary";
                return Err(bad(format_args!("model.vocab[{}]", quote(token)), problem));
            }
        };
        if let [byte] = bytes[..]
            && let Some(slot) = single.get_mut(usize::from(byte))
        {
            *slot |= texts.contains(token);
        }
        if let Some(count) = of_length.get_mut(bytes.len()) {
            *count += 1;
        }
        if let Some(other) = seen.insert(bytes, token) {
            let problem = format_args!("the same bytes as {}", quote(other));
            return Err(bad(format_args!("token {}", quote(token)), problem));
        }
    }
    if let Some(length) = of_length.iter().position(|count| *count > MAX_SHORT_OF_A_LENGTH) {
        let problem =
            format_args!("more than {MAX_SHORT_OF_A_LENGTH} entries of {length} bytes each");
        return Err(bad("model.vocab", problem));
    }
    for (byte, there) in (0..=u8::MAX).zip(single) {
        if !there {
            let c = byte_to_char(byte);
            return Err(bad(
                "model.vocab",
                format_args!("no entry for byte {byte:#04x} (\"{c}\")"),
            ));
        }
    }
    Ok(())
}

type Merges<'a> = Vec<(&'a str, &'a str)>;

fn read_merges<'a>(
    node: &'a Node<'a>,
    by_text: &HashMap<&'a str, u32>,
) -> Result<Merges<'a>, TextError> {
    let table = ByteTable::new();
    let items = node.array("model.merges")?;
    let mut merges = Vec::with_capacity(items.len());
    let mut seen = HashMap::with_capacity(items.len());
    let mut product = String::new();
    for (i, item) in items.iter().enumerate() {
        let field = || format!("model.merges[{i}]");
        let (left, right) = match item {
            Node::Array(pair) => match &pair[..] {
                [left, right] => (left.str(field())?, right.str(field())?),
                _ => {
                    return Err(bad(
                        field(),
                        format_args!("must have two parts, not {}", pair.len()),
                    ));
                }
            },
            // Older files write merges as strings.
            Node::Str(text) if text.starts_with("#version") => continue,
            Node::Str(text) => match text.split_once(' ') {
                Some((left, right)) if !right.contains(' ') => (left, right),
                _ => {
                    return Err(bad(
                        field(),
                        format_args!("{} is not two parts separated by a space", quote(text)),
                    ));
                }
            },
            other => {
                return Err(bad(field(), format_args!("must be a pair of strings, not {other:?}")));
            }
        };
        product.clear();
        product.push_str(left);
        product.push_str(right);
        for part in [left, right, &product] {
            if !by_text.contains_key(part) {
                return Err(bad(field(), format_args!("{} is not in model.vocab", quote(part))));
            }
        }
        // Added tokens may have characters outside the alphabet, but those are never merged.
        if !product.chars().all(|c| table.byte(c).is_some()) {
            return Err(bad(field(), format_args!("{} is not byte-level", quote(&product))));
        }
        if let Some(other) = seen.insert((left, right), i) {
            return Err(bad(field(), format_args!("the same pair as model.merges[{other}]")));
        }
        merges.push((left, right));
    }
    Ok(merges)
}

/// Checks the number of merges among the library's first 512 symbols. The library renumbers symbols,
/// with entries that no merge produces first, and its table for such merges has room for 65,534. With
/// more, the library fails.
fn check_dense_merges(by_text: &HashMap<&str, u32>, merges: &Merges) -> Result<(), TextError> {
    if merges.len() <= MAX_DENSE_MERGES {
        return Ok(());
    }
    let mut products = Vec::with_capacity(merges.len());
    let mut is_product = HashSet::with_capacity(merges.len());
    for (left, right) in merges {
        if let Some(&id) = by_text.get(format!("{left}{right}").as_str())
            && is_product.insert(id)
        {
            products.push(id);
        }
    }
    let mut symbols: Vec<u32> =
        by_text.values().copied().filter(|id| !is_product.contains(id)).collect();
    symbols.sort_unstable();
    symbols.extend(products);
    symbols.truncate(DENSE_SYMBOLS);
    let dense: HashSet<u32> = symbols.into_iter().collect();
    let is_dense = |text: &str| by_text.get(text).is_some_and(|id| dense.contains(id));
    let count = merges.iter().filter(|(left, right)| is_dense(left) && is_dense(right)).count();
    if count > MAX_DENSE_MERGES {
        return Err(bad(
            "model.merges",
            format_args!(
                "{count} merges among the first {DENSE_SYMBOLS} symbols (at most {MAX_DENSE_MERGES})"
            ),
        ));
    }
    Ok(())
}
