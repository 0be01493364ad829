//! Goldens, the results of transformers for a model, and their comparison with an engine's results. The
//! native tests and those in a browser (web/tests/gpu) use it.

use lfm2_wgpu::engine::{EngineBuilder, Trace};
use lfm2_wgpu::gpu::Device;
use lfm2_wgpu::kernels::{Choices, KvFormat, Multiply, Reduce};
use lfm2_wgpu::{Engine, Error, GenerateOptions, SamplingOptions};
use safetensors::SafeTensors;

/// Number of compared values, or the first difference.
pub type Compared = Result<usize, String>;

/// Largest allowed difference of logits and of the residual stream, as a fraction of the largest value.
/// Measured differences are near 1e-6, the reference's own rounding, and near 2e-3 with matrix units,
/// which round inputs to f16.
fn tolerance(engine: &Engine) -> f32 {
    match engine.choices().multiply {
        Multiply::Lanes => 1e-3,
        Multiply::MatrixUnits => 5e-3,
    }
}

/// The results of transformers for a model.
pub struct Golden {
    name: String,
    input_ids: Vec<u32>,
    logits: Vec<f32>,
    /// `[layers + 1, positions, hidden]`: embeddings, then the residual stream after each layer.
    hidden: Vec<f32>,
    /// Positions of `hidden`: all, or only the last.
    hidden_positions: usize,
    /// `[moe layers, tokens, top_k]`.
    experts: Vec<u32>,
    weights: Vec<f32>,
    greedy: Vec<u32>,
}

impl Golden {
    /// The golden of a fixture. `read` returns the content of a file that exists.
    pub fn of(name: &str, read: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        match read("golden.safetensors") {
            Some(bytes) => Self::from_tensors(name, &bytes),
            None => Self::from_json(name, &read("golden.json").expect("a golden")),
        }
    }

