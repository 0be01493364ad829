//! Parts of descriptions, from which structure-aware targets make nearly valid files.

use arbitrary::Arbitrary;

/// A number in place of the true one.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Number {
    Small(u8),
    Any(u64),
    Power(u8),
    BelowPower(u8),
    /// A number this far below 2^64.
    High(u8),
    /// The true number plus this.
    Near(i8),
    /// The true number times this.
    Times(u8),
}

impl Number {
    pub fn of(self, true_one: u64) -> u64 {
        match self {
            Self::Small(n) => n.into(),
            Self::Any(n) => n,
            Self::Power(n) => 1 << (n % 64),
            Self::BelowPower(n) => (1 << (n % 64)) - 1,
            Self::High(n) => u64::MAX - u64::from(n),
            Self::Near(n) => true_one.wrapping_add_signed(n.into()),
            Self::Times(n) => true_one.wrapping_mul(n.into()),
        }
    }
}

/// Picks an item of a list.
pub fn pick<T>(list: &[T], which: u8) -> Option<&T> {
    list.get(usize::from(which) % list.len().max(1))
}

/// As [`pick`].
pub fn pick_mut<T>(list: &mut [T], which: u8) -> Option<&mut T> {
    let n = list.len().max(1);
    list.get_mut(usize::from(which) % n)
}

/// A name in place of another.
#[derive(Arbitrary, Clone, Debug)]
pub enum Name {
    Text(String),
    /// One byte, repeated.
    Long(u8, u16),
    Bytes(Vec<u8>),
    Known(u8),
}

/// Names with a meaning for a reader.
const KNOWN: [&str; 16] = [
    "",
    "..",
    "../x",
    "a/b",
    "__metadata__",
    "lm_head.weight",
    "model.embed_tokens.weight",
    "model.embedding_norm.weight",
    "model.layers.0.conv.conv.weight",
    "model.layers.18446744073709551615.conv.conv.weight",
    "token_embd.weight",
    "output.weight",
    "blk.0.shortconv.conv.weight",
    "blk.1.ffn_gate_exps.weight",
    "general.alignment",
    "split.count",
];

impl Name {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Long(byte, n) => vec![*byte; usize::from(*n)],
            Self::Bytes(bytes) => bytes.clone(),
            Self::Known(which) => {
                pick(&KNOWN, *which).map(|n| n.as_bytes().to_vec()).unwrap_or_default()
            }
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

/// A JSON value; `Raw` may be invalid.
#[derive(Arbitrary, Clone, Debug)]
pub enum Json {
    Null,
    Bool(bool),
    Count(Number),
    Signed(i64),
    Float(f64),
    Text(String),
    Word(u8),
    List(Vec<Json>),
    /// One value, repeated.
    Repeat(Box<Json>, u16),
    Nested(u16),
    Object(Vec<(String, Json)>),
    Raw(String),
}

/// Words with a meaning for a reader.
const WORDS: [&str; 24] = [
    "conv",
    "full_attention",
    "lfm2",
    "lfm2_moe",
    "lfm2moe",
    "float32",
    "bfloat16",
    "default",
    "yarn",
    "linear",
    "llama3",
    "F32",
    "F16",
    "BF16",
    "U8",
    "I8",
    "F4",
    "Q4_0",
    "Q8_0",
    "Q6_K",
    "lfm2-wgpu package",
    "BPE",
    "ByteLevel",
    "silu",
];

impl Json {
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Count(number) => out.push_str(&number.of(1).to_string()),
            Self::Signed(number) => out.push_str(&number.to_string()),
            Self::Float(number) => out.push_str(&format!("{number:e}")),
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::Word(which) => out.push_str(&quoted(pick(&WORDS, *which).copied().unwrap_or(""))),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Repeat(item, n) => {
                let mut one = String::new();
                item.write(&mut one);
                let n = usize::from(*n).min((32 << 10) / (one.len() + 1));
                out.push('[');
                out.push_str(&vec![one; n].join(","));
                out.push(']');
            }
            Self::Nested(depth) => {
                let depth = usize::from(*depth);
                out.push_str(&"[".repeat(depth));
                out.push_str(&"]".repeat(depth));
            }
            Self::Object(fields) => {
                out.push('{');
                for (i, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    out.push_str(&quoted(name));
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Self::Raw(text) => out.push_str(text),
        }
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A change of a JSON document: the path of a field, and its new value, or none to remove it.
#[derive(Arbitrary, Clone, Debug)]
pub struct Change {
    /// The index of the child at each level.
    pub path: Vec<u8>,
    pub action: Action,
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Action {
    Remove,
    Replace(Json),
    Rename(String),
    Add(String, Json),
    /// A number becomes another.
    Number(Number),
}

impl Change {
    /// Changes a document. Raw text and duplicate names have no `serde_json::Value`: they go into `raw`, as text
    /// that replaces a placeholder string in the document.
    pub fn apply(&self, document: &mut serde_json::Value, raw: &mut Vec<(String, String)>) {
        use serde_json::Value;
        let Some((last, path)) = self.path.split_last() else { return };
        let mut at = document;
        for step in path {
            let child = match at {
                Value::Object(map) => {
                    let n = map.len().max(1);
                    map.values_mut().nth(usize::from(*step) % n)
                }
                Value::Array(items) => pick_mut(items, *step),
                _ => None,
            };
            let Some(child) = child else { return };
            at = child;
        }
        let mark = format!("\u{1}{}", raw.len());
        match at {
            Value::Object(map) => {
                let n = usize::from(*last) % map.len().max(1);
                let Some((name, old)) = map.iter().nth(n).map(|(n, v)| (n.clone(), v.clone()))
                else {
                    return;
                };
                match &self.action {
                    Action::Remove => drop(map.shift_remove(&name)),
                    Action::Replace(json) => {
                        raw.push((mark.clone(), json.text()));
                        map.insert(name, mark.into());
                    }
                    Action::Rename(new) => {
                        map.shift_remove(&name);
                        map.insert(new.clone(), old);
                    }
                    Action::Add(new, json) => {
                        // A duplicate, if the name exists.
                        let text = format!("0,{}:{}", quoted(new), json.text());
                        raw.push((mark.clone(), text));
                        map.insert("\u{2}".to_owned(), mark.into());
                    }
                    Action::Number(number) => {
                        map.insert(name, number.of(old.as_u64().unwrap_or(1)).into());
                    }
                }
            }
            Value::Array(items) => {
                let n = usize::from(*last) % items.len().max(1);
                match &self.action {
                    Action::Remove if n < items.len() => drop(items.remove(n)),
                    Action::Replace(json) if n < items.len() => {
                        raw.push((mark.clone(), json.text()));
                        items[n] = mark.into();
                    }
                    Action::Number(number) if n < items.len() => {
                        items[n] = number.of(items[n].as_u64().unwrap_or(1)).into();
                    }
                    Action::Add(_, json) => {
                        raw.push((mark.clone(), json.text()));
                        items.insert(n, mark.into());
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// A document with changes, as text.
pub fn changed(document: &serde_json::Value, changes: &[Change]) -> String {
    let (mut document, mut raw) = (document.clone(), Vec::new());
    for change in changes.iter().take(8) {
        change.apply(&mut document, &mut raw);
    }
    let mut text = document.to_string();
    for (mark, json) in raw {
        text = text.replacen(&quoted(&mark), &json, 1);
    }
    text
}
