//! The whole model against goldens computed by transformers in f32 (tests/fixtures/README.md):
//! hidden states after each layer, the router's choices, logits and greedy tokens; in one pass,
//! token by token and in odd chunks; on a device with all it has and on one at WebGPU's defaults.

use std::path::PathBuf;

use lfm2_wgpu::engine::Trace;
use lfm2_wgpu::gpu::{Context, ContextOptions, LimitsChoice};
use lfm2_wgpu::kernels::{Choices, KvFormat, MatmulCoop, Multiply, Reduce};
use lfm2_wgpu::{Engine, GenerateOptions, SamplingOptions};
use pollster::block_on;
use safetensors::SafeTensors;

/// By which fraction of the largest logits, and the residual stream, may differ. Both are measured
/// near 1e-6, the reference's own rounding; where matrix units round inputs to f16, near 2e-3.
fn tolerance(engine: &Engine) -> f32 {
    match engine.choices().multiply {
        Multiply::Lanes => 1e-3,
        Multiply::MatrixUnits => 5e-3,
    }
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// What transformers says of a fixture.
struct Golden {
    name: String,
    input_ids: Vec<u32>,
    logits: Vec<f32>,
    /// `[layers + 1, positions, hidden]`: embeddings, then the stream after each layer.
    hidden: Vec<f32>,
    /// Positions of `hidden`: all, or the last alone.
    hidden_positions: usize,
    /// `[moe layers, tokens, top_k]`.
    experts: Vec<u32>,
    weights: Vec<f32>,
    greedy: Vec<u32>,
}

fn golden(name: &str) -> Golden {
    let dir = fixtures().join(name);
    let path = dir.join("golden.safetensors");
    if !path.exists() {
        return old_golden(name);
    }
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let ints = |key: &str| -> Vec<u32> {
        file.tensor(key).map_or(Vec::new(), |t| bytemuck::pod_collect_to_vec(t.data()))
    };
    let floats = |key: &str| -> Vec<f32> {
        file.tensor(key).map_or(Vec::new(), |t| bytemuck::pod_collect_to_vec(t.data()))
    };
    Golden {
        name: name.to_owned(),
        input_ids: ints("input_ids"),
        logits: floats("logits"),
        hidden: floats("hidden"),
        hidden_positions: file.tensor("hidden").unwrap().shape()[1],
        experts: ints("router_experts"),
        weights: floats("router_weights"),
        greedy: ints("greedy"),
    }
}

/// tiny-a and tiny-b have their goldens in JSON; their last hidden state is after the final norm.
fn old_golden(name: &str) -> Golden {
    let text = std::fs::read_to_string(fixtures().join(name).join("golden.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let floats =
        |v: &serde_json::Value| -> Vec<f32> { flat(v).iter().map(|x| *x as f32).collect() };
    let ints = |v: &serde_json::Value| -> Vec<u32> { flat(v).iter().map(|x| *x as u32).collect() };
    let hidden = json["hidden_states"].as_array().unwrap();
    let router = json["router"].as_object().unwrap();
    Golden {
        name: name.to_owned(),
        input_ids: ints(&json["input_ids"]),
        logits: floats(&json["logits"]),
        hidden: hidden[..hidden.len() - 1].iter().flat_map(floats).collect(),
        hidden_positions: 1,
        experts: router.values().flat_map(|r| ints(&r["experts"])).collect(),
        weights: router.values().flat_map(|r| floats(&r["weights"])).collect(),
        greedy: ints(&json["greedy_16"]),
    }
}

fn flat(v: &serde_json::Value) -> Vec<f64> {
    match v {
        serde_json::Value::Array(a) => a.iter().flat_map(flat).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn context(limits: LimitsChoice) -> Context {
    let options = ContextOptions { limits, ..Default::default() };
    block_on(Context::request(&options)).expect("a Vulkan driver: tools/setup.sh installs one")
}

fn engine(name: &str, context: &Context, choices: Option<Choices>) -> Engine {
    let mut builder = Engine::builder()
        .directory(fixtures().join(name))
        .unwrap()
        .gpu(context.clone())
        .context_length(512)
        // Goldens are f32: f16 keys and values are another model.
        .kv_format(KvFormat::F32);
    if let Some(choices) = choices {
        builder = builder.choices(choices);
    }
    block_on(builder.build()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let largest = want.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let error = (g - w).abs() / largest;
        assert!(error <= tolerance, "{what}[{i}]: got {g}, want {w} ({error:e} of {largest})");
    }
}

fn find<'a>(trace: &'a Trace, name: &str) -> &'a [u32] {
    &trace.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no probe {name}")).1
}

fn floats(words: &[u32]) -> &[f32] {
    bytemuck::cast_slice(words)
}

/// One pass with every intermediate: names the first layer that differs.
fn check_trace(engine: &Engine, g: &Golden) {
    let config = engine.config();
    let (n, hidden) = (g.input_ids.len(), config.hidden_size);
    let trace = block_on(engine.session().unwrap().trace(&g.input_ids)).unwrap();
    let first = n - g.hidden_positions;
    let size = g.hidden_positions * hidden;
    for (i, want) in g.hidden.chunks(size).enumerate() {
        // tiny-a and tiny-b lack the last layer's unnormed stream.
        let name = match i {
            0 => "model.embed_tokens".to_owned(),
            i => format!("model.layers.{}", i - 1),
        };
        let got = &floats(find(&trace, &name))[first * hidden..n * hidden];
        assert_close(&format!("{}: {name}", g.name), got, want, tolerance(engine));
    }
    let Some(moe) = &config.moe else { return };
    let layers: Vec<usize> = trace
        .iter()
        .filter_map(|(name, _)| {
            name.strip_prefix("model.layers.")?.strip_suffix(".feed_forward.ids")?.parse().ok()
        })
        .collect();
    let per_layer = n * moe.top_k;
    assert_eq!(g.experts.len(), layers.len() * per_layer, "{}: router goldens", g.name);
    for (i, layer) in layers.iter().enumerate() {
        let name = format!("model.layers.{layer}.feed_forward");
        let range = i * per_layer..(i + 1) * per_layer;
        let ids = &find(&trace, &format!("{name}.ids"))[..per_layer];
        assert_eq!(ids, &g.experts[range.clone()], "{}: {name}: experts", g.name);
        let gates = &floats(find(&trace, &format!("{name}.gates")))[..per_layer];
        assert_close(
            &format!("{}: {name}.gates", g.name),
            gates,
            &g.weights[range],
            tolerance(engine) / 4.0,
        );
    }
}

fn check_logits(engine: &Engine, g: &Golden, chunk: usize) {
    let got = block_on(engine.session().unwrap().logits(&g.input_ids, chunk)).unwrap();
    assert_close(&format!("{}: logits, chunk {chunk}", g.name), &got, &g.logits, tolerance(engine));
}

fn check_greedy(engine: &Engine, g: &Golden) {
    let options = GenerateOptions {
        sampling: Some(SamplingOptions::greedy()),
        max_tokens: Some(g.greedy.len()),
        ignore_end: true,
        ..Default::default()
    };
    let mut session = engine.session().unwrap();
    let mut generation = session.generate(&g.input_ids, &options).unwrap();
    let mut ids = Vec::new();
    block_on(async {
        while let Some(delta) = generation.next().await {
            ids.extend(delta.unwrap().token);
        }
    });
    assert_eq!(ids, g.greedy, "{}: greedy tokens", g.name);
}

/// Larger checkpoints, made by `tools/reference.py generate-random --out DIR`, whose parent folder
/// `LFM2_EXTRA_GOLDENS` names. Not in CI.
#[test]
#[ignore = "needs LFM2_EXTRA_GOLDENS"]
fn extra_goldens() {
    let parent = PathBuf::from(std::env::var("LFM2_EXTRA_GOLDENS").unwrap());
    let context = context(LimitsChoice::Adapter);
    for entry in std::fs::read_dir(parent).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.to_str().unwrap();
        let g = golden(name);
        let engine = engine(name, &context, None);
        check_trace(&engine, &g);
        check_logits(&engine, &g, 512);
        check_logits(&engine, &g, 33);
        check_greedy(&engine, &g);
        println!("{name}: ok");
    }
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| fixtures().join(n).join("golden.json").exists())
        .collect();
    names.sort();
    assert!(names.len() >= 20, "{names:?}");
    names
}

fn check_all(limits: LimitsChoice, choices: impl Fn(&Context) -> Option<Choices>) {
    let context = context(limits);
    for name in names() {
        let g = golden(&name);
        let engine = engine(&name, &context, choices(&context));
        check_trace(&engine, &g);
        let chunks: &[usize] =
            if g.input_ids.len() > 65 { &[512, 1, 7, 64, 65] } else { &[512, 1, 7] };
        for chunk in chunks {
            check_logits(&engine, &g, *chunk);
        }
        check_greedy(&engine, &g);
    }
}

#[test]
fn goldens_with_all_that_the_adapter_has() {
    check_all(LimitsChoice::Adapter, |_| None);
}

#[test]
fn goldens_at_default_limits() {
    check_all(LimitsChoice::Default, |_| None);
}

/// What a GPU would choose; software adapters choose `serial`.
#[test]
fn goldens_with_lanes_that_share_a_row() {
    check_all(LimitsChoice::Adapter, |context| {
        Some(shared(context, Reduce::cooperative(context.caps()), Multiply::Lanes))
    });
    check_all(LimitsChoice::Default, |context| {
        Some(shared(context, Reduce::Tree, Multiply::Lanes))
    });
}

fn shared(context: &Context, reduce: Reduce, multiply: Multiply) -> Choices {
    Choices { reduce, multiply, ..Choices::by_capability(context.caps()) }
}

#[test]
fn goldens_with_matrix_units() {
    if !MatmulCoop::available(context(LimitsChoice::Adapter).caps()) {
        eprintln!("skipped: the adapter has no cooperative matrices");
        return;
    }
    check_all(LimitsChoice::Adapter, |context| {
        Some(shared(context, Reduce::cooperative(context.caps()), Multiply::MatrixUnits))
    });
}

/// The same models as GGUF files: other names, other order of tensors, experts stacked, the taps
/// squeezed. bf16 fixtures are written in bf16, so that the weights are the same.
#[test]
fn goldens_of_gguf_files() {
    use crate::formats::gguf_writer::{BF16, F32, convert};
    let context = context(LimitsChoice::Adapter);
    let dir = tempfile::tempdir().unwrap();
    for name in names() {
        let g = golden(&name);
        let kind = if name == "tiny-b" { BF16 } else { F32 };
        let path = dir.path().join(format!("{name}.gguf"));
        std::fs::write(&path, convert(&fixtures().join(&name), kind).bytes()).unwrap();
        let builder = Engine::builder().path(&path).unwrap().gpu(context.clone());
        let builder = builder.context_length(512).kv_format(KvFormat::F32);
        let engine = block_on(builder.build()).unwrap_or_else(|e| panic!("{name}: {e}"));
        check_trace(&engine, &g);
        check_logits(&engine, &g, 512);
        check_greedy(&engine, &g);
    }
}

/// A device whose bindings hold so little that weights have to be split into parts, as those of
/// LFM2-8B-A1B in bf16 are at WebGPU's default limits. It is a host application's device, too.
#[test]
fn goldens_with_matrices_in_parts() {
    use lfm2_wgpu::wgpu;
    let small = 80 << 10;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let (device, queue) = block_on(async {
        let adapter = instance.request_adapter(&Default::default()).await.unwrap();
        let required_limits =
            wgpu::Limits { max_storage_buffer_binding_size: small, ..wgpu::Limits::defaults() };
        let desc = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        adapter.request_device(&desc).await.unwrap()
    });
    let context = Context::from_device(device, queue);
    assert_eq!(context.caps().max_part(), small);
    for name in ["tiny-a", "mha-head-32", "conv-bias", "untied"] {
        let g = golden(name);
        let builder = Engine::builder().directory(fixtures().join(name)).unwrap();
        let engine = block_on(
            builder
                .gpu(context.clone())
                .context_length(64)
                .chunk(24)
                .kv_format(KvFormat::F32)
                .build(),
        )
        .unwrap_or_else(|e| panic!("{name}: {e}"));
        check_trace(&engine, &g);
        check_logits(&engine, &g, 24);
        check_logits(&engine, &g, 1);
        check_greedy(&engine, &g);
    }
}
