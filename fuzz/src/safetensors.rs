//! Safetensors checkpoints by description: a complete model with damage.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use lfm2_wgpu::formats::ModelFiles;
use lfm2_wgpu::model::ModelConfig;
use serde_json::Value;

use crate::description::{Json, Name, Number, pick, pick_mut, quoted};
use crate::files::{Sparse, table_of};

/// A model in one file, or in shards with an index.
#[derive(Arbitrary, Debug)]
pub struct Description {
    base: u8,
    /// Number of shards, at most three; 0 makes one file without an index.
    shards: u8,
    damage: Vec<Damage>,
    files: Vec<(u8, OfFile)>,
    index: Vec<OfIndex>,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Name(u8, Name),
    SameName(u8, u8),
    Dtype(u8, u8),
    /// Another type, with the bytes that it needs.
    Retype(u8, u8),
    DtypeJson(u8, Json),
    Shape(u8, Vec<Number>),
    ShapeJson(u8, Json),
    /// Another length of a dimension, with the bytes that it needs.
    Dim(u8, u8, Number),
    Offsets(u8, Number, Number),
    SameOffsets(u8, u8),
    OffsetsJson(u8, Json),
    /// In blocks, as in a package.
    Blocks(u8, u8),
    /// Only declared to be in blocks.
    Said(u8, u8),
    Field(u8, String, Json),
    EntryJson(u8, Json),
    Remove(u8),
    Add(Name, Vec<Number>, u8),
    Swap(u8, u8),
    Shard(u8, u8),
}

#[derive(Arbitrary, Debug)]
enum OfFile {
    HeaderLength(Number),
    Length(Number),
    Cut(Number),
    Metadata(Json),
    MetadataTwice,
    Around(String, String),
    Spaces(u8),
    Byte(u16, u8),
    Gone,
}

#[derive(Arbitrary, Debug)]
enum OfIndex {
    Shard(u8, Name),
    Other(u8, u8),
    Name(u8, Name),
    Twice(u8),
    Remove(u8),
    Value(u8, Json),
    Field(String, Json),
    Map(Json),
    Cut(Number),
    Many(u16),
}

#[derive(Clone)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<u64>,
    offsets: Option<(u64, u64)>,
    shard: usize,
    blocks: Option<&'static str>,
    raw: Raw,
}

/// JSON in place of the true content.
#[derive(Clone, Default)]
struct Raw {
    dtype: Option<String>,
    shape: Option<String>,
    offsets: Option<String>,
    entry: Option<String>,
    more: String,
}

struct Base {
    config: ModelConfig,
    tensors: Vec<Tensor>,
}

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let read = |name: &str| -> Option<Base> {
        let config = std::fs::read(fixtures.join(name).join("config.json")).ok()?;
        let bytes = std::fs::read(fixtures.join(name).join("model.safetensors")).ok()?;
        let len = usize::try_from(u64::from_le_bytes(bytes.first_chunk().copied()?)).ok()?;
        let header: Value = serde_json::from_slice(bytes.get(8..8 + len)?).ok()?;
        let entries = header.as_object()?.iter().filter(|(name, _)| *name != "__metadata__");
        let tensors = entries.map(|(name, entry)| Tensor {
            name: name.clone(),
            dtype: entry["dtype"].as_str().unwrap_or_default().to_owned(),
            shape: entry["shape"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_u64)
                .collect(),
            offsets: None,
            shard: 0,
            blocks: None,
            raw: Raw::default(),
        });
        let tensors = tensors.collect();
        Some(Base { config: ModelConfig::from_json("config.json", &config).ok()?, tensors })
    };
    // Rows of 160 are whole blocks.
    let names = ["dense", "fused", "mha-head-32", "untied", "moe-old-keys"];
    names.iter().map(|name| read(name).unwrap_or_else(|| panic!("fixture {name}"))).collect()
});

