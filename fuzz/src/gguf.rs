//! GGUF files by description: a complete model with damage.

use std::path::Path;
use std::sync::LazyLock;

use arbitrary::Arbitrary;

use crate::description::{Name, Number, pick, pick_mut};
use crate::files::{Sparse, table_of};

#[path = "../../tests/it/formats/gguf_writer.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
pub mod writer;

use writer::{Gguf, T, V, array, string};

/// A model in one file or several.
#[derive(Arbitrary, Debug)]
pub struct Description {
    base: u8,
    /// Number of parts, at most three.
    parts: u8,
    /// Whether a split file has the wrong name.
    misnamed: bool,
    damage: Vec<(u8, Damage)>,
    /// Change of the data's length.
    data: Number,
    damage_data: bool,
    bytes: Vec<(u16, u8)>,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Magic([u8; 4]),
    Version(u32),
    TensorCount(Number),
    KeyCount(Number),
    Alignment(Number),
    Cut(Number),
    Value(u8, Value),
    Key(u8, Name),
    AddKey(Name, Value),
    RepeatKey(u8),
    RemoveKey(u8),
    Element(u8, u8, Number),
    Name(u8, Name),
    SameName(u8, u8),
    Dims(u8, Vec<Number>),
    Dim(u8, u8, Number),
    Kind(u8, u8),
    AnyKind(u8, u32),
    /// Another type, with the bytes that it needs.
    Retype(u8, u8),
    Offset(u8, Number),
    SameOffset(u8, u8),
    RemoveTensor(u8),
    AddTensor(Name, Vec<Number>, u8),
    Swap(u8, u8),
}

#[derive(Arbitrary, Debug)]
enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    U32(u32),
    I32(i32),
    U64(Number),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(u8),
    Text(Name),
    LyingText(Number, Vec<u8>),
    Array(u32, Number, Vec<u8>),
    Texts(Vec<Name>),
    Ints(Vec<i32>),
    /// A string of this many zeros.
    Zeros(u16),
    Nested(u16),
    Any(u32, Vec<u8>),
}

