//! Randomly changed GGUF files are loaded or refused, without a panic and without much memory.

use std::sync::{Arc, OnceLock};

use lfm2_wgpu::Error;
use lfm2_wgpu::formats::gguf::read_header;
use lfm2_wgpu::formats::source::SourceError;
use lfm2_wgpu::formats::{ByteSource, BytesSource, Metadata};
use lfm2_wgpu::model::expected_tensors;
use lfm2_wgpu::text::Tokenizer;
use proptest::prelude::*;

use super::gguf::{demo, open};
use super::gguf_writer::{F32, Gguf, T, V, array, convert, string};
use super::refused::refused;
use crate::allocations::peak_bytes;

/// A small model, and the offset of its data.
fn model() -> &'static (Gguf, Vec<u8>, usize) {
    static FILE: OnceLock<(Gguf, Vec<u8>, usize)> = OnceLock::new();
    FILE.get_or_init(|| {
        let file = convert(&super::fixture("top-3-of-7"), F32);
        let (bytes, header) = (file.bytes(), file.header().len());
        (file, bytes, header)
    })
}

/// The header of a file with a tokenizer, without its tensors.
fn text() -> &'static Vec<u8> {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let mut file = demo();
        file.tensors.clear();
        file.bytes()
    })
}

/// Opens a file. If it is accepted, it can be read to its end.
fn load_or_refuse(bytes: Vec<u8>) {
    let (loaded, held) = peak_bytes(|| match open(&[("m.gguf", bytes)]) {
        Ok(opened) => {
            for (id, _) in expected_tensors(&opened.config) {
                let slice = *opened.tensors.get(id).unwrap();
                let mut bytes = vec![0; usize::try_from(slice.bytes()).unwrap()];
                pollster::block_on(opened.checkpoint.read(&slice, 0, &mut bytes)).unwrap();
            }
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && text.len() < 1000, "{text}");
            assert!(text.contains("m.gguf") || text.contains("tokenizer"), "{text}");
            false
        }
    });
    assert!(held < 16 << 20, "held {held} bytes, loaded {loaded}");
}

fn metadata(bytes: Vec<u8>) -> Option<Metadata> {
    let source = BytesSource::shared("m.gguf", Arc::from(bytes));
    Some(pollster::block_on(read_header(&source, 0)).ok()?.metadata)
}