/// Types and the bytes of an element; 0 for half a byte.
const DTYPES: [(&str, u64); 14] = [
    ("F32", 4),
    ("F16", 2),
    ("BF16", 2),
    ("U8", 1),
    ("F64", 8),
    ("I64", 8),
    ("I32", 4),
    ("I8", 1),
    ("BOOL", 1),
    ("C64", 8),
    ("F8_E4M3", 1),
    ("F8_E8M0", 1),
    ("F4", 0),
    ("Q4_0", 1),
];
/// Block types with their elements and bytes.
const BLOCKS: [(&str, u64, u64); 8] = [
    ("Q4_0", 32, 18),
    ("Q8_0", 32, 34),
    ("Q4_1", 32, 20),
    ("Q5_0", 32, 22),
    ("Q5_1", 32, 24),
    ("Q4_K", 256, 144),
    ("Q6_K", 256, 210),
    ("Q9_9", 32, 34),
];

impl Tensor {
    fn bytes(&self) -> u64 {
        let elements = self.shape.iter().fold(1_u64, |n, d| n.saturating_mul(*d));
        match DTYPES.iter().find(|row| row.0 == self.dtype) {
            Some((_, 0)) => elements / 2,
            Some((_, bytes)) => elements.saturating_mul(*bytes),
            None => 0,
        }
    }

    fn entry(&self) -> String {
        if let Some(entry) = &self.raw.entry {
            return format!("{}:{entry}", quoted(&self.name));
        }
        let (begin, end) = self.offsets.unwrap_or_default();
        let or = |raw: &Option<String>, true_one: String| raw.clone().unwrap_or(true_one);
        format!(
            "{}:{{\"dtype\":{},\"shape\":{},\"data_offsets\":{}{}}}",
            quoted(&self.name),
            or(&self.raw.dtype, quoted(&self.dtype)),
            or(&self.raw.shape, format!("{:?}", self.shape)),
            or(&self.raw.offsets, format!("[{begin},{end}]")),
            self.raw.more,
        )
    }
}

impl Damage {
    fn apply(&self, tensors: &mut Vec<Tensor>, shards: usize) {
        let other = match self {
            Self::SameName(_, b) | Self::SameOffsets(_, b) => pick(tensors, *b).cloned(),
            _ => None,
        };
        let (Self::Name(a, ..)
        | Self::SameName(a, ..)
        | Self::Dtype(a, ..)
        | Self::Retype(a, ..)
        | Self::DtypeJson(a, ..)
        | Self::Shape(a, ..)
        | Self::ShapeJson(a, ..)
        | Self::Dim(a, ..)
        | Self::Offsets(a, ..)
        | Self::SameOffsets(a, ..)
        | Self::OffsetsJson(a, ..)
        | Self::Blocks(a, ..)
        | Self::Said(a, ..)
        | Self::Field(a, ..)
        | Self::EntryJson(a, ..)
        | Self::Remove(a)
        | Self::Swap(a, ..)
        | Self::Shard(a, ..)) = self
        else {
            if let Self::Add(name, shape, dtype) = self {
                tensors.push(Tensor {
                    name: name.text(),
                    dtype: pick(&DTYPES, *dtype).map_or("", |row| row.0).to_owned(),
                    shape: shape.iter().map(|d| d.of(1)).collect(),
                    offsets: None,
                    shard: 0,
                    blocks: None,
                    raw: Raw::default(),
                });
            }
            return;
        };
        let at = usize::from(*a) % tensors.len().max(1);
        let n = tensors.len();
        let Some(t) = tensors.get_mut(at) else { return };
        let dtype = |which: &u8| pick(&DTYPES, *which).map_or("", |row| row.0).to_owned();
        match self {
            Self::Name(_, name) => t.name = name.text(),
            Self::SameName(..) => t.name = other.map(|t| t.name).unwrap_or_default(),
            Self::Dtype(_, which) => t.raw.dtype = Some(quoted(&dtype(which))),
            Self::Retype(_, which) => t.dtype = dtype(which),
            Self::DtypeJson(_, json) => t.raw.dtype = Some(json.text()),
            Self::Shape(_, shape) => t.shape = shape.iter().map(|d| d.of(1)).collect(),
            Self::ShapeJson(_, json) => t.raw.shape = Some(json.text()),
            Self::Dim(_, dim, number) => {
                if let Some(dim) = pick_mut(&mut t.shape, *dim) {
                    *dim = number.of(*dim);
                }
            }
            Self::Offsets(_, begin, end) => t.offsets = Some((begin.of(0), end.of(t.bytes()))),
            Self::SameOffsets(..) => t.offsets = other.and_then(|t| t.offsets),
            Self::OffsetsJson(_, json) => t.raw.offsets = Some(json.text()),
            Self::Blocks(_, which) => {
                if let (Some((name, block, bytes)), [_, cols]) =
                    (pick(&BLOCKS, *which).copied(), &mut t.shape[..])
                {
                    *cols = (*cols / block).wrapping_mul(bytes);
                    (t.dtype, t.blocks) = ("U8".to_owned(), Some(name));
                }
            }
            Self::Said(_, which) => t.blocks = pick(&BLOCKS, *which).map(|row| row.0),
            Self::Field(_, name, json) => {
                t.raw.more = format!(",{}:{}", quoted(name), json.text());
            }
            Self::EntryJson(_, json) => t.raw.entry = Some(json.text()),
            Self::Remove(_) => drop(tensors.remove(at)),
            Self::Swap(_, b) => tensors.swap(at, usize::from(*b) % n),
            Self::Shard(_, shard) => t.shard = usize::from(*shard) % shards,
            Self::Add(..) => {}
        }
    }
}