impl Value {
    fn write(&self) -> V {
        match self {
            Self::U8(n) => V(0, n.to_le_bytes().to_vec()),
            Self::I8(n) => V(1, n.to_le_bytes().to_vec()),
            Self::U16(n) => V(2, n.to_le_bytes().to_vec()),
            Self::U32(n) => V(4, n.to_le_bytes().to_vec()),
            Self::I32(n) => V(5, n.to_le_bytes().to_vec()),
            Self::U64(n) => V(10, n.of(1).to_le_bytes().to_vec()),
            Self::I64(n) => V(11, n.to_le_bytes().to_vec()),
            Self::F32(n) => V(6, n.to_le_bytes().to_vec()),
            Self::F64(n) => V(12, n.to_le_bytes().to_vec()),
            Self::Bool(n) => V(7, vec![*n]),
            Self::Text(text) => {
                let bytes = text.bytes();
                V(8, [&(bytes.len() as u64).to_le_bytes()[..], &bytes].concat())
            }
            Self::LyingText(len, bytes) => {
                let len = len.of(bytes.len() as u64).to_le_bytes();
                V(8, [&len[..], bytes].concat())
            }
            Self::Array(kind, count, bytes) => {
                array(*kind, count.of(bytes.len() as u64), bytes.clone())
            }
            Self::Texts(texts) => {
                let bytes = texts.iter().flat_map(|text| string(&text.text())).collect();
                array(8, texts.len() as u64, bytes)
            }
            Self::Ints(ints) => V::from(&ints[..]),
            Self::Zeros(n) => V::from(&vec![0; usize::from(*n % 4096)][..]),
            Self::Nested(depth) => {
                let one = [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat();
                V(9, one.repeat(usize::from(*depth)))
            }
            Self::Any(kind, bytes) => V(*kind, bytes.clone()),
        }
    }
}

/// Complete models. The data is left out (it is zero); offsets are given.
static BASES: LazyLock<Vec<Gguf>> = LazyLock::new(|| {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let convert = |(name, kind): (&str, u32)| {
        let mut gguf = writer::convert(&fixtures.join(name), kind);
        let mut end = 0_u64;
        for t in &mut gguf.tensors {
            t.offset = Some(end);
            end = (end + t.data.len() as u64).next_multiple_of(32);
            t.data = Vec::new();
        }
        gguf
    };
    let all = [("dense", writer::F16), ("top-3-of-7", writer::BF16), ("untied", writer::F32)];
    all.into_iter().map(convert).collect()
});

/// Types by ggml's numbers: elements and bytes of a block.
const TYPES: [(u32, u64, u64); 14] = [
    (0, 1, 4),
    (1, 1, 2),
    (30, 1, 2),
    (2, 32, 18),
    (3, 32, 20),
    (6, 32, 22),
    (7, 32, 24),
    (8, 32, 34),
    (12, 256, 144),
    (13, 256, 176),
    (14, 256, 210),
    (24, 1, 1),
    (26, 1, 4),
    (28, 1, 8),
];

fn bytes_of(t: &T) -> u64 {
    let elements = t.ne.iter().fold(1_u64, |n, d| n.saturating_mul(*d));
    let (_, block, bytes) = TYPES.iter().find(|row| row.0 == t.kind).copied().unwrap_or((0, 1, 1));
    (elements / block).saturating_mul(bytes)
}

/// Sets the tensors' offsets again.
fn lay_out(gguf: &mut Gguf) {
    let mut end = 0_u64;
    for t in &mut gguf.tensors {
        t.offset = Some(end);
        end = end.saturating_add(bytes_of(t)).checked_next_multiple_of(gguf.alignment).unwrap_or(0);
    }
}

impl Damage {
    fn apply(&self, gguf: &mut Gguf, cut: &mut Option<Number>) {
        match self {
            Self::Magic(magic) => gguf.magic = *magic,
            Self::Version(version) => gguf.version = *version,
            Self::TensorCount(n) => gguf.n_tensors = Some(n.of(gguf.tensors.len() as u64)),
            Self::KeyCount(n) => gguf.n_keys = Some(n.of(gguf.keys.len() as u64)),
            Self::Alignment(n) => {
                let alignment = n.of(32);
                gguf.set("general.alignment", V(10, alignment.to_le_bytes().to_vec()));
                if alignment.is_power_of_two() && alignment <= 1 << 20 {
                    gguf.alignment = alignment;
                    lay_out(gguf);
                }
            }
            Self::Cut(n) => *cut = Some(*n),
            Self::Value(which, value) => {
                if let Some(key) = pick_mut(&mut gguf.keys, *which) {
                    key.1 = value.write();
                }
            }
            Self::Key(which, name) => {
                if let Some(key) = pick_mut(&mut gguf.keys, *which) {
                    key.0 = name.bytes();
                }
            }
            Self::AddKey(name, value) => gguf.keys.push((name.bytes(), value.write())),
            Self::RepeatKey(which) => {
                if let Some(key) = pick(&gguf.keys, *which).cloned() {
                    gguf.keys.push(key);
                }
            }
            Self::RemoveKey(which) => {
                let n = usize::from(*which) % gguf.keys.len().max(1);
                if n < gguf.keys.len() {
                    gguf.keys.remove(n);
                }
            }
            Self::Element(which, at, number) => {
                // For a scalar the value, for an array an element or the header.
                if let Some((_, V(_, bytes))) = pick_mut(&mut gguf.keys, *which) {
                    let words = bytes.len() / 4;
                    if let Some(word) =
                        bytes.chunks_exact_mut(4).nth(usize::from(*at) % words.max(1))
                    {
                        let old = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                        word.copy_from_slice(&(number.of(old.into()) as u32).to_le_bytes());
                    }
                }
            }
            Self::Name(which, name) => {
                if let Some(t) = pick_mut(&mut gguf.tensors, *which) {
                    t.name = name.bytes();
                }
            }
            Self::SameName(which, other) => {
                let name = pick(&gguf.tensors, *other).map(|t| t.name.clone());
                if let (Some(t), Some(name)) = (pick_mut(&mut gguf.tensors, *which), name) {
                    t.name = name;
                }
            }
            Self::Dims(which, dims) => {
                if let Some(t) = pick_mut(&mut gguf.tensors, *which) {
                    t.ne = dims.iter().map(|d| d.of(1)).collect();
                }
            }
            Self::Dim(which, dim, number) => {
                if let Some(t) = pick_mut(&mut gguf.tensors, *which)
                    && let Some(dim) = pick_mut(&mut t.ne, *dim)
                {
                    *dim = number.of(*dim);
                    lay_out(gguf);
                }
            }
            Self::Kind(which, kind) => {
                if let Some(t) = pick_mut(&mut gguf.tensors, *which) {
                    t.kind = pick(&TYPES, *kind).map_or(0, |row| row.0);
                }
            }
            Self::AnyKind(which, kind) => {
                if let Some(t) = pick_mut(&mut gguf.tensors, *which) {
                    t.kind = *kind;
                }
            }
            Self::Retype(which, kind) => {
                if let Some(t) = pick_mut(&mut gguf.tensors, *which) {
                    t.kind = pick(&TYPES, *kind).map_or(0, |row| row.0);
                    lay_out(gguf);
                }
            }
            Self::Offset(which, number) => {
                if let Some(t) = pick_mut(&mut gguf.tensors, *which) {
                    t.offset = Some(number.of(t.offset.unwrap_or(0)));
                }
            }
            Self::SameOffset(which, other) => {
                let offset = pick(&gguf.tensors, *other).and_then(|t| t.offset);
                if let Some(t) = pick_mut(&mut gguf.tensors, *which) {
                    t.offset = offset;
                }
            }
            Self::RemoveTensor(which) => {
                let n = usize::from(*which) % gguf.tensors.len().max(1);
                if n < gguf.tensors.len() {
                    gguf.tensors.remove(n);
                    lay_out(gguf);
                }
            }
            Self::AddTensor(name, dims, kind) => {
                let ne = dims.iter().map(|d| d.of(1)).collect();
                let kind = pick(&TYPES, *kind).map_or(0, |row| row.0);
                gguf.tensors.push(T {
                    name: name.bytes(),
                    ne,
                    kind,
                    data: Vec::new(),
                    offset: None,
                });
                lay_out(gguf);
            }
            Self::Swap(a, b) => {
                let n = gguf.tensors.len().max(1);
                let (a, b) = (usize::from(*a) % n, usize::from(*b) % n);
                if a < gguf.tensors.len() && b < gguf.tensors.len() {
                    gguf.tensors.swap(a, b);
                }
            }
        }
    }
}

impl Description {
    /// The files, and the name of the first.
    pub fn write(&self) -> (std::sync::Arc<lfm2_wgpu::formats::ModelFiles>, String) {
        let Some(base) = pick(&BASES, self.base) else { unreachable!("there are bases") };
        let n = usize::from(self.parts % 3) + 1;
        let mut parts = vec![base.clone()];
        if n > 1 {
            let total = base.tensors.len();
            for no in 0..n {
                let mut part = if no == 0 { base.clone() } else { Gguf::new() };
                let (from, to) = (total * no / n, total * (no + 1) / n);
                part.tensors = base.tensors[from..to].to_vec();
                part.set("split.no", no as u16).set("split.count", n as u16);
                part.set("split.tensors.count", total as i32);
                lay_out(&mut part);
                if no == 0 { parts[0] = part } else { parts.push(part) }
            }
        }
        let mut cuts = vec![None; n];
        for (part, damage) in self.damage.iter().take(8) {
            let part = usize::from(*part) % n;
            damage.apply(&mut parts[part], &mut cuts[part]);
        }
        let name = |no: usize| match n {
            1 => "m.gguf".to_owned(),
            _ if self.misnamed && no == 0 => "m-00001-of-00009.gguf".to_owned(),
            _ => format!("m-{:05}-of-{n:05}.gguf", no + 1),
        };
        let files = parts.iter().enumerate().map(|(no, part)| {
            let mut start = part.header();
            let alignment = part.alignment;
            let data = (start.len() as u64).next_multiple_of(alignment);
            let ends =
                part.tensors.iter().map(|t| t.offset.unwrap_or(0).saturating_add(bytes_of(t)));
            let end = data.saturating_add(ends.max().unwrap_or(0));
            let mut len = end.checked_next_multiple_of(alignment).unwrap_or(end);
            if self.damage_data && no == 0 {
                len = self.data.of(len);
            }
            if let Some(cut) = cuts[no] {
                let most = start.len() as u64;
                len = cut.of(most).min(most);
            }
            for (at, byte) in self.bytes.iter().take(8) {
                if let Some(old) = start.get_mut(usize::from(*at)) {
                    *old ^= byte;
                }
            }
            (name(no), Sparse::new(&name(no), start, len))
        });
        (table_of(files), name(0))
    }
}
