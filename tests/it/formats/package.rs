//! Packages: tensors of blocks in safetensors, files of bounded size, the manifest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lfm2_wgpu::Engine;
use lfm2_wgpu::engine::OpenedModel;
use lfm2_wgpu::formats::{ByteSource, BytesSource, ElementType, FormatError, Manifest, ModelFiles};
use lfm2_wgpu::kernels::Activations;
use lfm2_wgpu::model::package::{MAX_FILE_BYTES, PackageError, PackagePlan};
use lfm2_wgpu::model::{
    ModelPart, Recipe, TensorId, WeightChoice, convert, expected_tensors, synthetic_model, validate,
};
use pollster::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bad_safetensors::{file, open};
use super::fixture;
use super::refused::refused;

fn one(metadata: &str, dtype: &str, shape: &str, bytes: usize) -> Vec<u8> {
    let header = format!(
        r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{bytes}]}},"__metadata__":{metadata}}}"#
    );
    file(&header, bytes)
}

#[test]
fn metadata_declare_blocks() {
    let types = [("Q4_0", 18, 32), ("Q8_0", 34, 32), ("Q4_K", 144, 256), ("Q6_K", 210, 256)];
    for (name, bytes, elements) in types {
        let shape = format!("[3,{}]", 2 * bytes);
        let foreign = r#""format":"pt","Q4_0":"w","other":"Q4_0""#;
        let metadata = format!(r#"{{{foreign},"w":"{name}"}}"#);
        let bytes = one(&metadata, "U8", &shape, 6 * bytes);
        let checkpoint = open(&[("model.safetensors", &bytes)]).unwrap();
        let tensor = &checkpoint.tensors()[0];
        assert_eq!(tensor.element_type.name(), name);
        assert_eq!(tensor.shape, [3, 2 * elements]);
        assert_eq!(tensor.range.end, bytes.len() as u64);
    }
    // Without a declaration bytes stay bytes, and entries about plain tensors are ignored.
    for (metadata, dtype) in [(r#"{"format":"pt"}"#, "U8"), (r#"{"w":"trained"}"#, "I8")] {
        let bytes = one(metadata, dtype, "[2,18]", 36);
        let checkpoint = open(&[("model.safetensors", &bytes)]).unwrap();
        assert_eq!(checkpoint.tensors()[0].element_type.name(), dtype);
        assert_eq!(checkpoint.tensors()[0].shape, [2, 18]);
    }
}

#[test]
fn wrong_declarations_are_refused() {
    let long = "x".repeat(100_000);
    let cases: [(&str, &str, &str, usize, &[&str]); 12] = [
        (r#"{"w":"Q4_0"}"#, "U8", "[2,19]", 38, &["19 bytes", "not a whole number of Q4_0 blocks"]),
        (r#"{"w":"Q8_0"}"#, "U8", "[2,18]", 36, &["18 bytes", "not a whole number of Q8_0 blocks"]),
        (r#"{"w":"Q4_0"}"#, "U8", "[36]", 36, &["1 dimensions, need 2"]),
        (r#"{"w":"Q4_0"}"#, "U8", "[2,1,18]", 36, &["3 dimensions, need 2"]),
        (r#"{"w":"Q4_0"}"#, "U8", "[]", 1, &["0 dimensions, need 2"]),
        (r#"{"w":"Q4_0"}"#, "I8", "[2,18]", 36, &["dtype I8, need U8"]),
        (r#"{"w":"Q4_0"}"#, "F32", "[1,9]", 36, &["dtype F32, need U8"]),
        (r#"{"w":"Q9_9"}"#, "U8", "[2,18]", 36, &["\"Q9_9\"", "not a block type"]),
        (r#"{"w":"q4_0"}"#, "U8", "[2,18]", 36, &["\"q4_0\"", "not a block type"]),
        (r#"{"w":"BF16"}"#, "U8", "[2,18]", 36, &["\"BF16\"", "not a block type"]),
        (r#"{"w":"Q4_0","w":"Q8_0"}"#, "U8", "[2,306]", 612, &["__metadata__ twice"]),
        (&format!(r#"{{"w":"{long}"}}"#), "U8", "[2,18]", 36, &["not a block type"]),
    ];
    for (metadata, dtype, shape, bytes, words) in cases {
        let bytes = one(metadata, dtype, shape, bytes);
        let words = [words, &["dir/model.safetensors: tensor \"w\": "]].concat();
        refused(metadata.get(..40).unwrap_or(metadata), &words, || {
            open(&[("model.safetensors", &bytes)])
        });
    }
    // A huge number of rows of zero bytes.
    let bytes = one(r#"{"w":"Q4_0"}"#, "U8", "[0,18446744073709551612]", 0);
    refused("a row of 2^64 elements", &["\"w\""], || open(&[("model.safetensors", &bytes)]));
}

proptest! {
    /// With any declaration, accepted tensors have exactly their bytes.
    #[test]
    fn declared_shapes_hold_their_bytes(
        rows in 0_usize..5,
        row_bytes in 0_usize..700,
        name in "(Q4_0|Q4_1|Q5_0|Q5_1|Q8_0|Q4_K|Q5_K|Q6_K|F16|[ -!#-~]{0,6})",
        dtype in prop::sample::select(vec!["U8", "I8", "BOOL"]),
    ) {
        let metadata = json!({ "w": name }).to_string();
        let len = rows * row_bytes;
        let bytes = one(&metadata, dtype, &format!("[{rows},{row_bytes}]"), len);
        if let Ok(checkpoint) = open(&[("model.safetensors", &bytes)]) {
            let tensor = &checkpoint.tensors()[0];
            let elements: usize = tensor.shape.iter().product();
            prop_assert_eq!(tensor.element_type.bytes_of(elements as u64), Some(len as u64));
            prop_assert_eq!(tensor.shape[0], rows);
            prop_assert_eq!(tensor.element_type.name(), if dtype == "U8" { &*name } else { dtype });
        }
    }

    /// Nearly valid manifests never cause a panic.
    #[test]
    fn manifests_with_values_changed(
        field in prop::sample::select(vec!["format", "version", "source", "recipe", "files"]),
        value in prop_oneof![
            Just(Value::Null), any::<u64>().prop_map(Value::from), ".{0,6}".prop_map(Value::from),
            Just(json!([])), Just(json!({})), Just(json!([[]])),
            Just(json!([{"name": "../x", "bytes": 1, "sha256": ""}])),
            Just(json!([{"name": "x", "bytes": u64::MAX, "sha256": "0"}])),
        ],
    ) {
        let mut manifest = manifest_of(b"abc");
        manifest[field] = value;
        let files = table(&[("manifest.json", manifest.to_string().as_bytes()), ("x", b"abc")]);
        if let Ok(Some(manifest)) = block_on(Manifest::open(&files)) {
            let _ = manifest.check_sizes(&files);
            let _ = block_on(manifest.check_hashes(&files, &mut |_| true));
        }
    }
}

fn manifest_of(x: &[u8]) -> Value {
    use sha2::Digest;
    let sha256: String = sha2::Sha256::digest(x).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "format": "lfm2-wgpu package", "version": 1, "source": "s",
        "recipe": {"weights": "q4", "keep": {"head": "q8"}},
        "files": [{"name": "x", "bytes": x.len(), "sha256": sha256}],
    })
}

fn table(files: &[(&str, &[u8])]) -> ModelFiles {
    let sources = files.iter().map(|(name, bytes)| {
        let source = BytesSource::shared(format!("dir/{name}"), Arc::from(*bytes));
        ((*name).to_owned(), Arc::new(source) as Arc<dyn ByteSource>)
    });
    ModelFiles::from_sources("dir", sources)
}

#[test]
fn a_manifest_is_held_against_its_files() {
    let manifest = manifest_of(b"abc").to_string();
    let with = |manifest: &str, x: Option<&[u8]>| -> Result<bool, FormatError> {
        let mut all = vec![("manifest.json", manifest.as_bytes())];
        all.extend(x.map(|x| ("x", x)));
        let files = table(&all);
        let Some(manifest) = block_on(Manifest::open(&files))? else { return Ok(false) };
        manifest.check_sizes(&files)?;
        block_on(manifest.check_hashes(&files, &mut |_| true))
    };
    assert!(with(&manifest, Some(b"abc")).unwrap());
    type Case<'a> = (&'a str, String, Option<&'a [u8]>, &'a [&'a str]);
    let cases: [Case; 8] = [
        ("missing", manifest.clone(), None, &["dir/manifest.json", "\"x\"", "missing"]),
        ("cut", manifest.clone(), Some(b"ab"), &["dir/x: ", "2 bytes", "says 3"]),
        ("longer", manifest.clone(), Some(b"abcd"), &["dir/x: ", "4 bytes", "says 3"]),
        ("changed", manifest.clone(), Some(b"abd"), &["dir/x: ", "SHA-256", "fetch it again"]),
        ("half", manifest[..40].to_owned(), Some(b"abc"), &["dir/manifest.json", "wrong manifest"]),
        (
            "newer",
            manifest.replace("\"version\":1", "\"version\":2"),
            Some(b"abc"),
            &["dir/manifest.json", "version 2, need 1"],
        ),
        (
            "no files",
            manifest.replace("\"files\"", "\"fils\""),
            Some(b"abc"),
            &["dir/manifest.json", "files"],
        ),
        (
            "a name that leads out",
            manifest.replace("\"x\"", "\"../x\""),
            Some(b"abc"),
            &["../x", "plain file name"],
        ),
    ];
    for (case, manifest, x, words) in cases {
        refused(case, words, || with(&manifest, x));
    }
    // Manifests of other programs, of any content and length, or no manifest.
    let long = format!("{{\"icons\":{:?}}}", "x".repeat(2 << 20));
    for foreign in ["", "{}", "[]", r#"{"format":"x","version":9}"#, "name: x\n", "{\"a\":", &long]
    {
        assert!(!with(foreign, None).unwrap(), "{}", &foreign[..foreign.len().min(40)]);
    }
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("manifest.json")).unwrap();
    let files = ModelFiles::directory(dir.path()).unwrap();
    assert_eq!(block_on(Manifest::open(&files)).unwrap(), None);
    assert_eq!(block_on(Manifest::open(&table(&[]))).unwrap(), None);
    // The callback can stop it.
    let files = table(&[("manifest.json", manifest.as_bytes()), ("x", b"abc")]);
    let manifest = block_on(Manifest::open(&files)).unwrap().unwrap();
    assert!(!block_on(manifest.check_hashes(&files, &mut |_| false)).unwrap());
}

fn opened(path: &Path) -> (Arc<ModelFiles>, OpenedModel) {
    let files = Arc::new(ModelFiles::path(path).unwrap());
    let model = block_on(OpenedModel::open(&files)).unwrap();
    (files, model)
}

fn pack(from: &Path, recipe: &Recipe, limit: u64, to: &Path) -> Result<Manifest, PackageError> {
    let (files, m) = opened(from);
    block_on(async {
        let plan =
            PackagePlan::new(&files, &m.config, &m.checkpoint, &m.tensors, recipe, limit).await?;
        let mut seen = 0;
        let mut on_bytes = |done| {
            assert!(done > seen);
            seen = done;
            true
        };
        let manifest = plan.write(to, "a model", &mut on_bytes).await?;
        assert_eq!(seen, plan.source_bytes());
        assert!(manifest.bytes() <= plan.most_bytes());
        Ok(manifest)
    })
}

/// Names of a shard's tensors in order, and the bytes of the largest.
fn tensors_of(shard: &Path) -> Vec<(String, u64)> {
    let bytes = std::fs::read(shard).unwrap();
    let len = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    assert_eq!(len % 8, 0);
    let header: Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    let entries = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    let at = |entry: &Value, i: usize| entry["data_offsets"][i].as_u64().unwrap();
    entries.map(|(name, e)| (name.clone(), at(e, 1) - at(e, 0))).collect()
}

/// Every layout becomes a package with the same tensors as quantising during loading, in small files in the
/// order of the forward pass.
#[test]
fn packages_of_every_fixture() {
    let recipes = [
        Recipe::new(WeightChoice::Q4),
        Recipe::new(WeightChoice::Q8),
        Recipe::new(WeightChoice::F16),
        Recipe::new(WeightChoice::Q4).keeping([
            (ModelPart::Head, WeightChoice::Q4),
            (ModelPart::Experts, WeightChoice::Q8),
            (ModelPart::Dense, WeightChoice::F16),
        ]),
    ];
    let mut shards = 0;
    let mut types: BTreeMap<&str, usize> = BTreeMap::new();
    for name in ["tiny-a", "tiny-b", "fused", "sharded", "untied", "odd-ffn", "dense", "conv-bias"]
    {
        for (recipe, limit) in recipes.iter().zip([100_000, 30_000, 1 << 28, 40_000]) {
            let dir = TempDir::new().unwrap();
            let manifest = pack(&fixture(name), recipe, limit, dir.path()).unwrap();
            let (files, package) = opened(dir.path());
            assert_eq!(block_on(Manifest::open(&files)).unwrap().as_ref(), Some(&manifest));
            assert!(block_on(manifest.check_hashes(&files, &mut |_| true)).unwrap());
            let there = std::fs::read_dir(dir.path()).unwrap().count();
            assert_eq!(there, manifest.files.len() + 1, "every file is in the manifest");

            let (_, source) = opened(&fixture(name));
            assert_eq!(package.config, source.config);
            let mut in_order = Vec::new();
            for (id, _) in expected_tensors(&source.config) {
                let (a, b) = (source.tensors.get(id).unwrap(), package.tensors.get(id).unwrap());
                let target = recipe.target(id, a.element_type, a.cols);
                assert_eq!((b.element_type, b.rows, b.cols), (target, a.rows, a.cols), "{id:?}");
                let read = |model: &OpenedModel, slice: &lfm2_wgpu::formats::TensorSlice| {
                    let mut bytes = vec![0; usize::try_from(slice.bytes()).unwrap()];
                    block_on(model.checkpoint.read(slice, 0, &mut bytes)).unwrap();
                    bytes
                };
                let want = convert(a.element_type, target, &read(&source, a)).unwrap();
                assert!(read(&package, b) == want, "{name}: {id:?}");
                *types.entry(target.name()).or_default() += 1;
                in_order.push(id.hub_name());
            }
            let mut found = Vec::new();
            for file in manifest.files.iter().filter(|f| f.name.ends_with(".safetensors")) {
                let tensors = tensors_of(&dir.path().join(&file.name));
                assert!(file.bytes <= limit || tensors.len() == 1, "{name}: {file:?}");
                found.extend(tensors.into_iter().map(|(name, _)| name));
                shards += 1;
            }
            assert_eq!(found, in_order, "{name}");
        }
    }
    assert!(shards > 100, "{shards} shards");
    assert!(["Q4_0", "Q8_0", "F16", "F32"].iter().all(|t| types.contains_key(t)), "{types:?}");
    assert_eq!(MAX_FILE_BYTES, 256 << 20);
}

/// With different formats for parts, and padded FFNs, the logits are the same to the bit.
#[test]
fn a_package_computes_what_its_recipe_does_while_loading() {
    let recipe = Recipe::new(WeightChoice::Q4).keeping([
        (ModelPart::Head, WeightChoice::F16),
        (ModelPart::Attention, WeightChoice::Q8),
        (ModelPart::Experts, WeightChoice::Q8),
    ]);
    let logits = |path: &Path, recipe: Option<&Recipe>| {
        let builder = Engine::builder().path(path).unwrap().context_length(64);
        // The same precision of activations for both.
        let mut builder = builder.activations(Activations::Float);
        if let Some(recipe) = recipe {
            builder = builder.weights(recipe.clone());
        }
        let engine = block_on(builder.build()).unwrap();
        let logits =
            block_on(engine.sequence().unwrap().logits(&[1, 17, 42, 90, 7, 64], 8)).unwrap();
        logits.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    };
    // tiny-a is f32, so the KV cache is f32 in both.
    for name in ["tiny-a", "tiny-b", "odd-ffn"] {
        let dir = TempDir::new().unwrap();
        pack(&fixture(name), &recipe, 100_000, dir.path()).unwrap();
        let want = logits(&fixture(name), Some(&recipe));
        assert!(logits(dir.path(), None) == want, "{name}");
        // Rows of 60 elements are not whole blocks.
        assert!(name == "odd-ffn" || logits(&fixture(name), None) != want, "{name}");
    }
}

/// A matrix longer than a piece of 32 MiB is quantised by several threads, and their parts are joined in order.
#[test]
fn a_matrix_of_several_pieces() {
    let dir = TempDir::new().unwrap();
    let (source, to) = (dir.path().join("source"), dir.path().join("to"));
    std::fs::create_dir(&source).unwrap();
    std::fs::create_dir(&to).unwrap();
    let from = fixture("tiny-a");
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(from.join("config.json")).unwrap()).unwrap();
    // A longer embedding; everything else is unchanged.
    let weights = std::fs::read(from.join("model.safetensors")).unwrap();
    let len = usize::try_from(u64::from_le_bytes(weights[..8].try_into().unwrap())).unwrap();
    let mut header: Value = serde_json::from_slice(&weights[8..8 + len]).unwrap();
    let hidden = config["hidden_size"].as_u64().unwrap();
    let rows = (80 << 20) / (hidden * 4) + 1;
    config["vocab_size"] = rows.into();
    let old = &header["model.embed_tokens.weight"]["data_offsets"];
    let (a, b) = (old[0].as_u64().unwrap(), old[1].as_u64().unwrap());
    let entry = json!({"dtype": "F32", "shape": [rows, hidden],
                       "data_offsets": [0, rows * hidden * 4]});
    header.as_object_mut().unwrap().remove("__metadata__");
    for (name, entry) in header.as_object_mut().unwrap() {
        for offset in entry["data_offsets"].as_array_mut().into_iter().flatten() {
            let at = offset.as_u64().unwrap();
            let moved = if at >= b { at - (b - a) } else { at };
            *offset = (moved + rows * hidden * 4).into();
        }
        assert_ne!(name, "lm_head.weight");
    }
    header["model.embed_tokens.weight"] = entry;
    let values = (0..rows * hidden).map(|i| (i.wrapping_mul(2_654_435_761) % 1000) as f32 - 500.0);
    let embedding: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    let header = header.to_string();
    let data = &weights[8 + len..];
    let (a, b) = (usize::try_from(a).unwrap(), usize::try_from(b).unwrap());
    let file = [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &embedding,
        &data[..a],
        &data[b..],
    ];
    std::fs::write(source.join("config.json"), config.to_string()).unwrap();
    std::fs::write(source.join("model.safetensors"), file.concat()).unwrap();

    let recipe = Recipe::new(WeightChoice::Q8);
    let (own, target) = (ElementType::F32, ElementType::Q8_0);
    pack(&source, &recipe, MAX_FILE_BYTES, &to).unwrap();
    let (_, package) = opened(&to);
    let slice = package.tensors.get(TensorId::Embedding).unwrap();
    assert_eq!(slice.element_type, target);
    let mut bytes = vec![0; usize::try_from(slice.bytes()).unwrap()];
    block_on(package.checkpoint.read(slice, 0, &mut bytes)).unwrap();
    assert!(bytes == convert(own, target, &embedding).unwrap());
}

#[test]
fn what_cannot_be_packed() {
    let (q4, dir) = (Recipe::new(WeightChoice::Q4), TempDir::new().unwrap());
    let error = |e: Result<Manifest, PackageError>| e.unwrap_err();
    pack(&fixture("tiny-b"), &q4, MAX_FILE_BYTES, dir.path()).unwrap();
    let again = error(pack(dir.path(), &q4, MAX_FILE_BYTES, dir.path()));
    assert!(matches!(again, PackageError::Source { .. }), "{again}");
    assert!(again.to_string().contains("quantised already"), "{again}");
    // The file exists already; the folder does not.
    for place in [dir.path(), &dir.path().join("none")] {
        let error = error(pack(&fixture("tiny-b"), &q4, MAX_FILE_BYTES, place));
        assert!(matches!(error, PackageError::Write { .. }), "{error}");
        assert!(error.to_string().starts_with(&place.display().to_string()), "{error}");
    }
    let (files, m) = opened(&fixture("tiny-b"));
    let dir = TempDir::new().unwrap();
    let plan = PackagePlan::new(&files, &m.config, &m.checkpoint, &m.tensors, &q4, MAX_FILE_BYTES);
    let plan = block_on(plan).unwrap();
    // A published shape: 2302 tensors.
    let (config, c) = synthetic_model("lfm2-8b-a1b", WeightChoice::F16).unwrap().unwrap();
    let tensors = block_on(validate(&config, &c)).unwrap();
    let of = |limit| block_on(PackagePlan::new(&files, &config, &c, &tensors, &q4, limit));
    let many = of(1).err().unwrap().to_string();
    assert!(many.contains("would be 2302 files of 1 bytes, at most 512 are read"), "{many}");
    let bytes = of(MAX_FILE_BYTES).unwrap().most_bytes();
    assert!((4_600_000_000..4_900_000_000).contains(&bytes), "{bytes}");
    let cancelled = error(block_on(plan.write(dir.path(), "m", &mut |_| false)));
    assert!(matches!(cancelled, PackageError::Cancelled), "{cancelled}");
}