impl Description {
    /// The files and their configuration.
    pub fn write(&self) -> (Arc<ModelFiles>, &'static ModelConfig) {
        let Some(base) = pick(&BASES, self.base) else { unreachable!("there are bases") };
        let shards = usize::from(self.shards % 4).max(1);
        let mut tensors = base.tensors.clone();
        for (i, tensor) in tensors.iter_mut().enumerate() {
            tensor.shard = i * shards / base.tensors.len();
        }
        for damage in self.damage.iter().take(8) {
            damage.apply(&mut tensors, shards);
        }
        let name = |shard: usize| match self.shards % 4 {
            0 => "model.safetensors".to_owned(),
            _ => format!("model-{:05}-of-{shards:05}.safetensors", shard + 1),
        };
        let mut files = Vec::new();
        for shard in 0..shards {
            let here = tensors.iter_mut().filter(|tensor| tensor.shard == shard).collect();
            let damage =
                self.files.iter().take(8).filter(|(of, _)| usize::from(*of) % shards == shard);
            if let Some(file) = write(&name(shard), here, damage.map(|(_, damage)| damage)) {
                files.push((name(shard), file));
            }
        }
        if self.shards % 4 > 0 {
            let index = self.index(&tensors, name);
            let len = index.len() as u64;
            let index_name = "model.safetensors.index.json";
            files.push((index_name.to_owned(), Sparse::new(index_name, index, len)));
        }
        (table_of(files), &base.config)
    }

