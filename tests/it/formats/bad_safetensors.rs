//! Invalid safetensors files are refused in one line that names the file and the tensor.

use std::sync::Arc;

use lfm2_wgpu::formats::{ByteSource, BytesSource, Checkpoint, FormatError, ModelFiles};

use super::refused::{refused, refused_within};

/// A file with this header and this many bytes of data.
pub fn file(header: &str, data: usize) -> Vec<u8> {
    let len = header.len() as u64;
    [&len.to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

/// Opens a table of files as a model directory.
pub fn open(files: &[(&str, &[u8])]) -> Result<Checkpoint, FormatError> {
    let sources = files.iter().map(|(name, bytes)| {
        let source = BytesSource::shared(format!("dir/{name}"), Arc::from(*bytes));
        ((*name).to_owned(), Arc::new(source) as Arc<dyn ByteSource>)
    });
    let files = Arc::new(ModelFiles::from_sources("dir", sources));
    pollster::block_on(Checkpoint::open(files))
}

fn open_one(bytes: &[u8]) -> Result<Checkpoint, FormatError> {
    open(&[("model.safetensors", bytes)])
}

#[test]
fn a_strictly_valid_file() {
    let header = r#"{"__metadata__":{"format":"pt"},
        "b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},
        "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
        "empty":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]},
        "c":{"dtype":"F4","shape":[4],"data_offsets":[16,18]}}   "#;
    let checkpoint = open_one(&file(header, 18)).unwrap();
    let names: Vec<&str> = checkpoint.tensors().iter().map(|t| &*t.name).collect();
    assert_eq!(names, ["a", "b", "c", "empty"]);
    let start = 8 + header.len() as u64;
    let b = checkpoint.tensor(checkpoint.find("b").unwrap()).unwrap();
    assert_eq!((b.range.clone(), &b.shape[..]), (start + 4..start + 16, &[2, 3][..]));
    assert_eq!(checkpoint.find("d"), None);
    // A file without tensors is valid.
    assert_eq!(open_one(&file("{}", 0)).unwrap().tensors().len(), 0);
}

#[test]
#[rustfmt::skip]
fn files_that_are_no_safetensors() {
    let claims = |len: u64, rest: usize| [&len.to_le_bytes()[..], &vec![b'{'; rest]].concat();
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n".to_vec();
    let name_not_utf8 = [&8_u64.to_le_bytes()[..], b"{\"\xff\xfe\":1}"].concat();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty", vec![], &["has 0 bytes", "needs 8"]),
        ("one byte", vec![2], &["has 1 bytes"]),
        ("seven bytes", vec![0; 7], &["has 7 bytes"]),
        ("zeros", vec![0; 8], &["does not start with '{'"]),
        ("many zeros", vec![0; 4096], &["does not start with '{'"]),
        ("a header of 2^64 - 1", claims(u64::MAX, 100), &["18446744073709551615"]),
        ("a header of 2^63", claims(1 << 63, 100), &["9223372036854775808"]),
        ("a header of 2^32", claims(1 << 32, 100), &["4294967296"]),
        ("a header of 100 MB", claims(100_000_000, 100), &["100000000"]),
        ("the longest header, absent", claims(16 << 20, 100), &["has 108 bytes", "needs 16777224"]),
        ("a header longer by one byte", claims(101, 100), &["has 108 bytes", "needs 109"]),
        ("a Git LFS pointer", lfs, &["Git LFS pointer", "git lfs pull"]),
        ("GGUF", b"GGUF\x03\0\0\0\x02\0\0\0\0\0\0\0".to_vec(), &["not a safetensors file"]),
        ("a zip file", b"PK\x03\x04\x14\0\0\0\0\0\0\0".to_vec(), &["not a safetensors file"]),
        ("a web page", b"<!DOCTYPE html><html></html>".to_vec(), &["not a safetensors file"]),
        ("an opening brace", file("{", 0), &["wrong header", "EOF"]),
        ("braces", claims(100, 100), &["wrong header"]),
        ("a list", file("[]", 0), &["does not start with '{'"]),
        ("null", file("null", 0), &["does not start with '{'"]),
        ("a space before", file(" {}", 0), &["does not start with '{'"]),
        ("two objects", file("{}{}", 0), &["wrong header", "trailing"]),
        ("text behind", file("{} x", 0), &["wrong header", "trailing"]),
        ("zeros behind", file("{}\0\0", 0), &["wrong header", "trailing"]),
        ("a comma too many", file("{\"__metadata__\":{},}", 0), &["wrong header", "trailing comma"]),
        ("a name that is not UTF-8", name_not_utf8, &["wrong header"]),
        ("data without tensors", file("{}", 5), &["5 bytes follow the last tensor"]),
        ("metadata that is a list", file("{\"__metadata__\":[]}", 0), &["__metadata__", "object of strings"]),
        ("metadata that is a number", file("{\"__metadata__\":{\"a\":1}}", 0), &["__metadata__", "expected a string"]),
        ("metadata twice", file("{\"__metadata__\":{},\"__metadata__\":{}}", 0), &["__metadata__", "twice"]),
        ("nested metadata", file(&format!("{{\"__metadata__\":{}", "{\"a\":".repeat(100_000)), 0), &["__metadata__"]),
    ];
    for (case, bytes, words) in cases {
        refused(case, &[words, &["dir/model.safetensors: "]].concat(), || open_one(&bytes));
    }
}

