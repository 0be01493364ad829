//! Time to load a model, compared with the time to move its bytes only.
//!
//!     cargo bench --bench load -- FILE.gguf [REPETITIONS]
//!
//! It alternates two measurements, each with a new device, and drops everything in between:
//!   - `bytes`: reads every tensor's bytes from the file in pieces of 8 MiB and writes them to buffers of
//!     the tensors' sizes;
//!   - `ready`, `first token`: builds an engine, then generates a token after a prompt of 16.
//!
//! Without a file it loads the demonstration model.

use std::process::exit;
use std::sync::Arc;
use std::time::Instant;

use lfm2_wgpu::engine::{Engine, GenerateOptions, OpenedModel, SamplingOptions};
use lfm2_wgpu::formats::{Checkpoint, ModelFiles, TensorSlice};
use lfm2_wgpu::gpu::{Device, DeviceOptions};
use lfm2_wgpu::kernels::Activations;

/// Bytes that are read at a time, as by the engine.
const PIECE: usize = 8 << 20;
/// Bytes after which the driver's staging memory is emptied, as by the engine.
const FLUSH: usize = 32 << 20;

type Failure = Box<dyn std::error::Error>;

fn main() {
    // cargo passes --bench; a test runner passes --test for one round.
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let path = words.first().map_or("assets/demo", String::as_str);
    let repetitions = words.get(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    if let Err(e) = pollster::block_on(measure(path, repetitions)) {
        eprintln!("{path}: {e}");
        exit(1);
    }
}

async fn measure(path: &str, repetitions: usize) -> Result<(), Failure> {
    println!("bytes s  ready s  first token s  ready / bytes");
    for _ in 0..repetitions {
        let model = OpenedModel::open(&Arc::new(ModelFiles::path(path)?)).await?;
        let started = Instant::now();
        upload(&model.checkpoint).await?;
        let bytes = started.elapsed().as_secs_f64();
        let positions = model.config.max_position_embeddings.min(4096) as u32;
        drop(model);
        let (ready, first) = engine(path, positions).await?;
        println!("{bytes:7.2}  {ready:7.2}  {first:13.2}  {:13.2}", ready / bytes);
    }
    Ok(())
}

/// Moves every tensor's bytes to the device.
async fn upload(checkpoint: &Checkpoint) -> Result<(), Failure> {
    let device = Device::request(&DeviceOptions::default()).await?;
    let mut buffers = Vec::new();
    let mut piece = vec![0; PIECE];
    let mut staged = 0;
    for (index, tensor) in checkpoint.tensors().iter().enumerate() {
        let block = tensor.element_type.block();
        let elements = tensor.shape.iter().product::<usize>();
        let bytes = (tensor.range.end - tensor.range.start) as usize;
        let all = TensorSlice {
            tensor: index,
            offset: 0,
            rows: 1,
            cols: elements,
            element_type: tensor.element_type,
        };
        // A multiple of blocks and of words.
        let step = PIECE / (block.bytes as usize * 4) * block.bytes as usize * 4;
        let mut from = 0;
        while from < bytes {
            // A tensor that exceeds a binding gets several buffers.
            let most = device.caps().max_part() as usize / step * step;
            let len = most.min(bytes - from);
            let buffer = device.tensor::<u32>("bytes", len.div_ceil(4)).await?;
            for at in (0..len).step_by(step) {
                let n = step.min(len - at);
                let element = ((from + at) / block.bytes as usize) as u64 * block.elements;
                checkpoint.read(&all, element, &mut piece[..n]).await?;
                device.write_bytes(&buffer, at / 4, &piece[..n.next_multiple_of(4).min(PIECE)]);
                staged += n;
                if staged >= FLUSH {
                    device.flush_uploads();
                    staged = 0;
                }
            }
            buffers.push(buffer);
            from += len;
        }
    }
    device.flush_uploads();
    Ok(())
}

/// Builds an engine. Returns seconds until it is ready for a pass, and until the first token.
async fn engine(path: &str, positions: u32) -> Result<(f64, f64), Failure> {
    let started = Instant::now();
    let engine = Engine::builder()
        .path(path)?
        .context_length(positions)
        .activations(Activations::Float)
        .build()
        .await?;
    let ready = started.elapsed().as_secs_f64();
    let options = GenerateOptions {
        sampling: Some(SamplingOptions::greedy()),
        max_tokens: Some(1),
        ..Default::default()
    };
    engine.session().generate(&[1; 16], &options)?.text().await?;
    Ok((ready, started.elapsed().as_secs_f64()))
}