/// Values of every type that parsers often get wrong.
fn extreme() -> impl Strategy<Value = V> {
    prop_oneof![
        any::<u32>().prop_map(V::from),
        any::<i32>().prop_map(V::from),
        (0_u32..70).prop_map(V::from),
        (0_u32..32).prop_map(|bit| V::from(1_u32 << bit)),
        any::<u64>().prop_map(|value| V(10, value.to_le_bytes().to_vec())),
        any::<f32>().prop_map(V::from),
        any::<bool>().prop_map(V::from),
        ".{0,8}".prop_map(|text| V::from(&*text)),
        prop::collection::vec(0_i32..4, 0..7).prop_map(|values| V::from(&values[..])),
        prop::collection::vec(any::<i32>(), 0..7).prop_map(|values| V::from(&values[..])),
        prop::collection::vec(".{0,3}".prop_map(String::from), 0..4)
            .prop_map(|texts| V::from(&texts[..])),
        (0_u32..14, any::<u64>(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(element, count, bytes)| array(element, count, bytes)),
        (0_u32..16, prop::collection::vec(any::<u8>(), 0..24)).prop_map(|(kind, b)| V(kind, b)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(768) })]

    #[test]
    fn random_bytes_behind_the_magic(
        version in prop::sample::select(vec![0_u32, 1, 2, 3, 4]),
        counts in prop::array::uniform2(prop_oneof![0_u64..4, any::<u64>()]),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let start = [&b"GGUF"[..], &version.to_le_bytes()].concat();
        let counts: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        load_or_refuse([start, counts, bytes].concat());
    }

    #[test]
    fn bytes_changed_and_cut(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        bits in prop::collection::vec((any::<prop::sample::Index>(), 0_u32..8), 0..3),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let (_, bytes, header) = model();
        let mut bytes = bytes.clone();
        for (at, byte) in changes {
            bytes[at.index(*header)] = byte;
        }
        for (at, bit) in bits {
            bytes[at.index(*header)] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        load_or_refuse(bytes);
    }

    /// Replaces whole values, so that parsing succeeds and the later checks are reached.
    #[test]
    fn values_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), extreme()), 1..3),
    ) {
        let mut file = model().0.clone();
        for (at, value) in changes {
            at.get_mut(&mut file.keys).1 = value;
        }
        load_or_refuse(file.bytes());
    }

    #[test]
    fn tensors_changed(
        at in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        kind in prop::option::of(0_u32..42),
        dims in prop::option::of(prop::collection::vec(prop_oneof![0_u64..100, any::<u64>()], 0..6)),
        offset in prop::option::of(prop_oneof![(0_u64..3000).prop_map(|n| n * 32), any::<u64>()]),
        rename in any::<bool>(),
    ) {
        let mut file = model().0.clone();
        let name = other.get(&file.tensors).name.clone();
        let tensor = at.get_mut(&mut file.tensors);
        tensor.kind = kind.unwrap_or(tensor.kind);
        tensor.ne = dims.unwrap_or(tensor.ne.clone());
        tensor.offset = offset;
        if rename {
            tensor.name = name;
        }
        load_or_refuse(file.bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    /// The tokenizer of a file with changed bytes is refused, or it encodes and decodes.
    #[test]
    fn tokenizers_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        merge in prop::option::of("[a-zĠ]{1,3} [a-z]{1,3}"),
    ) {
        let mut bytes = text().clone();
        for (at, byte) in changes {
            let at = 500 + at.index(bytes.len() - 500);
            bytes[at] = byte;
        }
        if let Some(merge) = merge {
            bytes.extend(string(&merge));
        }
        if let Some(metadata) = metadata(bytes)
            && let Ok(Some(tokenizer)) = Tokenizer::from_gguf(&metadata, 2688)
        {
            let ids = tokenizer.encode("The quick brown fox, 中文 😀 <|im_end|>", true).unwrap();
            prop_assert!(tokenizer.decode(&ids, false).is_ok());
        }
    }
}

#[test]
fn the_files_themselves_are_valid() {
    let (_, bytes, _) = model();
    assert!(open(&[("m.gguf", bytes.clone())]).is_ok());
    let metadata = metadata(text().clone()).unwrap();
    assert!(Tokenizer::from_gguf(&metadata, 2688).unwrap().is_some());
}

/// A file of the maximum length; all bytes after its beginning are zero.
#[derive(Debug)]
struct Longest(Vec<u8>);

impl ByteSource for Longest {
    fn len(&self) -> u64 {
        u64::MAX
    }

    fn name(&self) -> &str {
        "dir/m.gguf"
    }

    fn read_blocking(&self, at: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        buf.fill(0);
        let there = self.0.get(at as usize..).unwrap_or_default();
        let n = there.len().min(buf.len());
        buf[..n].copy_from_slice(&there[..n]);
        Ok(())
    }
}

/// A tensor's end overflows, so that no file is long enough for it. Found by fuzzing.
#[test]
fn a_tensor_that_ends_beyond_all_numbers() {
    let at = |offset, elements: u64| {
        let mut file = Gguf::new();
        let name = b"general.alignment".to_vec();
        file.tensors =
            vec![T { name, ne: vec![elements], kind: 24, data: Vec::new(), offset: Some(offset) }];
        Longest(file.header())
    };
    let refused_at = |offset, elements| {
        let source = at(offset, elements);
        refused("beyond 2^64", &["general.alignment", "beyond the file's end"], || {
            pollster::block_on(read_header(&source, 0)).map(drop).map_err(Error::from)
        });
    };
    refused_at(0, u64::MAX - 50);
    refused_at(u64::MAX - 31, 1);
    // The longest possible tensor.
    let source = at(0, 1);
    let start = (source.0.len() as u64).next_multiple_of(32);
    let whole = pollster::block_on(read_header(&at(0, u64::MAX - start), 0)).unwrap();
    assert_eq!(whole.tensors[0].range, start..u64::MAX);
}
