//! Packages: a manifest (any text, or a valid one with changed values) and the files that it names.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use lfm2_fuzz::description::{Change, Name, Number, changed, pick};
use lfm2_fuzz::{files, held, one_line};
use lfm2_wgpu::engine::OpenedModel;
use lfm2_wgpu::formats::{Manifest, ModelFiles};
use serde_json::json;
use sha2::{Digest, Sha256};

#[derive(Arbitrary, Debug)]
struct Description {
    files: Vec<File>,
    changes: Vec<Change>,
    /// Files that the manifest does not name.
    more: Vec<(Name, Vec<u8>)>,
    source: String,
}

#[derive(Arbitrary, Debug)]
struct File {
    name: Name,
    content: Vec<u8>,
    /// False values in the manifest.
    bytes: Option<Number>,
    hash: Option<String>,
    upper: bool,
    there: bool,
}

/// File names of a package.
const NAMES: [&str; 5] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // A first byte of 0 marks a description; otherwise the input is files.
    if let Some((0, rest)) = data.split_first() {
        let Ok(d) = Description::arbitrary_take_rest(Unstructured::new(rest)) else { return };
        let (manifest, mut all) = d.write();
        all.push(("manifest.json".to_owned(), manifest.into_bytes()));
        let all: Vec<(&str, &[u8])> = all.iter().map(|(a, b)| (a.as_str(), &b[..])).collect();
        let table = files::table(&all);
        held(|| check(&table, &all));
    } else {
        let all = files::split(data, "manifest.json");
        let table = files::table(&all);
        held(|| {
            check(&table, &all);
            if let Err(error) = pollster::block_on(OpenedModel::open(&table)) {
                one_line(&error);
            }
        });
    }
});

fn check(table: &ModelFiles, all: &[(&str, &[u8])]) {
    let manifest = match pollster::block_on(Manifest::open(table)) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return,
        Err(error) => return one_line(&error),
    };
    let sizes = manifest.check_sizes(table).inspect_err(|error| one_line(error)).is_ok();
    let whole = pollster::block_on(manifest.check_hashes(table, &mut |_| true));
    match &whole {
        Ok(done) => assert!(*done && sizes, "sizes are checked with the hashes"),
        Err(error) => one_line(error),
    }
    for file in &manifest.files {
        // Of duplicate names, the table has the last file.
        let there = all.iter().rev().find(|(name, _)| *name == file.name).map(|(_, bytes)| bytes);
        let right = there.is_some_and(|bytes| bytes.len() as u64 == file.bytes);
        assert!(right || !sizes, "{file:?}");
        if whole.is_ok() {
            let hash = there.map(|bytes| hex(bytes)).unwrap_or_default();
            assert!(hash.eq_ignore_ascii_case(&file.sha256), "{file:?}: {hash}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Description {
    /// The manifest's text, and the files.
    fn write(&self) -> (String, Vec<(String, Vec<u8>)>) {
        let (mut all, mut listed) = (Vec::new(), Vec::new());
        for (i, file) in self.files.iter().take(8).enumerate() {
            let name = match &file.name {
                Name::Known(which) => pick(&NAMES, *which).copied().unwrap_or_default().to_owned(),
                Name::Long(..) => format!("file-{i}"),
                name => name.text(),
            };
            let bytes = file.content.len() as u64;
            let bytes = file.bytes.map_or(bytes, |n| n.of(bytes));
            let hash = file.hash.clone().unwrap_or_else(|| hex(&file.content));
            let hash = if file.upper { hash.to_uppercase() } else { hash };
            listed.push(json!({"name": name, "bytes": bytes, "sha256": hash}));
            if file.there {
                all.push((name, file.content.clone()));
            }
        }
        all.extend(self.more.iter().take(4).map(|(name, bytes)| (name.text(), bytes.clone())));
        let manifest = json!({
            "format": "lfm2-wgpu package", "version": 1, "source": self.source,
            "recipe": {"weights": "q4", "keep": {"head": "q8"}},
            "files": listed,
        });
        (changed(&manifest, &self.changes), all)
    }
}
