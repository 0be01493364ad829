//! Invalid GGUF files are refused in one line that names the file and the key or tensor, quickly and with little
//! memory, whatever sizes they claim. The cases come from files that other readers accepted, aborted or hung on.

use lfm2_wgpu::Error;

use super::gguf::{demo, open, open_one};
use super::gguf_writer::{F32, Gguf, T, V, array, convert, string};
use super::refused::{refused, refused_within};

/// Maximum memory while a complete model is opened and refused: twice its header.
const HELD: usize = 24 << 20;

fn tiny() -> Gguf {
    convert(&super::fixture("tiny-a"), F32)
}

fn dense() -> Gguf {
    convert(&super::fixture("dense"), F32)
}

/// The name of a case, a change of a valid model, and the words that the error must contain.
type Case = (&'static str, fn(&mut Gguf), &'static [&'static str]);

fn check(base: &Gguf, cases: &[Case]) -> usize {
    assert!(open_one(base).is_ok());
    // All failures are shown, not only the first.
    let mut failed = Vec::new();
    for (case, edit, words) in cases {
        let mut file = base.clone();
        edit(&mut file);
        let bytes = file.bytes();
        let words = [words, &["dir/m.gguf: "][..]].concat();
        let refusal = std::panic::AssertUnwindSafe(|| {
            refused_within(case, HELD + 4 * bytes.len(), &words, || {
                open(&[("m.gguf", bytes)]).map(drop)
            });
        });
        failed.extend(std::panic::catch_unwind(refusal).err().map(|_| *case));
    }
    assert!(failed.is_empty(), "{failed:?}");
    cases.len()
}

fn first(file: &mut Gguf) -> &mut T {
    &mut file.tensors[0]
}

#[test]
#[rustfmt::skip]
fn wrong_structure() {
    let cases: &[Case] = &[
        ("another magic", |f| f.magic = *b"FUGG", &["is not a model", "GGUF"]),
        ("an old magic", |f| f.magic = *b"ggjt", &["before GGUF"]),
        ("version 0", |f| f.version = 0, &["version 0"]),
        ("version 1", |f| f.version = 1, &["version 1 is not supported"]),
        ("version 4", |f| f.version = 4, &["version 4 is unknown"]),
        ("version 2^31", |f| f.version = 1 << 31, &["version 2147483648"]),
        ("big endian", |f| f.version = 3_u32.swap_bytes(), &["big-endian"]),
        ("2^64 - 1 tensors", |f| f.n_tensors = Some(u64::MAX), &["18446744073709551615 tensors"]),
        ("2^63 tensors", |f| f.n_tensors = Some(1 << 63), &["tensors"]),
        ("2^32 tensors", |f| f.n_tensors = Some(1 << 32), &["4294967296 tensors"]),
        ("3e9 tensors", |f| f.n_tensors = Some(3_000_000_000), &["3000000000 tensors"]),
        ("100,001 tensors", |f| f.n_tensors = Some(100_001), &["100001 tensors"]),
        ("a tensor too many", |f| f.n_tensors = Some(f.tensors.len() as u64 + 1), &["tensor"]),
        ("100,000 tensors that are not there", |f| f.n_tensors = Some(100_000), &["tensor"]),
        ("2^64 - 1 keys", |f| f.n_keys = Some(u64::MAX), &["18446744073709551615 keys"]),
        ("2^63 keys", |f| f.n_keys = Some(1 << 63), &["keys"]),
        ("4e9 keys", |f| f.n_keys = Some(4_000_000_000), &["4000000000 keys"]),
        ("65,537 keys", |f| f.n_keys = Some(65_537), &["65537 keys"]),
        ("a key too many", |f| f.n_keys = Some(f.keys.len() as u64 + 1), &["m.gguf"]),
        ("a key too few", |f| f.n_keys = Some(f.keys.len() as u64 - 1), &["m.gguf"]),
        ("no keys", |f| f.keys.clear(), &["general.architecture", "is missing"]),
        ("no tensors", |f| f.tensors.clear(), &["token_embd.weight", "is missing"]),
        ("an empty key", |f| f.keys[1].0.clear(), &["key of 0 bytes"]),
        ("a key of 70,000 bytes", |f| f.keys[1].0 = vec![b'a'; 70_000], &["key of 70000 bytes"]),
        ("a key that is not UTF-8", |f| f.keys[1].0 = vec![0xff, 0xfe], &["not UTF-8"]),
        ("a long key with a wrong value", |f| f.keys[1] = (vec![b'\n'; 60_000], V(7, vec![9])), &["bool of 9"]),
        ("a key twice", |f| { let k = f.keys[0].clone(); f.keys.push(k); }, &["general.architecture", "twice"]),
        ("a key twice with other values", |f| f.keys.push((b"lfm2moe.block_count".to_vec(), 9_u32.into())), &["lfm2moe.block_count", "twice"]),
        ("value type 13", |f| f.keys[1].1 = V(13, vec![0; 8]), &["value type 13"]),
        ("value type 2^32 - 1", |f| f.keys[1].1 = V(u32::MAX, vec![0; 8]), &["value type 4294967295"]),
        ("a bool of 7", |f| { f.set("x.flag", V(7, vec![7])); }, &["x.flag: ", "bool of 7"]),
        ("bools of 2", |f| { f.set("x.flags", array(7, 3, vec![0, 1, 2])); }, &["x.flags: ", "bool of 2"]),
        ("a string of 2^64 - 1 bytes", |f| { f.set("x.s", V(8, u64::MAX.to_le_bytes().to_vec())); }, &["x.s: ", "goes on to byte"]),
        ("a string of 2^63 bytes", |f| { f.set("x.s", V(8, (1_u64 << 63).to_le_bytes().to_vec())); }, &["x.s: ", "goes on to byte"]),
        ("a string of 4 GiB", |f| { f.set("x.s", V(8, (1_u64 << 32).to_le_bytes().to_vec())); }, &["x.s: ", "goes on to byte"]),
        ("an array of 2^64 - 1", |f| { f.set("x.a", array(0, u64::MAX, vec![])); }, &["x.a: ", "goes on to byte"]),
        ("an array whose size overflows", |f| { f.set("x.a", array(10, (1 << 61) + 1, vec![0; 8])); }, &["x.a: ", "goes on to byte"]),
        ("an array of 4e9 strings", |f| { f.set("x.a", array(8, 4_000_000_000, vec![0; 64])); }, &["x.a: ", "goes on to byte"]),
        ("an array of 3e9 bytes", |f| { f.set("x.a", array(0, 3_000_000_000, vec![0; 64])); }, &["x.a: ", "goes on to byte"]),
        ("an array of type 99", |f| { f.set("x.a", array(99, 1, vec![0; 64])); }, &["x.a: ", "value type 99"]),
        ("an array of arrays", |f| { f.set("x.a", array(9, 1, [&0_u32.to_le_bytes()[..], &0_u64.to_le_bytes()].concat())); }, &["x.a: ", "array of arrays"]),
        ("arrays 10,000 deep", |f| { f.set("x.a", array(9, 1, [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat().repeat(10_000))); }, &["x.a: ", "array of arrays"]),
        ("a string in an array too long", |f| { f.set("x.a", array(8, 2, [string("a"), u64::MAX.to_le_bytes().to_vec()].concat())); }, &["x.a: ", "goes on to byte"]),
        ("alignment 0", |f| { f.set("general.alignment", 0_u32); }, &["general.alignment: got 0", "power of two"]),
        ("alignment 3", |f| { f.set("general.alignment", 3_u32); }, &["general.alignment: got 3"]),
        ("alignment 48", |f| { f.set("general.alignment", 48_u32); }, &["general.alignment: got 48"]),
        ("alignment -32", |f| { f.set("general.alignment", -32); }, &["general.alignment: got -32"]),
        ("alignment 2^31", |f| { f.set("general.alignment", 1_u32 << 31); }, &["general.alignment: got 2147483648"]),
        ("alignment 2^63", |f| { f.set("general.alignment", V(10, (1_u64 << 63).to_le_bytes().to_vec())); }, &["general.alignment"]),
        ("an alignment in words", |f| { f.set("general.alignment", "32"); }, &["general.alignment: is not a whole number"]),
        ("a fractional alignment", |f| { f.set("general.alignment", 32.0_f32); }, &["general.alignment"]),
        ("another alignment than the data's", |f| { f.set("general.alignment", 4096_u32); }, &["tensor"]),
    ];
    assert!(check(&tiny(), cases) >= 50);
}

#[test]
#[rustfmt::skip]
fn wrong_tensors() {
    let cases: &[Case] = &[
        ("an empty name", |f| first(f).name.clear(), &["name of 0 bytes"]),
        ("a name of 65 bytes", |f| first(f).name = vec![b'x'; 65], &["name of 65 bytes"]),
        ("a name that is not UTF-8", |f| first(f).name = vec![0xff], &["not UTF-8"]),
        ("a name with a line break", |f| { first(f).name = b"a\nb".to_vec(); first(f).ne = vec![]; }, &["a\\nb", "0 dimensions"]),
        ("a name twice", |f| f.tensors[3].name = f.tensors[1].name.clone(), &["blk.0.shortconv.out_proj.weight", "twice"]),
        ("0 dimensions", |f| first(f).ne = vec![], &["token_embd.weight", "0 dimensions"]),
        ("5 dimensions", |f| first(f).ne = vec![1; 5], &["5 dimensions"]),
        ("2^16 dimensions", |f| first(f).ne = vec![1; 1 << 16], &["65536 dimensions"]),
        ("a dimension of 0", |f| first(f).ne = vec![64, 0], &["dimension of 0"]),
        ("a row of 0", |f| first(f).ne = vec![0, 97], &["dimension of 0"]),
        ("a dimension of 2^64 - 1", |f| first(f).ne = vec![u64::MAX, 2], &["too many elements"]),
        ("a dimension of 2^63", |f| first(f).ne = vec![1 << 63, 1], &["too many elements"]),
        ("elements that overflow", |f| first(f).ne = vec![1 << 32, 1 << 32], &["too many elements"]),
        ("four that overflow", |f| first(f).ne = vec![1 << 16; 4], &["too many elements"]),
        ("bytes that overflow", |f| first(f).ne = vec![1 << 31, 1 << 31], &["too many elements"]),
        ("0 after an overflow", |f| first(f).ne = vec![1 << 40, 1 << 40, 0], &["too many elements"]),
        ("3e9 rows", |f| first(f).ne = vec![64, 3_000_000_000], &["768000000000 bytes", "cut short"]),
        ("a row more than there is", |f| f.tensors.last_mut().unwrap().ne[0] += 8, &["token_embd_norm.weight", "cut short"]),
        ("type 4", |f| first(f).kind = 4, &["unknown type 4"]),
        ("type 5", |f| first(f).kind = 5, &["unknown type 5"]),
        ("Q8_1", |f| first(f).kind = 9, &["Q8_1", "not supported", "Q4_K_M"]),
        ("Q2_K", |f| first(f).kind = 10, &["Q2_K", "not supported"]),
        ("Q3_K", |f| first(f).kind = 11, &["Q3_K", "not supported"]),
        ("Q8_K", |f| first(f).kind = 15, &["Q8_K", "not supported"]),
        ("IQ2_XXS", |f| first(f).kind = 16, &["IQ2_XXS", "not supported"]),
        ("IQ1_S", |f| first(f).kind = 19, &["IQ1_S", "not supported"]),
        ("IQ4_NL", |f| first(f).kind = 20, &["IQ4_NL", "not supported"]),
        ("IQ4_XS", |f| first(f).kind = 23, &["IQ4_XS", "not supported"]),
        ("TQ1_0", |f| first(f).kind = 34, &["TQ1_0", "not supported"]),
        ("MXFP4", |f| first(f).kind = 39, &["MXFP4", "not supported"]),
        ("type 77", |f| first(f).kind = 77, &["unknown type 77"]),
        ("type 2^32 - 1", |f| first(f).kind = u32::MAX, &["type 4294967295"]),
        ("integers as weights", |f| first(f).kind = 26, &["token_embd.weight", "is I32"]),
        ("doubles as weights", |f| { let t = first(f); t.kind = 28; let n = t.data.len(); t.data.resize(2 * n, 0); }, &["token_embd.weight", "is F64"]),
        ("half a block a row", |f| { f.reshape("token_embd.weight", &[48, 97]); first(f).kind = 2; }, &["rows of 48", "blocks of 32"]),
        ("a quarter of a superblock", |f| first(f).kind = 12, &["rows of 64", "blocks of 256"]),
        ("blocks across rows", |f| { f.reshape("token_embd.weight", &[1, 64 * 97]); first(f).kind = 8; }, &["rows of 1 elements", "Q8_0"]),
        ("an offset off by 1", |f| f.tensors[1].offset = Some(1), &["blk.0.shortconv.out_proj.weight", "byte 1 of the data", "multiple of 32"]),
        ("an offset off by 16", |f| f.tensors[2].offset = Some(16), &["multiple of 32"]),
        ("an offset of 2^64 - 32", |f| f.tensors[2].offset = Some(u64::MAX - 31), &["cut short"]),
        ("an offset of 2^63", |f| f.tensors[2].offset = Some(1 << 63), &["cut short"]),
        ("an offset behind the end", |f| f.tensors[2].offset = Some(1 << 40), &["cut short"]),
        ("one over another", |f| f.tensors[2].offset = Some(32), &["within", "token_embd.weight"]),
        ("two at the same place", |f| f.tensors[2].offset = Some(0), &["within"]),
        ("all at the beginning", |f| f.tensors.iter_mut().for_each(|t| t.offset = Some(0)), &["within"]),
        ("a gap", |f| { let t = first(f); let n = t.data.len(); t.data.resize(n + 32, 0); }, &["leaving a gap"]),
        ("a gap before the first", |f| { f.tensors.retain(|t| t.name.starts_with(b"blk")); let mut at = 32; for t in &mut f.tensors { t.offset = Some(at); at = (at + t.data.len() as u64).next_multiple_of(32); } f.tail = vec![0; 32]; }, &["leaving a gap"]),
        ("32 bytes behind the last", |f| f.tail = vec![0; 32], &["32 bytes follow the last tensor"]),
        ("a megabyte behind the last", |f| f.tail = vec![0; 1 << 20], &["1048576 bytes follow"]),
        ("the last cut short", |f| { let t = f.tensors.last_mut().unwrap(); t.data.truncate(128); }, &["token_embd_norm.weight", "cut short"]),
        ("no data at all", |f| f.tensors.iter_mut().for_each(|t| t.data.clear()), &["cut short"]),
        ("no embedding", |f| f.tensors.retain(|t| !t.name.starts_with(b"token_embd.")), &["\"token_embd.weight\" is missing", "another model"]),
        ("no final norm", |f| f.tensors.retain(|t| t.name != b"token_embd_norm.weight"), &["token_embd_norm.weight", "(1 of"]),
        ("no taps", |f| f.tensors.retain(|t| !t.name.ends_with(b"conv.conv.weight")), &["shortconv.conv.weight", "is missing"]),
        ("no router", |f| f.tensors.retain(|t| t.name != b"blk.3.ffn_gate_inp.weight"), &["blk.3.ffn_gate_inp.weight", "is missing"]),
        ("one layer without its bias", |f| f.tensors.retain(|t| t.name != b"blk.3.exp_probs_b.bias"), &["blk.3.exp_probs_b.bias", "is missing"]),
        ("no up projections", |f| f.tensors.retain(|t| t.name != b"blk.4.ffn_up_exps.weight"), &["blk.4.ffn_up_exps.weight", "is missing (8 of"]),
        ("one expert less in a layer", |f| { f.reshape("blk.4.ffn_down_exps.weight", &[48, 64, 7]); }, &["blk.4.ffn_down_exps.weight", "[7, 64, 48]", "[8, 64, 48]"]),
        ("a matrix turned", |f| { f.reshape("blk.0.shortconv.in_proj.weight", &[192, 64]); }, &["blk.0.shortconv.in_proj.weight", "[64, 192]", "the metadata call for [192, 64]"]),
        ("taps turned", |f| { f.reshape("blk.1.shortconv.conv.weight", &[64, 3]); }, &["blk.1.shortconv.conv.weight"]),
        ("a norm too short", |f| { f.reshape("blk.1.ffn_norm.weight", &[32]); }, &["blk.1.ffn_norm.weight", "[32]"]),
        ("a matrix of one dimension", |f| { f.reshape("blk.2.attn_q.weight", &[64 * 64]); }, &["blk.2.attn_q.weight", "[4096]"]),
        ("a head of another width", |f| { f.reshape("output.weight", &[32, 97]); }, &["output.weight"]),
    ];
    let mut base = tiny();
    let head = T { name: b"output.weight".to_vec(), ne: vec![64, 97], kind: F32, data: vec![0; 64 * 97 * 4], offset: None };
    base.tensors.insert(1, head);
    base.tensors.swap(1, 5);
    assert!(check(&base, cases) >= 60);
}

fn set(file: &mut Gguf, key: &str, value: impl Into<V>) {
    file.set(&format!("lfm2moe.{key}"), value);
}

#[test]
#[rustfmt::skip]
fn wrong_configurations() {
    let cases: &[Case] = &[
        ("no architecture", |f| { f.remove("general.architecture"); }, &["general.architecture", "is missing"]),
        ("another architecture", |f| { f.set("general.architecture", "llama"); }, &["general.architecture: got \"llama\", need lfm2 or lfm2moe"]),
        ("LFM3", |f| { f.set("general.architecture", "lfm3"); }, &["LFM3", "not supported"]),
        ("a projector", |f| { f.set("general.architecture", "clip"); }, &["general.architecture", "projector"]),
        ("an architecture of lines", |f| { f.set("general.architecture", &*"x\n".repeat(9000)); }, &["general.architecture"]),
        ("an architecture of a number", |f| { f.set("general.architecture", 3_u32); }, &["general.architecture: got 3, need a string"]),
        ("the other LFM2", |f| { f.set("general.architecture", "lfm2"); }, &["lfm2.block_count", "is missing"]),
        ("an adapter", |f| { f.set("general.type", "adapter"); }, &["general.type: got \"adapter\""]),
        ("block_count 0", |f| set(f, "block_count", 0_u32), &["lfm2moe.block_count: got 0, need 1 to 1024"]),
        ("block_count 2^31", |f| set(f, "block_count", 1_u32 << 31), &["lfm2moe.block_count: got 2147483648"]),
        ("block_count 4", |f| set(f, "block_count", 4_u32), &["lfm2moe.block_count: got 4, need more", "blk.4"]),
        ("block_count 6", |f| set(f, "block_count", 6_u32), &["lfm2moe.attention.head_count_kv", "need 6 numbers"]),
        ("block_count -1", |f| set(f, "block_count", -1), &["lfm2moe.block_count: got -1"]),
        ("block_count in words", |f| set(f, "block_count", "5"), &["lfm2moe.block_count: got \"5\""]),
        ("context_length 0", |f| set(f, "context_length", 0_u32), &["lfm2moe.context_length: got 0, need 1 to"]),
        ("context_length 2^32 - 1", |f| set(f, "context_length", u32::MAX), &["lfm2moe.context_length: got 4294967295"]),
        ("head_count 0", |f| set(f, "attention.head_count", 0_u32), &["lfm2moe.attention.head_count: got 0"]),
        ("head_count 3", |f| set(f, "attention.head_count", 3_u32), &["lfm2moe.attention.head_count_kv", "divisor of lfm2moe.attention.head_count 3"]),
        ("head_count 8", |f| set(f, "attention.head_count", 8_u32), &["blk.2.attn_q.weight", "[64, 64]", "[128, 64]"]),
        ("head_count 2^31", |f| set(f, "attention.head_count", 1_u32 << 31), &["lfm2moe.attention.head_count"]),
        ("head counts that differ", |f| set(f, "attention.head_count", &[4, 4, 2, 4, 4][..]), &["lfm2moe.attention.head_count", "an array of 5", "the same number"]),
        ("no head counts", |f| set(f, "attention.head_count", &[] as &[i32]), &["lfm2moe.attention.head_count"]),
        ("head_count_kv of another length", |f| set(f, "attention.head_count_kv", &[0, 0, 2][..]), &["lfm2moe.attention.head_count_kv: got an array of 3 i32, need 5"]),
        ("head_count_kv negative", |f| set(f, "attention.head_count_kv", &[0, 0, -2, 0, 2][..]), &["lfm2moe.attention.head_count_kv"]),
        ("head_count_kv of two kinds", |f| set(f, "attention.head_count_kv", &[0, 0, 1, 0, 2][..]), &["lfm2moe.attention.head_count_kv: got 1 and 2"]),
        ("head_count_kv one number", |f| set(f, "attention.head_count_kv", 2_u32), &["blk.0.attn_q.weight", "is missing"]),
        ("head_count_kv at another layer", |f| set(f, "attention.head_count_kv", &[0, 2, 2, 0, 0][..]), &["blk.1.attn_q.weight", "is missing"]),
        ("head_count_kv none", |f| set(f, "attention.head_count_kv", 0_u32), &["blk.2.shortconv.in_proj.weight", "is missing"]),
        ("head_count_kv of strings", |f| set(f, "attention.head_count_kv", &["0".to_owned()][..]), &["lfm2moe.attention.head_count_kv"]),
        ("head_count_kv 3", |f| set(f, "attention.head_count_kv", &[0, 0, 3, 0, 3][..]), &["lfm2moe.attention.head_count_kv", "divisor"]),
        ("value_length another", |f| set(f, "attention.value_length", 32_u32), &["lfm2moe.attention.value_length: got 32, need 16"]),
        ("half of a head turned", |f| set(f, "rope.dimension_count", 8_u32), &["lfm2moe.rope.dimension_count: got 8, need 16"]),
        ("a vocabulary of 0", |f| { set(f, "vocab_size", 0_u32); f.tensors.remove(0); }, &["lfm2moe.vocab_size: got 0"]),
        ("eps 0", |f| set(f, "attention.layer_norm_rms_epsilon", 0.0_f32), &["lfm2moe.attention.layer_norm_rms_epsilon: got 0"]),
        ("eps negative", |f| set(f, "attention.layer_norm_rms_epsilon", -1e-5_f32), &["layer_norm_rms_epsilon: got -1e-5"]),
        ("eps NaN", |f| set(f, "attention.layer_norm_rms_epsilon", f32::NAN), &["layer_norm_rms_epsilon: got NaN"]),
        ("eps infinite", |f| set(f, "attention.layer_norm_rms_epsilon", f32::INFINITY), &["layer_norm_rms_epsilon: got inf"]),
        ("eps 1", |f| set(f, "attention.layer_norm_rms_epsilon", 1.0_f32), &["below 1"]),
        ("eps in words", |f| set(f, "attention.layer_norm_rms_epsilon", "1e-5"), &["layer_norm_rms_epsilon"]),
        ("freq_base 0", |f| set(f, "rope.freq_base", 0.0_f32), &["lfm2moe.rope.freq_base: got 0"]),
        ("freq_base NaN", |f| set(f, "rope.freq_base", f32::NAN), &["lfm2moe.rope.freq_base: got NaN"]),
        ("freq_base negative", |f| set(f, "rope.freq_base", -1e6_f32), &["lfm2moe.rope.freq_base: got -1000000"]),
        ("no freq_base", |f| { f.remove("lfm2moe.rope.freq_base"); }, &["lfm2moe.rope.freq_base: is missing"]),
        ("yarn", |f| set(f, "rope.scaling.type", "yarn"), &["lfm2moe.rope.scaling.type: got \"yarn\""]),
        ("an unknown scaling", |f| set(f, "rope.scaling.type", "?"), &["lfm2moe.rope.scaling.type"]),
        ("a scaling factor", |f| set(f, "rope.scaling.factor", 2.0_f32), &["lfm2moe.rope.scaling.factor: got 2"]),
        ("expert_count 0", |f| { set(f, "expert_count", 0_u32); f.tensors.retain(|t| !t.name.ends_with(b"exps.weight")); }, &["lfm2moe.expert_count: got 0"]),
        ("expert_count 2^31", |f| { set(f, "expert_count", 1_u32 << 31); f.tensors.retain(|t| !t.name.ends_with(b"exps.weight")); }, &["lfm2moe.expert_count: got 2147483648"]),
        ("expert_used_count 0", |f| set(f, "expert_used_count", 0_u32), &["lfm2moe.expert_used_count: got 0, need 1 to 8"]),
        ("expert_used_count 9", |f| set(f, "expert_used_count", 9_u32), &["lfm2moe.expert_used_count: got 9, need 1 to 8"]),
        ("softmax gates", |f| set(f, "expert_gating_func", 1_u32), &["lfm2moe.expert_gating_func: got 1, need 2 (sigmoid)"]),
        ("unknown gates", |f| set(f, "expert_gating_func", 99_u32), &["lfm2moe.expert_gating_func: got 99"]),
        ("a scale of 0", |f| set(f, "expert_weights_scale", 0.0_f32), &["lfm2moe.expert_weights_scale: got 0"]),
        ("a scale of NaN", |f| set(f, "expert_weights_scale", f32::NAN), &["lfm2moe.expert_weights_scale: got NaN"]),
        ("norm in numbers", |f| set(f, "expert_weights_norm", 1_u32), &["lfm2moe.expert_weights_norm: got 1, need true or false"]),
        ("more dense layers than layers", |f| set(f, "leading_dense_block_count", 6_u32), &["lfm2moe.leading_dense_block_count: got 6"]),
        ("a dense layer too many", |f| set(f, "leading_dense_block_count", 3_u32), &["blk.2.ffn_gate.weight", "is missing"]),
        ("a dense layer too few", |f| set(f, "leading_dense_block_count", 1_u32), &["blk.1.ffn_gate_inp.weight", "is missing"]),
        ("shared experts", |f| set(f, "expert_shared_count", 1_u32), &["lfm2moe.expert_shared_count: got 1"]),
        ("groups of experts", |f| set(f, "expert_group_count", 4_u32), &["lfm2moe.expert_group_count"]),
        ("a sliding window", |f| set(f, "attention.sliding_window", 256_u32), &["lfm2moe.attention.sliding_window: got 256"]),
        ("an encoder", |f| set(f, "attention.causal", false), &["lfm2moe.attention.causal: got false"]),
        ("pooling", |f| set(f, "pooling_type", 1_u32), &["lfm2moe.pooling_type: got 1"]),
        ("a soft cap", |f| set(f, "final_logit_softcapping", 30.0_f32), &["final_logit_softcapping: got 30"]),
        ("l_cache 17", |f| { set(f, "shortconv.l_cache", 17_u32); for i in [0, 1, 3] { f.reshape(&format!("blk.{i}.shortconv.conv.weight"), &[17, 64]); } }, &["lfm2moe.shortconv.l_cache: got 17, need 1 to 16"]),
        ("bos out of range", |f| { f.set("tokenizer.ggml.bos_token_id", 97_u32); }, &["tokenizer.ggml.bos_token_id: got 97"]),
        ("eos 2^31", |f| { f.set("tokenizer.ggml.eos_token_id", 1_u32 << 31); }, &["tokenizer.ggml.eos_token_id: got 2147483648"]),
        ("eos -1", |f| { f.set("tokenizer.ggml.eos_token_id", -1); }, &["tokenizer.ggml.eos_token_id: got -1"]),
        ("eot out of range", |f| { f.set("tokenizer.ggml.eot_token_id", 97_u32); }, &["tokenizer.ggml.eot_token_id: got 97"]),
        ("a temperature of -3", |f| { f.set("general.sampling.temp", -3.0_f32); }, &["general.sampling.temp: got -3"]),
    ];
    assert!(check(&tiny(), cases) >= 68);
}

#[test]
fn every_key_that_is_needed() {
    let missing = |file: &Gguf, arch: &str, keys: &[&str]| {
        for key in keys {
            let key = format!("{arch}.{key}");
            let mut file = file.clone();
            file.remove(&key);
            refused(&key, &[&key, "is missing", "dir/m.gguf"], || open_one(&file).map(drop));
            for wrong in [V::from("x"), array(6, 1, vec![0; 4]), V(7, vec![1])] {
                file.set(&key, wrong);
                refused(&key, &[&key, "got ", "need "], || open_one(&file).map(drop));
            }
        }
    };
    let keys = [
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.layer_norm_rms_epsilon",
        "rope.freq_base",
        "shortconv.l_cache",
    ];
    missing(&dense(), "lfm2", &keys);
    missing(&tiny(), "lfm2moe", &keys);
    let keys = [
        "expert_count",
        "expert_used_count",
        "expert_feed_forward_length",
        "leading_dense_block_count",
    ];
    missing(&tiny(), "lfm2moe", &keys);
}

#[test]
#[rustfmt::skip]
fn wrong_tokenizers() {
    let cases: &[Case] = &[
        ("sentencepiece", |f| { f.set("tokenizer.ggml.model", "llama"); }, &["tokenizer.ggml.model: got \"llama\""]),
        ("no model", |f| { f.remove("tokenizer.ggml.model"); }, &["tokenizer.ggml.model: is missing"]),
        ("a model of a number", |f| { f.set("tokenizer.ggml.model", 2_u32); }, &["tokenizer.ggml.model: got 2"]),
        ("another cut", |f| { f.set("tokenizer.ggml.pre", "qwen2"); }, &["tokenizer.ggml.pre: got \"qwen2\""]),
        ("no cut", |f| { f.remove("tokenizer.ggml.pre"); }, &["tokenizer.ggml.pre: is missing"]),
        ("no tokens", |f| { f.remove("tokenizer.ggml.tokens"); }, &["tokenizer.ggml.tokens: is missing"]),
        ("no types", |f| { f.remove("tokenizer.ggml.token_type"); }, &["tokenizer.ggml.token_type: is missing"]),
        ("no merges", |f| { f.remove("tokenizer.ggml.merges"); }, &["tokenizer.ggml.merges: is missing"]),
        ("tokens of numbers", |f| { f.set("tokenizer.ggml.tokens", &[1, 2][..]); }, &["tokenizer.ggml.tokens: got an array of 2 i32"]),
        ("types of strings", |f| { f.set("tokenizer.ggml.token_type", &["1".to_owned()][..]); }, &["tokenizer.ggml.token_type"]),
        ("merges of numbers", |f| { f.set("tokenizer.ggml.merges", &[1][..]); }, &["tokenizer.ggml.merges"]),
        ("a type too few", |f| { f.set("tokenizer.ggml.token_type", &[1; 5][..]); }, &["tokenizer.ggml.tokens", "as many as tokenizer.ggml.token_type"]),
        ("no tokens in the list", |f| { f.set("tokenizer.ggml.tokens", &[] as &[String]); f.set("tokenizer.ggml.token_type", &[] as &[i32]); }, &["tokenizer.ggml.tokens", "empty"]),
        ("a template of a number", |f| { f.set("tokenizer.ggml.add_bos_token", 1_u32); }, &["tokenizer.ggml.add_bos_token: got 1"]),
        ("bos asked for and not there", |f| { f.remove("tokenizer.ggml.bos_token_id"); }, &["tokenizer.ggml.bos_token_id: is missing"]),
        ("bos without a token", |f| { f.set("tokenizer.ggml.bos_token_id", 2687_u32); retype(f, 2687, 5); }, &["tokenizer.ggml.bos_token_id: got 2687", "no token"]),
        ("type 0", |f| retype(f, 300, 0), &["tokenizer.ggml.token_type[300]: got 0"]),
        ("type 6", |f| retype(f, 300, 6), &["tokenizer.ggml.token_type[300]: got 6"]),
        ("type 99", |f| retype(f, 300, 99), &["tokenizer.ggml.token_type[300]: got 99"]),
        ("type -1", |f| retype(f, 300, -1), &["tokenizer.ggml.token_type[300]: got -1"]),
        ("all tokens unused", |f| { f.set("tokenizer.ggml.token_type", &[5; 2688][..]); f.remove("tokenizer.ggml.bos_token_id"); f.remove("tokenizer.ggml.add_bos_token"); }, &["tokenizer.ggml.tokens", "empty"]),
        ("an entry of a merge unused", |f| retype(f, 400, 5), &["tokenizer.ggml.merges["]),
        ("a token twice", |f| retoken(f, 301, |tokens| tokens[300].clone()), &["tokenizer.ggml.tokens[301]", "is also tokenizer.ggml.tokens[300]"]),
        ("an empty token", |f| retoken(f, 7, |_| String::new()), &["tokenizer.ggml.tokens", "empty token"]),
        ("a token of 70,000 bytes", |f| retoken(f, 7, |_| "x".repeat(70_000)), &["tokenizer.ggml.tokens", "70000 bytes"]),
        ("a token out of the alphabet", |f| retoken(f, 2600, |_| "a b".to_owned()), &["tokenizer.ggml.tokens"]),
        ("merges of one part", |f| { f.set("tokenizer.ggml.merges", &["ab".to_owned()][..]); }, &["tokenizer.ggml.merges[0]", "two parts"]),
        ("merges of three parts", |f| { f.set("tokenizer.ggml.merges", &["a b c".to_owned()][..]); }, &["tokenizer.ggml.merges[0]"]),
        ("an empty merge", |f| { f.set("tokenizer.ggml.merges", &[String::new()][..]); }, &["tokenizer.ggml.merges[0]"]),
        ("merges of unknown tokens", |f| { f.set("tokenizer.ggml.merges", &["qqq zzz".to_owned()][..]); }, &["tokenizer.ggml.merges[0]", "is not in tokenizer.ggml.tokens"]),
        ("a merge twice", |f| { let t = merges(f); f.set("tokenizer.ggml.merges", &[t[0].clone(), t[0].clone()][..]); }, &["tokenizer.ggml.merges[1]", "the same pair"]),
        ("300,000 merges", |f| { f.set("tokenizer.ggml.merges", &vec!["a b".to_owned(); 300_000][..]); }, &["tokenizer.ggml.merges: got an array of 300000"]),
        ("300,000 tokens", |f| { let n = 300_000; f.set("tokenizer.ggml.tokens", &vec!["a".to_owned(); n][..]); f.set("tokenizer.ggml.token_type", &vec![1; n][..]); }, &["tokenizer.ggml.token_type: got an array of 300000"]),
        ("ids beyond the embedding", |f| { let mut t = tokens(f); t.push("<|more|>".to_owned()); let n = t.len(); f.set("tokenizer.ggml.tokens", &t[..]); f.set("tokenizer.ggml.token_type", &[types(f), vec![3]].concat()[..]); assert_eq!(n, 2689); }, &["tokenizer.ggml.tokens", "vocabulary size 2688"]),
    ];
    assert!(check(&demo(), cases) >= 33);
}

/// The strings of an array, read without the reader under test.
fn texts(file: &Gguf, key: &str) -> Vec<String> {
    let (_, V(_, bytes)) = file.keys.iter().find(|(k, _)| k == key.as_bytes()).unwrap();
    let mut rest = &bytes[12..];
    let mut texts = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<8>() {
        let (text, after) = after.split_at(u64::from_le_bytes(*len) as usize);
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        rest = after;
    }
    texts
}

fn tokens(file: &Gguf) -> Vec<String> {
    texts(file, "tokenizer.ggml.tokens")
}

fn merges(file: &Gguf) -> Vec<String> {
    texts(file, "tokenizer.ggml.merges")
}

fn types(file: &Gguf) -> Vec<i32> {
    let key = b"tokenizer.ggml.token_type";
    let (_, V(_, bytes)) = file.keys.iter().find(|(k, _)| k == key).unwrap();
    bytes[12..].chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn retype(file: &mut Gguf, id: usize, to: i32) {
    let mut types = types(file);
    types[id] = to;
    file.set("tokenizer.ggml.token_type", &types[..]);
}

fn retoken(file: &mut Gguf, id: usize, to: fn(&[String]) -> String) {
    let mut tokens = tokens(file);
    tokens[id] = to(&tokens);
    file.set("tokenizer.ggml.tokens", &tokens[..]);
}

/// A broken template is an error only when it is used, so that the model can still run on raw prompts.
#[test]
fn wrong_templates() {
    let conversation = lfm2_wgpu::text::Conversation::from_json(
        r#"{"messages": [{"role": "user", "content": ""}]}"#,
    );
    let conversation = conversation.unwrap();
    let cases: [(&str, V, &[&str]); 5] = [
        ("a syntax error", "{% for".into(), &["template"]),
        ("a number", 5_u32.into(), &["dir/m.gguf: tokenizer.chat_template: got 5"]),
        ("a list", (&["x".to_owned()][..]).into(), &["tokenizer.chat_template: got an array"]),
        ("5 MB", (&*"x".repeat(5 << 20)).into(), &["tokenizer.chat_template", "5242880 bytes"]),
        (
            "a loop",
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}".into(),
            &["template"],
        ),
    ];
    for (case, template, words) in cases {
        let mut file = demo();
        file.set("tokenizer.chat_template", template);
        let opened = open_one(&file).unwrap();
        refused(case, words, || opened.text.encode_chat(&conversation));
    }
    let mut file = demo();
    file.remove("tokenizer.chat_template");
    let opened = open_one(&file).unwrap();
    let words = ["dir/m.gguf: tokenizer.chat_template: is missing", "--raw"];
    refused("none", &words, || opened.text.encode_chat(&conversation));
}

/// A file that is cut short at any byte is refused.
#[test]
fn cut_at_every_length() {
    let whole = convert(&super::fixture("top-3-of-7"), F32);
    let (bytes, header) = (whole.bytes(), whole.header().len());
    let pad = bytes.len() - 1;
    let lengths = (0..200).chain((200..header).step_by(97)).chain([header, header + 32, pad - 64]);
    for len in lengths {
        let cut = bytes[..len].to_vec();
        refused(&format!("{len} bytes"), &["dir/m.gguf"], || open(&[("m.gguf", cut)]).map(drop));
    }
}

/// Headers of 32 MiB with the content that takes the most memory, and a longer one.
#[test]
fn the_largest_headers_take_little_memory() {
    let mut long = Gguf::new();
    long.set("x.s", V(8, string(&"a".repeat(33 << 20))));
    let mut keys = Gguf::new();
    keys.keys = (0..65_536).map(|i| (format!("k{i}").into_bytes(), V(0, vec![1]))).collect();
    let mut empty = Gguf::new();
    let count = 3 << 20;
    empty.set("x.texts", array(8, count, vec![0; 8 * count as usize]));
    let mut tensors = Gguf::new();
    tensors.tensors = (0..100_000)
        .map(|i| T {
            name: format!("{i:064}").into_bytes(),
            ne: vec![1; 4],
            kind: 24,
            data: vec![0],
            offset: None,
        })
        .collect();
    for (case, file, words) in [
        ("33 MiB", long, ["x.s: goes on to byte", "at most 33554432 bytes"]),
        ("65,536 keys", keys, ["general.architecture", "is missing"]),
        ("3 million empty strings", empty, ["general.architecture", "is missing"]),
        ("100,000 tensors", tensors, ["general.architecture", "is missing"]),
    ] {
        let source = lfm2_wgpu::formats::BytesSource::shared("dir/m.gguf", file.bytes().into());
        let files = [("m.gguf".to_owned(), std::sync::Arc::new(source) as _)];
        let files = lfm2_wgpu::formats::ModelFiles::from_sources("dir", files);
        let files = std::sync::Arc::new(files);
        refused_within(case, 90 << 20, &words, || {
            pollster::block_on(lfm2_wgpu::engine::OpenedModel::open(&files)).map(drop)
        });
    }
}

/// The errors are typed, so that a program can distinguish them.
#[test]
fn errors_are_typed() {
    let mut file = tiny();
    file.set("lfm2moe.expert_used_count", 0_u32);
    assert!(matches!(open_one(&file).map(drop), Err(Error::Config(_))));
    file.set("x.flag", V(7, vec![9]));
    assert!(matches!(open_one(&file).map(drop), Err(Error::Format(_))));
}
