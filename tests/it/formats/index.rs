//! Sharded checkpoints: the index and its shards.

use super::bad_safetensors::{file, open};
use super::refused::refused;

/// A shard with one-byte tensors of these names.
fn shard(names: &[&str]) -> Vec<u8> {
    let entries: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let end = i + 1;
            format!(r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{end}]}}"#)
        })
        .collect();
    file(&format!("{{{}}}", entries.join(",")), names.len())
}

const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn index(map: &[(&str, &str)]) -> String {
    let entries: Vec<String> = map
        .iter()
        .map(|(tensor, shard)| {
            format!("{}:{}", serde_json::json!(tensor), serde_json::json!(shard))
        })
        .collect();
    let entries = entries.join(",");
    format!(r#"{{"metadata":{{"total_size":1}},"weight_map":{{{entries}}}}}"#)
}

#[test]
fn tensors_of_all_shards() {
    let index = index(&[("b", FIRST), ("a", SECOND), ("c", FIRST)]);
    let files = [(INDEX, index.as_bytes()), (FIRST, &shard(&["b", "c"])), (SECOND, &shard(&["a"]))];
    let checkpoint = open(&files).unwrap();
    let names: Vec<&str> = checkpoint.tensors().iter().map(|t| &*t.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let file_names: Vec<&str> =
        checkpoint.tensors().iter().map(|t| checkpoint.file_name(t)).collect();
    assert_eq!(
        file_names,
        [format!("dir/{SECOND}"), format!("dir/{FIRST}"), format!("dir/{FIRST}")]
    );
    assert_eq!(checkpoint.name(), format!("dir/{INDEX}"));
}

/// As in transformers, an index left behind by an earlier, sharded version is ignored.
#[test]
fn a_single_file_wins() {
    let files = [(INDEX, &b"not JSON"[..]), ("model.safetensors", &shard(&["a"]))];
    assert_eq!(open(&files).unwrap().tensors().len(), 1);
}

#[test]
#[rustfmt::skip]
fn wrong_indices() {
    let whole = [("a", FIRST), ("b", FIRST), ("c", SECOND)];
    let named = |shard: &str| index(&[("a", shard)]);
    let with = |extra: &[(&str, &str)]| index(&[&whole[..], extra].concat());
    let many: Vec<String> = (0..513).map(|i| format!("{i}.safetensors")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (&**name, &**name)).collect();
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("empty", String::new(), &["wrong index", "EOF"]),
        ("a list", "[{\"a\":\"b\"}]".into(), &["wrong index", "invalid type: sequence"]),
        ("a number", "1".into(), &["wrong index", "invalid type"]),
        ("no weight_map", "{\"metadata\":{}}".into(), &["missing field `weight_map`"]),
        ("weight_map twice", "{\"weight_map\":{},\"weight_map\":{}}".into(), &["duplicate field `weight_map`"]),
        ("weight_map null", "{\"weight_map\":null}".into(), &["wrong index", "shard names by tensor name"]),
        ("weight_map a list", "{\"weight_map\":[\"a\"]}".into(), &["shard names by tensor name"]),
        ("weight_map empty", "{\"weight_map\":{}}".into(), &["names no tensors"]),
        ("cut short", with(&[])[..60].into(), &["wrong index", "EOF"]),
        ("text behind", with(&[]) + "x", &["trailing characters"]),
        ("a shard that is a number", "{\"weight_map\":{\"a\":1}}".into(), &["weight_map", "tensor \"a\"", "invalid type"]),
        ("a shard that is null", "{\"weight_map\":{\"a\":null}}".into(), &["tensor \"a\""]),
        ("a shard without a name", named(""), &["shard \"\"", "plain file name"]),
        ("a shard above", named("../model.safetensors"), &["\"../model.safetensors\"", "plain file name"]),
        ("a shard below", named("sub/a.safetensors"), &["plain file name"]),
        ("an absolute shard", named("/etc/passwd"), &["\"/etc/passwd\"", "plain file name"]),
        ("a shard of another system", named("C:\\a.safetensors"), &["plain file name"]),
        ("a shard with a zero byte", named("a\0.safetensors"), &["plain file name", "\\0"]),
        ("the directory itself", named("."), &["plain file name"]),
        ("a shard of 300 characters", named(&"x".repeat(300)), &["plain file name"]),
        ("a shard that is missing", with(&[("d", "model-00003-of-00003.safetensors")]), &["model-00003-of-00003.safetensors", "missing"]),
        ("513 shards", index(&many), &["513 shards", "at most 512"]),
        ("a tensor that is nowhere", with(&[("d", FIRST)]), &["tensor \"d\"", "is not in its shard", FIRST]),
        ("a tensor in another shard", index(&[("a", FIRST), ("b", SECOND), ("c", SECOND)]), &["tensor \"b\"", SECOND, "but in", FIRST]),
        ("a tensor that is not listed", index(&[("a", FIRST), ("c", SECOND)]), &["tensor \"b\"", "not in the weight_map"]),
        ("a tensor twice", with(&[("a", FIRST)]), &["tensor \"a\"", "twice"]),
        ("a tensor twice, in two shards", with(&[("a", SECOND)]), &["tensor \"a\"", "twice"]),
        ("the index as its own shard", named(INDEX), &[INDEX, "not a safetensors file"]),
    ];
    let (first, second) = (shard(&["a", "b"]), shard(&["c"]));
    for (case, index, words) in cases {
        let files = [(INDEX, index.as_bytes()), (FIRST, &first), (SECOND, &second)];
        refused(case, &[words, &["dir/model"]].concat(), || open(&files));
    }
}

#[test]
fn wrong_shards() {
    let index = index(&[("a", FIRST), ("b", SECOND)]);
    let files = [(INDEX, index.as_bytes()), (FIRST, &shard(&["a", "b"])), (SECOND, &shard(&["b"]))];
    refused("in two shards", &["\"b\"", FIRST, SECOND], || open(&files));
    let whole = shard(&["b"]);
    let files =
        [(INDEX, index.as_bytes()), (FIRST, &shard(&["a"])), (SECOND, &whole[..whole.len() - 1])];
    refused("a shard cut short", &[SECOND, "\"b\"", "cut short"], || open(&files));
    refused("nothing", &["dir: ", "model.safetensors.index.json"], || {
        open(&[("config.json", b"{}")])
    });
}