/// A header with the tensor `ok` (bytes 0..8) and a tensor `bad` with this entry.
fn beside(bad: &str) -> String {
    format!(r#"{{"ok":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}},"bad":{bad}}}"#)
}

fn entry(dtype: &str, shape: &str, data_offsets: &str) -> String {
    beside(&format!(r#"{{"dtype":{dtype},"shape":{shape},"data_offsets":{data_offsets}}}"#))
}

#[test]
#[rustfmt::skip]
fn wrong_entries() {
    let f32 = "\"F32\"";
    let max = u64::MAX.to_string();
    let long = format!("\"{}\"", "x\\n".repeat(100_000));
    let nested = "[".repeat(100_000);
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("null", beside("null"), &["invalid type: null"]),
        ("a number", beside("1"), &["invalid type"]),
        ("a string", beside("\"F32\""), &["invalid type"]),
        ("a list", beside("[]"), &["invalid type: sequence"]),
        ("a list of the values", beside(r#"["F32",[2],[8,16]]"#), &["invalid type: sequence"]),
        ("empty", beside("{}"), &["missing field `dtype`"]),
        ("no dtype", beside(r#"{"shape":[1],"data_offsets":[8,12]}"#), &["missing field `dtype`"]),
        ("no shape", beside(r#"{"dtype":"F32","data_offsets":[8,12]}"#), &["missing field `shape`"]),
        ("no offsets", beside(r#"{"dtype":"F32","shape":[1]}"#), &["missing field `data_offsets`"]),
        ("another field", beside(r#"{"dtype":"F32","shape":[1],"data_offsets":[8,12],"strides":[4]}"#), &["unknown field `strides`"]),
        ("dtype twice", beside(r#"{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[8,12]}"#), &["duplicate field `dtype`"]),
        ("shape twice", beside(r#"{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[8,12]}"#), &["duplicate field `shape`"]),
        ("cut short", beside(r#"{"dtype":"F32","shape":[1"#), &["expected `,` or `]`", "line 1 column"]),
        ("dtype unknown", entry("\"F31\"", "[1]", "[8,12]"), &["unknown dtype \"F31\""]),
        ("dtype in small letters", entry("\"f32\"", "[1]", "[8,12]"), &["unknown dtype \"f32\""]),
        ("dtype of a GGUF", entry("\"Q4_0\"", "[1]", "[8,12]"), &["unknown dtype \"Q4_0\""]),
        ("dtype empty", entry("\"\"", "[1]", "[8,12]"), &["unknown dtype \"\""]),
        ("dtype a number", entry("7", "[1]", "[8,12]"), &["expected the name of a dtype"]),
        ("dtype null", entry("null", "[1]", "[8,12]"), &["expected the name of a dtype"]),
        ("dtype of 200,000 characters", entry(&long, "[1]", "[8,12]"), &["unknown dtype"]),
        ("shape a number", entry(f32, "1", "[8,12]"), &["expected a list of dimensions"]),
        ("shape a string", entry(f32, "\"1\"", "[8,12]"), &["expected a list of dimensions"]),
        ("shape null", entry(f32, "null", "[8,12]"), &["expected a list of dimensions"]),
        ("shape negative", entry(f32, "[-1]", "[8,12]"), &["invalid value", "-1"]),
        ("shape fractional", entry(f32, "[1.5]", "[8,12]"), &["1.5"]),
        ("shape 2^64", entry(f32, "[18446744073709551616]", "[8,12]"), &["invalid type"]),
        ("shape of lists", entry(f32, "[[1]]", "[8,12]"), &["invalid type: sequence"]),
        ("shape nested 100,000 deep", entry(f32, &nested, "[8,12]"), &["invalid type: sequence"]),
        ("shape of 9 dimensions", entry(f32, "[1,1,1,1,1,1,1,1,1]", "[8,12]"), &["more than 8 dimensions"]),
        ("shape whose product overflows", entry(f32, "[4294967296,4294967296]", "[8,12]"), &["too many elements"]),
        ("shape whose product wraps to 1", entry(f32, "[3,12297829382473034411]", "[8,12]"), &["too many elements"]),
        ("shape whose bytes overflow", entry(f32, "[9223372036854775807]", "[8,12]"), &["too many elements"]),
        ("shape with 0 but bytes", entry(f32, "[0]", "[8,12]"), &["hold 4 bytes", "needs 0"]),
        ("shape too small", entry(f32, "[1]", "[8,16]"), &["hold 8 bytes", "needs 4"]),
        ("shape too large", entry(f32, "[3]", "[8,16]"), &["hold 8 bytes", "needs 12"]),
        ("no bytes for a scalar", entry(f32, "[]", "[8,8]"), &["hold 0 bytes", "needs 4"]),
        ("another width", entry("\"F16\"", "[2]", "[8,16]"), &["hold 8 bytes", "needs 4"]),
        ("half a byte", entry("\"F4\"", "[3]", "[8,9]"), &["whole number of bytes"]),
        ("offsets a number", entry(f32, "[1]", "8"), &["invalid type"]),
        ("offsets null", entry(f32, "[1]", "null"), &["invalid type: null"]),
        ("offsets of one", entry(f32, "[1]", "[8]"), &["invalid length 1"]),
        ("offsets of three", entry(f32, "[1]", "[8,12,16]"), &["trailing characters"]),
        ("offsets strings", entry(f32, "[1]", "[\"8\",\"12\"]"), &["invalid type: string"]),
        ("offsets negative", entry(f32, "[1]", "[-8,-4]"), &["invalid value"]),
        ("offsets fractional", entry(f32, "[1]", "[8.0,12.0]"), &["floating point"]),
        ("offsets of 2^64", entry(f32, "[1]", "[8,18446744073709551616]"), &["invalid type"]),
        ("offsets reversed", entry(f32, "[1]", "[12,8]"), &["end before they begin"]),
        ("offsets that wrap", entry("\"U8\"", "[1]", &format!("[18446744073709551614,{max}]")), &["out of range"]),
        ("offsets to 2^63", entry("\"U8\"", "[9223372036854775800]", "[8,9223372036854775808]"), &["cut short"]),
        ("beyond the end by one byte", entry("\"U8\"", "[9]", "[8,17]"), &["cut short", "the file at"]),
        ("far beyond the end", entry("\"U8\"", "[1099511627776]", "[8,1099511627784]"), &["cut short"]),
        ("wholly beyond the end", entry(f32, "[1]", "[100,104]"), &["cut short"]),
        ("the same bytes", entry(f32, "[2]", "[0,8]"), &["overlapping", "\"ok\""]),
        ("overlapping by a byte", entry("\"U8\"", "[9]", "[7,16]"), &["overlapping \"ok\""]),
        ("empty within another", entry(f32, "[0]", "[4,4]"), &["overlapping"]),
        ("a gap", entry("\"U8\"", "[4]", "[12,16]"), &["leaving a gap"]),
    ];
    for (case, header, words) in cases {
        // The file has 16 bytes of data: 8 for `ok`, 8 for `bad`.
        let bytes = file(&header, 16);
        let tensor = if words[0].starts_with("overlapping") { "tensor \"" } else { "tensor \"bad\"" };
        refused(case, &[words, &["dir/model.safetensors: ", tensor]].concat(), || open_one(&bytes));
    }
}

#[test]
fn wrong_as_a_whole() {
    let one = |offsets: &str, name: &str| {
        format!(r#"{{"{name}":{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}}}"#)
    };
    let bytes = file(&one("[0,8]", "a"), 7);
    refused("one byte short", &["\"a\"", "cut short"], || open_one(&bytes));
    let bytes = file(&one("[0,8]", "a"), 9);
    refused("a byte behind", &["1 bytes follow"], || open_one(&bytes));
    let bytes = file(&one("[4,12]", "a"), 12);
    refused("a gap first", &["\"a\"", "gap"], || open_one(&bytes));
    let bytes = file(&one("[0,9]", "b\\n\\u001b[31m"), 9);
    refused("a name of control characters", &[r#""b\n\u{1b}[31m""#], || open_one(&bytes));
    let bytes = file(&one("[0,9]", &"n".repeat(1 << 20)), 9);
    refused_within("a name of 1 MiB", 8 << 20, &["nnn\"...", "hold 9"], || open_one(&bytes));
    let twice = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                    "a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    let bytes = file(twice, 2);
    refused("a tensor twice", &["\"a\"", "twice"], || open_one(&bytes));
}

/// The largest tables that the limits allow take less than 100 MB, the limit for any input.
#[test]
fn headers_at_the_limits() {
    let entries = |n: usize| {
        let entry =
            |i| format!(r#""{i}":{{"dtype":"U8","shape":[1,1,1,1,1,1,1,0],"data_offsets":[0,0]}}"#);
        let entries: Vec<String> = (0..n).map(entry).collect();
        format!("{{{}}}", entries.join(","))
    };
    let bytes = file(&entries(100_001), 0);
    let words = ["dir/model.safetensors", "\"100000\"", "more than 100000 tensors"];
    refused_within("100,001 tensors", 64 << 20, &words, || open_one(&bytes));
    let bytes = file(&format!("{{\"a\":[{}", "1,".repeat(8_000_000)), 0);
    refused_within("16 MB in one entry", 64 << 20, &["\"a\""], || open_one(&bytes));
}