    fn from_tensors(name: &str, bytes: &[u8]) -> Self {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let ints = |key: &str| -> Vec<u32> {
            file.tensor(key).map_or(Vec::new(), |t| bytemuck::pod_collect_to_vec(t.data()))
        };
        let floats = |key: &str| -> Vec<f32> {
            file.tensor(key).map_or(Vec::new(), |t| bytemuck::pod_collect_to_vec(t.data()))
        };
        Self {
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

    /// The goldens of tiny-a and tiny-b are JSON. Their last hidden state is after the final norm.
    fn from_json(name: &str, bytes: &[u8]) -> Self {
        let json: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let floats =
            |v: &serde_json::Value| -> Vec<f32> { flat(v).iter().map(|x| *x as f32).collect() };
        let ints =
            |v: &serde_json::Value| -> Vec<u32> { flat(v).iter().map(|x| *x as u32).collect() };
        let hidden = json["hidden_states"].as_array().unwrap();
        let router = json["router"].as_object().unwrap();
        Self {
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

    /// Lengths of the prompt's chunks for which logits are compared.
    pub fn chunks(&self) -> &'static [usize] {
        if self.input_ids.len() > 65 { &[512, 1, 7, 64, 65] } else { &[512, 1, 7] }
    }
}

fn flat(v: &serde_json::Value) -> Vec<f64> {
    match v {
        serde_json::Value::Array(a) => a.iter().flat_map(flat).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

/// The engine whose results are compared with goldens.
pub async fn engine(
    builder: EngineBuilder,
    device: &Device,
    choices: Option<Choices>,
) -> Result<Engine, Error> {
    // Goldens are f32, so keys and values must be too.
    let builder = builder.gpu(device.clone()).context_length(512).kv_format(KvFormat::F32);
    match choices {
        Some(choices) => builder.choices(choices).build().await,
        None => builder.build().await,
    }
}

/// The choices by the device's capabilities, except for these two.
pub fn shared(device: &Device, reduce: Reduce, multiply: Multiply) -> Choices {
    Choices { reduce, multiply, ..Choices::by_capability(device.caps()) }
}

/// Compares hidden states, the router's choices, logits in chunks of these lengths, and greedy tokens.
pub async fn check(engine: &Engine, g: &Golden, chunks: &[usize]) -> Compared {
    let mut compared = check_trace(engine, g).await?;
    for chunk in chunks {
        compared += check_logits(engine, g, *chunk).await?;
    }
    Ok(compared + check_greedy(engine, g).await?)
}

fn close(what: &str, got: &[f32], want: &[f32], tolerance: f32) -> Compared {
    if got.len() != want.len() || want.is_empty() {
        return Err(format!("{what}: {} values, should be {}", got.len(), want.len()));
    }
    let largest = want.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let error = (g - w).abs() / largest;
        // Written so that a NaN fails.
        let within = error <= tolerance;
        if !within {
            return Err(format!("{what}[{i}]: got {g}, want {w} ({error:e} of {largest})"));
        }
    }
    Ok(want.len())
}

fn equal(what: &str, got: &[u32], want: &[u32]) -> Compared {
    if got != want || want.is_empty() {
        return Err(format!("{what}: got {got:?}, want {want:?}"));
    }
    Ok(want.len())
}

fn find<'a>(trace: &'a Trace, name: &str) -> Result<&'a [u32], String> {
    let probe = trace.iter().find(|(n, _)| n == name);
    probe.map(|(_, words)| &words[..]).ok_or_else(|| format!("no probe {name}"))
}

fn floats(words: &[u32]) -> &[f32] {
    bytemuck::cast_slice(words)
}

/// Compares every intermediate of one pass. An error names the first layer that differs.
async fn check_trace(engine: &Engine, g: &Golden) -> Compared {
    let config = engine.config();
    let (n, hidden) = (g.input_ids.len(), config.hidden_size);
    let mut sequence = engine.sequence().map_err(|e| e.to_string())?;
    let trace = sequence.trace(&g.input_ids).await.map_err(|e| e.to_string())?;
    let first = n - g.hidden_positions;
    let size = g.hidden_positions * hidden;
    let mut compared = 0;
    for (i, want) in g.hidden.chunks(size).enumerate() {
        // tiny-a and tiny-b lack the last layer's unnormed stream.
        let name = match i {
            0 => "model.embed_tokens".to_owned(),
            i => format!("model.layers.{}", i - 1),
        };
        let got = &floats(find(&trace, &name)?)[first * hidden..n * hidden];
        compared += close(&format!("{}: {name}", g.name), got, want, tolerance(engine))?;
    }
    let Some(moe) = &config.moe else { return Ok(compared) };
    let layers: Vec<usize> = trace
        .iter()
        .filter_map(|(name, _)| {
            name.strip_prefix("model.layers.")?.strip_suffix(".feed_forward.ids")?.parse().ok()
        })
        .collect();
    let per_layer = n * moe.top_k;
    if g.experts.len() != layers.len() * per_layer {
        return Err(format!("{}: router goldens of other layers than {layers:?}", g.name));
    }
    for (i, layer) in layers.iter().enumerate() {
        let name = format!("model.layers.{layer}.feed_forward");
        let range = i * per_layer..(i + 1) * per_layer;
        let ids = &find(&trace, &format!("{name}.ids"))?[..per_layer];
        compared += equal(&format!("{}: {name}: experts", g.name), ids, &g.experts[range.clone()])?;
        let gates = &floats(find(&trace, &format!("{name}.gates"))?)[..per_layer];
        let what = format!("{}: {name}.gates", g.name);
        compared += close(&what, gates, &g.weights[range], tolerance(engine) / 4.0)?;
    }
    Ok(compared)
}

async fn check_logits(engine: &Engine, g: &Golden, chunk: usize) -> Compared {
    let mut sequence = engine.sequence().map_err(|e| e.to_string())?;
    let got = sequence.logits(&g.input_ids, chunk).await.map_err(|e| e.to_string())?;
    close(&format!("{}: logits, chunk {chunk}", g.name), &got, &g.logits, tolerance(engine))
}

async fn check_greedy(engine: &Engine, g: &Golden) -> Compared {
    let options = GenerateOptions {
        sampling: Some(SamplingOptions::greedy()),
        max_tokens: Some(g.greedy.len()),
        ignore_end: true,
        ..Default::default()
    };
    let mut generation =
        engine.session().generate(&g.input_ids, &options).map_err(|e| e.to_string())?;
    let mut ids = Vec::new();
    while let Some(delta) = generation.next().await {
        ids.extend(delta.map_err(|e| e.to_string())?.token);
    }
    equal(&format!("{}: greedy tokens", g.name), &ids, &g.greedy)
}
