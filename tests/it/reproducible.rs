//! The value of a row does not depend on the number of rows in its pass: all rows of a text in passes of different
//! sizes, as whole models compute them. `engine::tests` has passes of several sequences.

use lfm2_wgpu::engine::Engine;
use lfm2_wgpu::formats::ElementType;
use lfm2_wgpu::gpu::{Caps, Device};
use lfm2_wgpu::kernels::{ATTENTION_ROWS, Activations, Choices, Reduce};
use pollster::block_on;

use crate::gpu::{devices, run_all};
use crate::quantised::{model, opened};

/// Tokens of the text if lanes own rows, which is fast on CPU drivers. Contexts beyond 256 positions have several
/// attention splits.
const LONG: usize = 272;
/// Tokens of the text otherwise.
const SHORT: usize = 50;
/// Tokens at its end, which are computed in passes of different sizes.
const END: usize = 20;

/// A way to compute products.
#[derive(Clone, Copy, Debug)]
struct Way {
    reduce: Reduce,
    weights: ElementType,
    activations: Activations,
}

impl Way {
    fn text(self) -> Vec<u32> {
        let length = if self.reduce.is_serial() { LONG } else { SHORT };
        (0..length as u32).map(|i| (i * i * 37 + i * 11 + 5) % 330).collect()
    }
}

/// The ways of a device. CI runs few, since the software driver compiles for most of the time;
/// tests/it/kernels/linear.rs runs one product in all of them.
fn ways(caps: &Caps) -> Vec<Way> {
    use ElementType::{F16, Q4_0, Q4_K, Q8_0};
    let float = Activations::Float;
    if run_all() {
        let mut all = Vec::new();
        for weights in [Q4_0, Q8_0, F16, Q4_K] {
            for activations in [float, Activations::Int8] {
                let reduces = Reduce::available(caps).into_iter();
                all.extend(reduces.map(|reduce| Way { reduce, weights, activations }));
            }
        }
        return all;
    }
    let own = Choices::by_capability(caps).reduce;
    let shared = Way { reduce: Reduce::shared_rows(caps), weights: Q4_0, activations: float };
    match caps.subgroups {
        true => vec![shared, Way { reduce: own, weights: Q4_K, activations: float }],
        false => vec![Way { weights: Q8_0, ..shared }],
    }
}

fn engine(device: &Device, way: Way, reproducible: bool) -> Engine {
    let (config, checkpoint) = model(&[way.weights]);
    let own = Choices::by_capability(device.caps());
    let choices = Choices { reduce: way.reduce, activations: way.activations, ..own };
    // With several sequences there are plans for 2 and 4 rows.
    let sequences = if way.weights == ElementType::Q4_0 { 2 } else { 1 };
    let builder = Engine::builder().model(opened(config, checkpoint)).gpu(device.clone());
    let builder = builder.sequences(sequences).chunk(64).context_length(LONG as u32);
    block_on(builder.choices(choices).reproducible(reproducible).build()).unwrap()
}

/// The bits of the logits of the text's last tokens, in passes of `rows` rows, behind those before in passes of
/// `before` rows.
fn end_of(text: &[u32], engine: &Engine, before: usize, rows: usize) -> Vec<u32> {
    let (begin, end) = text.split_at(text.len() - END);
    let mut sequence = engine.sequence().unwrap();
    for pass in begin.chunks(before) {
        block_on(sequence.feed(pass)).unwrap();
    }
    let logits = block_on(sequence.logits(end, rows)).unwrap();
    assert!(logits.iter().all(|v| v.is_finite()));
    logits.iter().map(|v| v.to_bits()).collect()
}

/// With the engine's own choices, at most [`ATTENTION_ROWS`] rows of a sequence have the bits of one row: the attention
/// of more is another kernel. A reproducible engine computes the whole text alike in passes of any size; those of its
/// beginning decide on the keys, values and convolution inputs of its end.
#[test]
fn rows_are_alike_in_passes_of_any_size() {
    for (name, device) in devices() {
        for way in ways(device.caps()) {
            // Both engines have the same kernels, which are compiled once.
            let text = way.text();
            let own = engine(device, way, false);
            let want = end_of(&text, &own, 64, 1);
            for rows in [2, 3, 4, ATTENTION_ROWS as usize] {
                assert!(end_of(&text, &own, 64, rows) == want, "{name} {way:?}: {rows} rows");
            }
            // The comparison is able to fail.
            assert!(end_of(&text, &own, 64, END) != want, "{name} {way:?}: {END} rows");
            drop(own);
            let reproducible = engine(device, way, true);
            let want = end_of(&text, &reproducible, 64, 1);
            for (before, rows) in [(64, END), (9, 9), (50, 3)] {
                let got = end_of(&text, &reproducible, before, rows);
                assert!(got == want, "{name} {way:?}: {before} and {rows} rows, reproducible");
            }
        }
    }
}

/// More sequences would make larger passes. Longer chunks are cut.
#[test]
fn a_reproducible_engine_runs_at_most_64_sequences() {
    let (_, device) = &devices()[0];
    let (config, checkpoint) = model(&[ElementType::Q4_0]);
    let builder = Engine::builder().model(opened(config, checkpoint)).gpu(device.clone());
    let error = block_on(builder.reproducible(true).sequences(65).build()).err().unwrap();
    assert_eq!(error.to_string(), "sequences: got 65, need 1 to 64");
}
