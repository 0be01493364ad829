//! Inputs, batches and outputs of kernel cases, and their run. Each element of an output must be
//! written, and nothing beyond it.

use super::compare::Comparison;
use crate::gpu::{Caps, Device, GpuError, Recorder, StepShape, Tensor};
use crate::kernels::{
    ATTENTION_ROWS, Batch, Format, KvFormat, LogitRow, Row, SampleParams, SeqRows,
};
use crate::reference::{self, PAGE, Sequence};

/// A small random number generator with the same numbers on all platforms.
///
/// Source: SplitMix64, Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that is determined by its seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() >> 16) as usize % n.max(1)
    }

    /// Uniform in [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// Roughly normal, mean 0, variance 1.
    pub fn normal(&mut self) -> f32 {
        self.unit() + self.unit() + self.unit()
    }

    /// A random order of `0 .. n`.
    pub fn order(&mut self, n: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            all.swap(i, self.below(i + 1));
        }
        all
    }
}

/// Fill of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Roughly normal values.
    Normal,
    /// Zeros of both signs, denormals, the ends of f16, mixed with ordinary values.
    Extreme,
    /// One value everywhere.
    Equal,
    /// All zeros.
    Zero,
    /// Roughly normal values and one NaN, which must reach all results that depend on it. WGSL does
    /// not guarantee that, so it is for tests on drivers that follow IEEE 754.
    OneNan,
}

impl Fill {
    /// Every choice without a NaN.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Extreme, Self::Equal, Self::Zero];

    /// `n` values.
    pub fn values(self, rng: &mut Rng, n: usize) -> Vec<f32> {
        const EXTREMES: [f32; 12] = [
            0.0,
            -0.0,
            1e-45,
            -1e-40,
            1.175_494_4e-38,
            -1e-30,
            6e-8,
            -6.1e-5,
            65504.0,
            -65504.0,
            1e9,
            -1e9,
        ];
        match self {
            Self::Normal => (0..n).map(|_| rng.normal()).collect(),
            Self::Extreme => (0..n)
                .map(|_| match rng.below(EXTREMES.len() + 6) {
                    i if i < EXTREMES.len() => EXTREMES[i],
                    _ => rng.normal(),
                })
                .collect(),
            Self::Equal => vec![rng.normal(); n],
            Self::Zero => vec![0.0; n],
            Self::OneNan => {
                let mut values = Self::Normal.values(rng, n);
                if let Some(v) = values.get_mut(rng.below(n)) {
                    *v = f32::NAN;
                }
                values
            }
        }
    }
}

/// Some consecutive rows of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its slot.
    pub slot: u32,
    /// Position of its first row.
    pub position: u32,
    /// Number of rows.
    pub rows: u32,
}

/// A batch of spans, for the device and for the twins.
pub(super) struct Pass {
    pub batch: Batch,
    pub sequences: Vec<Sequence>,
    /// Pages of the pool.
    pub pages: usize,
}

impl Pass {
    /// Tokens are 0 and no row has logits. Pages are assigned in random order, and one more than
    /// needed exists.
    pub fn new(spans: &[Span], rng: &mut Rng) -> Self {
        let pages_of = |s: &Span| ((s.position + s.rows) as usize).div_ceil(PAGE);
        let pages: usize = spans.iter().map(pages_of).sum::<usize>() + 1;
        let mut order = rng.order(pages).into_iter();
        let (mut seqs, mut sequences) = (Vec::new(), Vec::new());
        for span in spans {
            let pages: Vec<usize> = order.by_ref().take(pages_of(span)).collect();
            let positions = span.position..span.position + span.rows;
            seqs.push(SeqRows {
                slot: span.slot,
                rows: positions.map(|position| Row { token: 0, position }).collect(),
                generated_from: 0,
                lora: None,
                sample: SampleParams::GREEDY,
                pages: pages.iter().map(|p| *p as u32).collect(),
                logit_rows: Vec::new(),
                snapshot_columns: Vec::new(),
            });
            sequences.push(Sequence {
                slot: span.slot as usize,
                position: span.position as usize,
                rows: span.rows as usize,
                pages,
                snapshot_columns: Vec::new(),
            });
        }
        Self { batch: Batch { seqs }, sequences, pages }
    }

    /// Lets the last row of each sequence, and one in its middle, keep its convolution inputs in columns of their
    /// own, the first of which is `first`; at most two a sequence.
    pub fn keep_columns(&mut self, first: usize) {
        let mut columns = first..;
        for (seq, twin) in self.batch.seqs.iter_mut().zip(&mut self.sequences) {
            let mut kept = vec![twin.rows / 2, twin.rows - 1];
            kept.dedup();
            twin.snapshot_columns = kept.into_iter().zip(&mut columns).collect();
            let words = |(row, column): &(usize, usize)| (*row as u32, *column as u32);
            seq.snapshot_columns = twin.snapshot_columns.iter().map(words).collect();
        }
    }

    /// One sequence of `rows` rows.
    pub fn of_rows(rows: usize) -> Self {
        Self::new(&[Span { slot: 0, position: 0, rows: rows as u32 }], &mut Rng::new(0))
    }

    /// Sequences of one row each.
    pub fn of_sequences(rows: usize) -> Self {
        let span = |slot| Span { slot, position: 0, rows: 1 };
        Self::new(&(0..rows as u32).map(span).collect::<Vec<_>>(), &mut Rng::new(0))
    }

