//! Reads the steps around the model: normalizer, pre-tokenizer, post-processor, decoder, truncation
//! and padding.

use super::super::error::{TextError, bad, quote};
use super::super::json_tree::Node;
use super::model::Model;

/// The split patterns that the tokenizer library runs without a regex engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::text) enum Pattern {
    /// Llama-3, cl100k; used by LFM2.
    Llama3,
    /// As Llama-3, but each digit is a piece.
    Qwen2,
    /// GPT-2, also the meaning of `ByteLevel` with `use_regex`.
    Gpt2,
    /// GPT-4o.
    O200k,
}

impl Pattern {
    const ALL: [Self; 4] = [Self::Llama3, Self::Qwen2, Self::Gpt2, Self::O200k];

    /// The regular expression, as files write it.
    pub(in crate::text) fn regex(self) -> &'static str {
        match self {
            Self::Llama3 => {
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            }
            Self::Qwen2 => {
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            }
            Self::Gpt2 => {
                r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
            }
            Self::O200k => {
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            }
        }
    }
}

fn kind<'n>(node: &'n Node, at: &str) -> Result<&'n str, TextError> {
    node.need(at, "type")?.str(format_args!("{at}.type"))
}

fn unsupported(at: &str, kind: &str, need: &str) -> TextError {
    bad(format_args!("{at}.type"), format_args!("{} is not supported (need {need})", quote(kind)))
}

fn flag(node: &Node, at: &str, key: &str, default: bool) -> Result<bool, TextError> {
    node.field(key).map_or(Ok(default), |value| value.bool(format_args!("{at}.{key}")))
}

pub(super) fn check_normalizer(node: Option<&Node>) -> Result<(), TextError> {
    match node {
        None => Ok(()),
        Some(node) => Err(unsupported("normalizer", kind(node, "normalizer")?, "null")),
    }
}

/// The members of a `Sequence`, or the single component in its place.
fn members<'n, 'a>(
    node: &'n Node<'a>,
    at: &str,
    key: &str,
) -> Result<Vec<(String, &'n Node<'a>)>, TextError> {
    if kind(node, at)? != "Sequence" {
        return Ok(vec![(at.to_owned(), node)]);
    }
    node.only_keys(at, &["type", key])?;
    let items = node.need(at, key)?.array(format_args!("{at}.{key}"))?;
    Ok(items.iter().enumerate().map(|(i, item)| (format!("{at}.{key}[{i}]"), item)).collect())
}

const BYTE_LEVEL_KEYS: [&str; 4] = ["type", "add_prefix_space", "trim_offsets", "use_regex"];

pub(super) fn read_pattern(node: Option<&Node>) -> Result<Pattern, TextError> {
    let at = "pre_tokenizer";
    let node = node.ok_or_else(|| bad(at, "missing (need a Split and ByteLevel)"))?;
    let members = members(node, at, "pretokenizers")?;
    let Some(((byte_at, byte_level), before)) = members.split_last() else {
        return Err(bad(format_args!("{at}.pretokenizers"), "empty"));
    };
    let byte_kind = kind(byte_level, byte_at)?;
    if byte_kind != "ByteLevel" {
        return Err(unsupported(byte_at, byte_kind, "\"ByteLevel\" last"));
    }
    byte_level.only_keys(byte_at, &BYTE_LEVEL_KEYS)?;
    if flag(byte_level, byte_at, "add_prefix_space", true)? {
        return Err(bad(
            format_args!("{byte_at}.add_prefix_space"),
            "not supported (must be false)",
        ));
    }
    flag(byte_level, byte_at, "trim_offsets", true)?;
    match (flag(byte_level, byte_at, "use_regex", true)?, before) {
        (true, []) => Ok(Pattern::Gpt2),
        (false, [(split_at, split)]) => read_split(split, split_at),
        (true, _) => Err(bad(
            format_args!("{byte_at}.use_regex"),
            "must be false behind another pre-tokenizer",
        )),
        (false, []) => {
            Err(bad(format_args!("{byte_at}.use_regex"), "must be true without a Split"))
        }
        (false, _) => Err(bad(at, "more than one pre-tokenizer before ByteLevel is not supported")),
    }
}

fn read_split(split: &Node, at: &str) -> Result<Pattern, TextError> {
    let split_kind = kind(split, at)?;
    if split_kind != "Split" {
        return Err(unsupported(at, split_kind, "\"Split\""));
    }
    split.only_keys(at, &["type", "pattern", "behavior", "invert"])?;
    let field = format!("{at}.pattern");
    let pattern = split.need(at, "pattern")?;
    pattern.only_keys(&field, &["Regex", "String"])?;
    let regex = pattern.need(&field, "Regex")?.str(format_args!("{field}.Regex"))?;
    let behavior = split.need(at, "behavior")?.str(format_args!("{at}.behavior"))?;
    // Both mean the same split, since these patterns match all text.
    match (behavior, flag(split, at, "invert", false)?) {
        ("Isolated", false) | ("Removed", true) => {}
        (other, invert) => {
            let problem = format_args!("{} with invert {invert} is not supported", quote(other));
            return Err(bad(format_args!("{at}.behavior"), problem));
        }
    }
    let known = Pattern::ALL.into_iter().find(|known| known.regex() == regex);
    known.ok_or_else(|| {
        let problem = format_args!(
            "{} is not a pattern this engine knows (Llama-3, Qwen2, GPT-2, GPT-4o)",
            quote(regex)
        );
        bad(format_args!("{field}.Regex"), problem)
    })
}