    fn index(&self, tensors: &[Tensor], name: impl Fn(usize) -> String) -> Vec<u8> {
        let mut map: Vec<(String, String)> =
            tensors.iter().map(|t| (t.name.clone(), quoted(&name(t.shard)))).collect();
        let (mut fields, mut whole, mut cut) = (String::new(), None, None);
        for damage in self.index.iter().take(6) {
            match damage {
                OfIndex::Shard(which, shard) => {
                    if let Some(entry) = pick_mut(&mut map, *which) {
                        entry.1 = quoted(&shard.text());
                    }
                }
                OfIndex::Other(which, shard) => {
                    if let Some(entry) = pick_mut(&mut map, *which) {
                        entry.1 = quoted(&name(usize::from(*shard % 4)));
                    }
                }
                OfIndex::Name(which, name) => {
                    if let Some(entry) = pick_mut(&mut map, *which) {
                        entry.0 = name.text();
                    }
                }
                OfIndex::Twice(which) => map.extend(pick(&map, *which).cloned()),
                OfIndex::Remove(which) => {
                    let n = usize::from(*which) % map.len().max(1);
                    if n < map.len() {
                        map.remove(n);
                    }
                }
                OfIndex::Value(which, json) => {
                    if let Some(entry) = pick_mut(&mut map, *which) {
                        entry.1 = json.text();
                    }
                }
                OfIndex::Field(name, json) => {
                    fields.push_str(&format!("{}:{},", quoted(name), json.text()));
                }
                OfIndex::Map(json) => whole = Some(json.text()),
                OfIndex::Cut(n) => cut = Some(*n),
                OfIndex::Many(n) => {
                    map.extend((0..*n % 1024).map(|i| (format!("t{i}"), format!("\"s{i}\""))));
                }
            }
        }
        let entries: Vec<String> = map.iter().map(|(a, b)| format!("{}:{b}", quoted(a))).collect();
        let map = whole.unwrap_or_else(|| format!("{{{}}}", entries.join(",")));
        let mut text = format!("{{{fields}\"weight_map\":{map}}}").into_bytes();
        if let Some(cut) = cut {
            let most = text.len() as u64;
            text.truncate(usize::try_from(cut.of(most).min(most)).unwrap_or(0));
        }
        text
    }
}

fn write<'a>(
    name: &str,
    mut tensors: Vec<&mut Tensor>,
    damage: impl Iterator<Item = &'a OfFile>,
) -> Option<Arc<dyn lfm2_wgpu::formats::ByteSource>> {
    let mut end = 0_u64;
    for t in &mut tensors {
        let next = end.saturating_add(t.bytes());
        t.offsets.get_or_insert((end, next));
        end = next;
    }
    let blocks: Vec<String> = tensors
        .iter()
        .filter_map(|t| Some(format!("{}:{}", quoted(&t.name), quoted(t.blocks?))))
        .collect();
    let mut metadata = format!(
        "{{\"format\":\"pt\"{}{}}}",
        if blocks.is_empty() { "" } else { "," },
        blocks.join(",")
    );
    let (mut twice, mut around, mut spaces) = (false, ("", ""), 0);
    let (mut header_length, mut length, mut cut, mut bytes) = (None, None, None, Vec::new());
    for damage in damage {
        match damage {
            OfFile::HeaderLength(n) => header_length = Some(*n),
            OfFile::Length(n) => length = Some(*n),
            OfFile::Cut(n) => cut = Some(*n),
            OfFile::Metadata(json) => metadata = json.text(),
            OfFile::MetadataTwice => twice = true,
            OfFile::Around(before, after) => around = (before, after),
            OfFile::Spaces(n) => spaces = usize::from(*n),
            OfFile::Byte(at, byte) => bytes.push((usize::from(*at), *byte)),
            OfFile::Gone => return None,
        }
    }
    let mut entries = vec![format!("\"__metadata__\":{metadata}"); if twice { 2 } else { 1 }];
    entries.extend(tensors.iter().map(|t| t.entry()));
    let json = format!("{}{{{}}}{}{}", around.0, entries.join(","), around.1, " ".repeat(spaces));
    let header_len = json.len() as u64;
    let said = header_length.map_or(header_len, |n| n.of(header_len));
    let mut start = said.to_le_bytes().to_vec();
    start.extend(json.as_bytes());
    for (at, byte) in bytes {
        if let Some(old) = start.get_mut(at) {
            *old ^= byte;
        }
    }
    let len = (8 + header_len).saturating_add(end);
    let len = length.map_or(len, |n: Number| n.of(len));
    let len = cut.map_or(len, |n: Number| n.of(8 + header_len).min(8 + header_len));
    Some(Sparse::new(name, start, len))
}