    /// Requests the logits of `rows`, counted over the whole pass.
    pub fn want_logits(&mut self, rows: &[usize]) {
        let mut first = 0;
        for seq in &mut self.batch.seqs {
            let own = first..first + seq.rows.len();
            first = own.end;
            seq.logit_rows = rows
                .iter()
                .filter(|r| own.contains(r))
                .map(|r| LogitRow::new((r - own.start) as u32))
                .collect();
        }
    }

    pub fn rows(&self) -> usize {
        self.batch.n_rows()
    }
}

/// Runs the dispatches that `record` records on the rows of `batch`; returns the variants' names.
pub(super) async fn run(
    device: &Device,
    caps: Caps,
    batch: &Batch,
    tile_rows: u32,
    record: impl FnOnce(&mut Recorder),
) -> Result<String, GpuError> {
    let (words, shape): (Vec<u32>, StepShape) = batch.encode(tile_rows, ATTENTION_ROWS);
    let table = device.tensor_of("batch", &words).await?;
    let mut recorder = Recorder::new(caps, false);
    record(&mut recorder);
    let names: Vec<String> = recorder.variants().map(ToString::to_string).collect();
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    let plan = recorder.finish(device, &table).await?;
    let mut encoder = device.encoder();
    encoder.replay_all(&plan, &shape);
    let submission = encoder.submit();
    device.wait_for(&submission).await?;
    Ok(unique.join(" + "))
}

/// Marks an element that was not written: a NaN that no operation produces.
const UNTOUCHED: u32 = 0x7fa5_a5a5;
/// Elements after an output, which must stay untouched.
const BEHIND: usize = 64;

/// An output: unwritten, or with initial values.
pub(super) struct Output {
    pub tensor: Tensor<f32>,
    len: usize,
}

impl Output {
    /// `len` elements that count as not written.
    pub async fn empty(device: &Device, len: usize) -> Result<Self, GpuError> {
        Self::with(device, &vec![f32::from_bits(UNTOUCHED); len]).await
    }

    /// An output with initial values.
    pub async fn with(device: &Device, values: &[f32]) -> Result<Self, GpuError> {
        let mut all = values.to_vec();
        all.resize(values.len() + BEHIND, f32::from_bits(UNTOUCHED));
        let tensor = device.tensor_of("output", &all).await?;
        Ok(Self { tensor, len: values.len() })
    }

    /// Its elements. The comparison fails if something was written after them.
    pub async fn read(
        &self,
        device: &Device,
        comparison: &mut Comparison,
    ) -> Result<Vec<f32>, GpuError> {
        let mut values = device.read(&self.tensor).await?;
        if let Some(i) = values[self.len..].iter().position(|v| v.to_bits() != UNTOUCHED) {
            comparison.fail(format!("element {i} behind the output was written"));
        }
        values.truncate(self.len);
        Ok(values)
    }
}

/// Marks an element of an integer output that was not written.
pub(super) const UNTOUCHED_ID: u32 = 0xa5a5_a5a5;

/// An integer output of `len` elements, guarded as [`Output`].
pub(super) async fn empty_ids(device: &Device, len: usize) -> Result<Tensor<u32>, GpuError> {
    device.tensor_of("ids", &vec![UNTOUCHED_ID; len + BEHIND]).await
}

/// The first `len` elements of an integer output.
pub(super) async fn read_ids(
    device: &Device,
    tensor: &Tensor<u32>,
    len: usize,
    comparison: &mut Comparison,
) -> Result<Vec<u32>, GpuError> {
    let mut ids = device.read(tensor).await?;
    if let Some(i) = ids[len..].iter().position(|v| *v != UNTOUCHED_ID) {
        comparison.fail(format!("element {i} behind the ids was written"));
    }
    ids.truncate(len);
    Ok(ids)
}

/// A weight format and its decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightsImport {
    /// The format.
    pub format: Format,
    /// Whether native half precision is used if the device has it.
    pub native: bool,
}

impl WeightsImport {
    /// The engine's choice for `format`.
    #[must_use]
    pub fn best(format: Format) -> Self {
        Self { format, native: true }
    }

    /// All decodings of all formats on a device.
    #[must_use]
    pub fn available(caps: &Caps) -> Vec<Self> {
        let mut all: Vec<Self> = Format::ALL.into_iter().map(Self::best).collect();
        if caps.f16 {
            all.push(Self { format: Format::F16, native: false });
        }
        all
    }

    /// Capabilities with which the kernels choose this decoding.
    pub(super) fn caps(self, device: &Device) -> Caps {
        let caps = *device.caps();
        Caps { f16: caps.f16 && self.native, ..caps }
    }
}

/// `values` in the storage format of a KV cache: the words, and their decoded values.
pub(super) fn kv_words(kv: KvFormat, values: &[f32], head_dim: usize) -> (Vec<u32>, Vec<f32>) {
    let words = match kv {
        KvFormat::F32 => reference::encode_f32(values),
        KvFormat::F16 => reference::encode_f16(values),
        KvFormat::Q8 => reference::encode_kv_q8(values, head_dim),
    };
    let values = kv_values(kv, &words, head_dim);
    (words, values)
}

/// Decodes the words of a KV cache.
pub(super) fn kv_values(kv: KvFormat, words: &[u32], head_dim: usize) -> Vec<f32> {
    match kv {
        KvFormat::F32 => reference::decode_f32(words),
        KvFormat::F16 => reference::decode_f16(words),
        KvFormat::Q8 => reference::decode_kv_q8(words, head_dim),
    }
}