pub(super) fn check_decoder(node: Option<&Node>) -> Result<(), TextError> {
    let at = "decoder";
    let node = node.ok_or_else(|| bad(at, "missing (need ByteLevel)"))?;
    let members = members(node, at, "decoders")?;
    let [(at, decoder)] = &members[..] else {
        return Err(bad(format_args!("{at}.decoders"), "need ByteLevel and nothing else"));
    };
    match kind(decoder, at)? {
        "ByteLevel" => decoder.only_keys(at, &BYTE_LEVEL_KEYS),
        other => Err(unsupported(at, other, "\"ByteLevel\"")),
    }
}

/// Maximum number of pieces. Real files put one or two tokens around a text.
const MAX_PIECES: usize = 64;

type Around = (Vec<u32>, Vec<u32>);

/// The ids that the file puts around a single text.
pub(super) fn read_post_processor(node: Option<&Node>, model: &Model) -> Result<Around, TextError> {
    let at = "post_processor";
    let Some(node) = node else {
        return Ok(Default::default());
    };
    let mut around: Option<Around> = None;
    for (at, member) in members(node, at, "processors")? {
        match kind(member, &at)? {
            // It only changes offsets, which we do not report.
            "ByteLevel" => member.only_keys(&at, &BYTE_LEVEL_KEYS)?,
            "TemplateProcessing" if around.is_none() => {
                around = Some(read_template(member, &at, model)?)
            }
            "TemplateProcessing" => {
                return Err(bad(at, "a second TemplateProcessing is not supported"));
            }
            other => {
                return Err(unsupported(&at, other, "\"TemplateProcessing\" or \"ByteLevel\""));
            }
        }
    }
    Ok(around.unwrap_or_default())
}

fn read_template(node: &Node, at: &str, model: &Model) -> Result<Around, TextError> {
    node.only_keys(at, &["type", "single", "pair", "special_tokens"])?;
    let empty = Node::Object(Vec::new());
    let specials = node.field("special_tokens").unwrap_or(&empty);
    let specials_at = format!("{at}.special_tokens");
    for (name, entry) in specials.object(&specials_at)? {
        check_special(entry, &format!("{specials_at}[{}]", quote(name)), model)?;
    }
    let single = read_pieces(node.need(at, "single")?, &format!("{at}.single"), specials)?;
    // Pairs are never encoded, but their template is checked too.
    if let Some(pair) = node.field("pair") {
        let at = format!("{at}.pair");
        let pieces = read_pieces(pair, &at, specials)?;
        let sequences: Vec<_> = pieces.iter().filter_map(Piece::sequence).collect();
        if sequences != ["A", "B"] {
            return Err(bad(at, "must hold the sequences A and B once each, in this order"));
        }
    }
    let mut parts = single.split(|piece| piece.sequence() == Some("A"));
    match (parts.next(), parts.next(), parts.next()) {
        (Some(before), Some(after), None)
            if single.iter().filter_map(Piece::sequence).count() == 1 =>
        {
            Ok((before.concat_ids(), after.concat_ids()))
        }
        _ => Err(bad(format_args!("{at}.single"), "must hold the sequence A once, and no other")),
    }
}

enum Piece<'n> {
    Sequence(&'n str),
    Ids(Vec<u32>),
}

impl Piece<'_> {
    fn sequence(&self) -> Option<&str> {
        match self {
            Piece::Sequence(name) => Some(name),
            Piece::Ids(_) => None,
        }
    }
}

trait ConcatIds {
    fn concat_ids(&self) -> Vec<u32>;
}

impl ConcatIds for [Piece<'_>] {
    fn concat_ids(&self) -> Vec<u32> {
        let ids = self.iter().filter_map(|piece| match piece {
            Piece::Ids(ids) => Some(ids),
            Piece::Sequence(_) => None,
        });
        ids.flatten().copied().collect()
    }
}

fn read_pieces<'n>(node: &'n Node, at: &str, specials: &Node) -> Result<Vec<Piece<'n>>, TextError> {
    let mut pieces = Vec::new();
    let items = node.array(at)?;
    if items.len() > MAX_PIECES {
        return Err(bad(at, format_args!("{} pieces (at most {MAX_PIECES})", items.len())));
    }
    for (i, piece) in items.iter().enumerate() {
        let at = format!("{at}[{i}]");
        let [(tag, inner)] = piece.object(&at)? else {
            return Err(bad(at, "must be one Sequence or one SpecialToken"));
        };
        let inner_at = format!("{at}.{tag}");
        inner.only_keys(&inner_at, &["id", "type_id"])?;
        let name = inner.need(&inner_at, "id")?.str(format_args!("{inner_at}.id"))?;
        if let Some(type_id) = inner.field("type_id") {
            type_id.id(format_args!("{inner_at}.type_id"))?;
        }
        match &**tag {
            "Sequence" if matches!(name, "A" | "B") => pieces.push(Piece::Sequence(name)),
            "Sequence" => {
                return Err(bad(
                    format_args!("{inner_at}.id"),
                    format_args!("{} is neither A nor B", quote(name)),
                ));
            }
            "SpecialToken" => {
                let entry = specials.field(name).ok_or_else(|| {
                    bad(
                        format_args!("{inner_at}.id"),
                        format_args!("{} is not among special_tokens", quote(name)),
                    )
                })?;
                let ids = entry.need(name, "ids")?.array(name)?;
                let ids: Result<_, _> = ids.iter().map(|id| id.id(name)).collect();
                pieces.push(Piece::Ids(ids?));
            }
            other => {
                return Err(bad(
                    at,
                    format_args!("{} is neither Sequence nor SpecialToken", quote(other)),
                ));
            }
        }
    }
    Ok(pieces)
}

/// Checks `{"id": name, "ids": […], "tokens": […]}`: the tokens must exist and have these ids.
fn check_special(entry: &Node, at: &str, model: &Model) -> Result<(), TextError> {
    entry.only_keys(at, &["id", "ids", "tokens"])?;
    entry.need(at, "id")?.str(format_args!("{at}.id"))?;
    let ids = entry.need(at, "ids")?.array(format_args!("{at}.ids"))?;
    let tokens = entry.need(at, "tokens")?.array(format_args!("{at}.tokens"))?;
    if ids.is_empty() || ids.len() != tokens.len() {
        let problem = format_args!("{} ids for {} tokens", ids.len(), tokens.len());
        return Err(bad(format_args!("{at}.ids"), problem));
    }
    for (i, (id, token)) in ids.iter().zip(tokens).enumerate() {
        let id = id.id(format_args!("{at}.ids[{i}]"))?;
        let token = token.str(format_args!("{at}.tokens[{i}]"))?;
        match model.id(token) {
            Some(known) if known == id => {}
            Some(known) => {
                let problem = format_args!("{id}, but {} is {known}", quote(token));
                return Err(bad(format_args!("{at}.ids[{i}]"), problem));
            }
            None => {
                let problem = format_args!("{} has no id", quote(token));
                return Err(bad(format_args!("{at}.tokens[{i}]"), problem));
            }
        }
    }
    Ok(())
}

/// Checks truncation without applying it: a prompt is never cut silently. transformers sets truncation
/// and padding for each call, so the file's values have no effect there either.
pub(super) fn check_truncation(node: Option<&Node>) -> Result<(), TextError> {
    let at = "truncation";
    let Some(node) = node else { return Ok(()) };
    node.only_keys(at, &["direction", "max_length", "strategy", "stride"])?;
    let max_length = node.need(at, "max_length")?.unsigned("truncation.max_length")?;
    let stride = node.field("stride").map_or(Ok(0), |n| n.unsigned("truncation.stride"))?;
    if stride > 0 && stride >= max_length {
        let problem = format_args!("{stride} is not below max_length {max_length}");
        return Err(bad("truncation.stride", problem));
    }
    check_word(node, at, "direction", &["Left", "Right"])?;
    check_word(node, at, "strategy", &["LongestFirst", "OnlyFirst", "OnlySecond"])
}

pub(super) fn check_padding(node: Option<&Node>) -> Result<(), TextError> {
    let at = "padding";
    let Some(node) = node else { return Ok(()) };
    let keys =
        ["strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id", "pad_token"];
    node.only_keys(at, &keys)?;
    check_word(node, at, "direction", &["Left", "Right"])?;
    match node.field("strategy") {
        Some(fixed @ Node::Object(_)) => {
            fixed.only_keys("padding.strategy", &["Fixed"])?;
            fixed.need("padding.strategy", "Fixed")?.unsigned("padding.strategy.Fixed")?;
        }
        _ => check_word(node, at, "strategy", &["BatchLongest"])?,
    }
    for key in ["pad_id", "pad_type_id"] {
        if let Some(id) = node.field(key) {
            id.id(format_args!("{at}.{key}"))?;
        }
    }
    if let Some(token) = node.field("pad_token") {
        token.str("padding.pad_token")?;
    }
    match node.field("pad_to_multiple_of").map(|n| n.unsigned("padding.pad_to_multiple_of")) {
        Some(Ok(0)) => Err(bad("padding.pad_to_multiple_of", "must be at least 1")),
        Some(Err(error)) => Err(error),
        _ => Ok(()),
    }
}

fn check_word(node: &Node, at: &str, key: &str, known: &[&str]) -> Result<(), TextError> {
    let Some(value) = node.field(key) else {
        return Ok(());
    };
    let field = format!("{at}.{key}");
    let word = value.str(&field)?;
    if known.contains(&word) {
        Ok(())
    } else {
        Err(bad(field, format_args!("{} is not one of {}", quote(word), known.join(", "))))
    }
}
