//! The batch table: the rows of a step, as every kernel reads them. It is the only upload of a step.
//!
//! `shaders/lib/prelude.wgsl` reads this layout and repeats these constants; tests/it/shaders.rs compares
//! the two.

use super::splits::{PAGE, TILES, split_positions, tiled_split_positions};
use crate::gpu::StepShape;

/// In place of a token id: the row takes the token that the sampler wrote for the sequence's slot.
pub const FROM_SLOT: u32 = u32::MAX;

/// In place of a column of the snapshots: the row's convolution inputs are not kept there.
const NO_SNAPSHOT: u32 = u32::MAX;

/// In place of a slot of the LoRA adapters: the sequence has none.
const NO_LORA: u32 = u32::MAX;

/// In place of the token of a logit row: the token that the sampler draws there.
const DRAWN: u32 = u32::MAX;

/// Words of the header.
const HEADER: usize = 16;
const BIAS_WORDS: usize = 2;

macro_rules! prelude_constants {
    ($($name:ident = $index:literal),* $(,)?) => {
        $(const $name: usize = $index;)*

        /// Names and values of the prelude's constants for the table.
        pub const PRELUDE_CONSTANTS: &[(&str, u32)] =
            &[("PAGE", PAGE), ("FROM_SLOT", FROM_SLOT), ("NO_SNAPSHOT", NO_SNAPSHOT), ("NO_LORA", NO_LORA), ("DRAWN", DRAWN), ("LOGPROBS_RAW", LogprobsMode::Raw.word()), ("LOGPROBS_PROCESSED", LogprobsMode::Processed.word()), $((stringify!($name), $index)),*];
    };
}

prelude_constants! {
    // Indices in the header: counts, first words of the sections, the stride of `pages`.
    BATCH_N_ROWS = 0,
    BATCH_N_SEQS = 1,
    BATCH_N_LOGIT_ROWS = 2,
    BATCH_N_TILES = 3,
    BATCH_ROWS_AT = 4,
    BATCH_SEQS_AT = 5,
    BATCH_LOGIT_ROWS_AT = 6,
    BATCH_TILES_AT = 7,
    BATCH_PAGES_AT = 8,
    BATCH_MAX_PAGES = 9,
    BATCH_BIASES_AT = 10,
    BATCH_ATTENTION_ROWS = 11,
    BATCH_ZERO = 15,
    // Words of a row, and their indices.
    ROW_WORDS = 6,
    ROW_TOKEN = 0,
    ROW_SEQ = 1,
    ROW_POSITION = 2,
    ROW_SPLIT = 3,
    ROW_PLACE = 4,
    ROW_SNAPSHOT = 5,
    // Words of a logit row, and their indices.
    LOGIT_WORDS = 5,
    LOGIT_ROW = 0,
    LOGIT_ALLOWED = 1,
    LOGIT_TOKEN = 2,
    LOGIT_LOGPROBS = 3,
    LOGIT_TOP = 4,
    // Words of a sequence, and their indices.
    SEQ_WORDS = 16,
    SEQ_SLOT = 0,
    SEQ_FIRST_ROW = 1,
    SEQ_N_ROWS = 2,
    SEQ_GENERATED_FROM = 3,
    SEQ_SEED = 4,
    SEQ_LORA = 5,
    SEQ_TOP_K = 6,
    SEQ_TEMPERATURE = 7,
    SEQ_TOP_P = 8,
    SEQ_MIN_P = 9,
    SEQ_REPETITION_PENALTY = 10,
    SEQ_PRESENCE_PENALTY = 11,
    SEQ_FREQUENCY_PENALTY = 12,
    SEQ_FIRST_BIAS = 13,
    SEQ_N_BIASES = 14,
    SEQ_LORA_SCALE = 15,
    // Words of a tile, and their indices.
    TILE_WORDS = 3,
    TILE_SEQ = 0,
    TILE_FIRST_ROW = 1,
    TILE_SPLIT = 2,
}

/// One token of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Token id, or [`FROM_SLOT`].
    pub token: u32,
    /// Position in the sequence, from 0.
    pub position: u32,
}

/// Most tokens of a sequence whose logits are biased.
pub const MAX_LOGIT_BIAS: usize = 1024;

/// Sampling options as the shaders read them.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleParams {
    /// Seed of the sequence's draws.
    pub seed: u32,
    /// 0: off.
    pub top_k: u32,
    /// 0: greedy.
    pub temperature: f32,
    /// 1: off.
    pub top_p: f32,
    /// 0: off.
    pub min_p: f32,
    /// 1: off.
    pub repetition_penalty: f32,
    /// 0: off.
    pub presence_penalty: f32,
    /// 0: off.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens; each token once, at most [`MAX_LOGIT_BIAS`].
    pub logit_bias: Vec<(u32, f32)>,
}

impl SampleParams {
    /// Whether tokens are drawn, not simply the largest logit's.
    fn draws(&self) -> bool {
        self.temperature > 0.0
    }

    /// Whether top-k or top-p restricts the draw.
    fn truncates(&self) -> bool {
        self.draws() && (self.top_k > 0 || self.top_p < 1.0)
    }

    /// Greedy, no penalties.
    pub const GREEDY: Self = Self {
        seed: 0,
        top_k: 0,
        temperature: 0.0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        logit_bias: Vec::new(),
    };
}

/// A row whose logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogitRow {
    /// Index into the rows of its sequence.
    pub row: u32,
    /// Mask of the tokens that may be drawn: 0 is that of all tokens of the tokenizer, 1 + i the i-th of the caller's.
    pub allowed: u32,
    /// Log-probabilities that are wanted.
    pub logprobs: Option<RowLogprobs>,
}

impl LogitRow {
    /// A row that may draw any token.
    #[must_use]
    pub fn new(row: u32) -> Self {
        Self { row, allowed: 0, logprobs: None }
    }
}

/// The log-probabilities that are wanted of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLogprobs {
    /// A given token; `None`: the one that is drawn.
    pub token: Option<u32>,
    /// Number of most probable tokens, at most [`MAX_TOP_LOGPROBS`](super::MAX_TOP_LOGPROBS).
    pub top: u32,
    /// The distribution.
    pub mode: LogprobsMode,
}

/// The distribution of log-probabilities. The names are those of vLLM's `logprobs_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogprobsMode {
    /// The softmax of the model's logits over all ids.
    #[default]
    Raw,
    /// The softmax of the logits after biases and penalties, over the tokens that may be drawn.
    Processed,
}

impl LogprobsMode {
    /// Its word in the batch table; 0 stands for no log-probabilities.
    pub(super) const fn word(self) -> u32 {
        match self {
            Self::Raw => 1,
            Self::Processed => 2,
        }
    }
}

/// The LoRA adapter of a sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeqLora {
    /// Its slot.
    pub slot: u32,
    /// Factor of its addition, beside the adapter's own.
    pub scale: f32,
}

/// The rows of one sequence in a step, at consecutive positions.
#[derive(Clone, Debug, PartialEq)]
pub struct SeqRows {
    /// Its slot, the index of its conv rings, token history and `next_token`.
    pub slot: u32,
    /// Its tokens.
    pub rows: Vec<Row>,
    /// First generated position, for presence and frequency penalties.
    pub generated_from: u32,
    /// Its LoRA adapter.
    pub lora: Option<SeqLora>,
    /// Sampling options of its next token.
    pub sample: SampleParams,
    /// Pages of the KV pool by `position / PAGE`; they cover the last row's position.
    pub pages: Vec<u32>,
    /// Rows of this sequence whose logits are wanted.
    pub logit_rows: Vec<LogitRow>,
    /// Rows of this sequence whose convolution inputs are kept in a further column of the rings, and that column.
    pub snapshot_columns: Vec<(u32, u32)>,
}

/// The rows of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Sequences, in the order of their rows.
    pub seqs: Vec<SeqRows>,
}

impl Batch {
    /// Words of the table for at most `rows` rows of `seqs` sequences with `pages` pages each.
    #[must_use]
    pub fn capacity(rows: usize, seqs: usize, pages: usize) -> usize {
        // A tile holds at least one row. If it has several splits, its sequence has at most TILES.
        let of_seq = SEQ_WORDS + pages + MAX_LOGIT_BIAS * BIAS_WORDS + TILES as usize * TILE_WORDS;
        HEADER + rows * (ROW_WORDS + LOGIT_WORDS + TILE_WORDS) + seqs * of_seq
    }

    /// Rows in all.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.seqs.iter().map(|s| s.rows.len()).sum()
    }

    /// Logit rows in all.
    #[must_use]
    pub fn n_logit_rows(&self) -> usize {
        self.seqs.iter().map(|s| s.logit_rows.len()).sum()
    }

    /// Whether a sequence has a LoRA adapter.
    #[must_use]
    pub fn has_lora(&self) -> bool {
        self.seqs.iter().any(|s| s.lora.is_some())
    }

    fn wants_logprobs(&self, mode: LogprobsMode) -> bool {
        let logit_rows = self.seqs.iter().flat_map(|s| &s.logit_rows);
        logit_rows.filter_map(|row| row.logprobs).any(|wanted| wanted.mode == mode)
    }

    /// The table, and the shape that grids are computed from. `tile_rows`: query rows of a flash
    /// attention tile; `attention_rows`: most rows of a sequence that `attention` computes.
    #[must_use]
    pub fn encode(&self, tile_rows: u32, attention_rows: u32) -> (Vec<u32>, StepShape) {
        let (n_rows, n_logits) = (self.n_rows(), self.n_logit_rows());
        let max_pages = self.seqs.iter().map(|s| s.pages.len()).max().unwrap_or(0);
        let mut rows = Vec::with_capacity(n_rows * ROW_WORDS);
        let mut seqs = Vec::with_capacity(self.seqs.len() * SEQ_WORDS);
        let mut logit_rows = Vec::with_capacity(n_logits * LOGIT_WORDS);
        let mut tiles = Vec::new();
        let mut pages = Vec::with_capacity(self.seqs.len() * max_pages);
        let mut biases = Vec::new();
        // Places in the partial results of attention, and most splits of a row by kernel.
        let (mut first_row, mut place) = (0u32, 0u32);
        let (mut most_splits, mut most_tiled_splits) = (0u32, 0u32);
        for (index, seq) in (0u32..).zip(&self.seqs) {
            let count = seq.rows.len() as u32;
            let few = count <= attention_rows;
            let last = seq.rows.last().map_or(0, |row| row.position);
            let tiled_split =
                (!few).then(|| tiled_split_positions(count, last, tile_rows, attention_rows));
            for (i, row) in (0..).zip(&seq.rows) {
                let kept = seq.snapshot_columns.iter().find(|(kept, _)| *kept == i);
                let mut words = [0; ROW_WORDS];
                words[ROW_SNAPSHOT] = kept.map_or(NO_SNAPSHOT, |(_, column)| *column);
                words[ROW_TOKEN] = row.token;
                words[ROW_SEQ] = index;
                words[ROW_POSITION] = row.position;
                let split = tiled_split.unwrap_or_else(|| split_positions(row.position));
                let splits = row.position / split + 1;
                words[ROW_SPLIT] = split;
                words[ROW_PLACE] = place;
                if splits > 1 {
                    place += splits;
                }
                let most = if few { &mut most_splits } else { &mut most_tiled_splits };
                *most = splits.max(*most);
                rows.extend(words);
            }
            let s = &seq.sample;
            let mut words = [0; SEQ_WORDS];
            words[SEQ_SLOT] = seq.slot;
            words[SEQ_FIRST_ROW] = first_row;
            words[SEQ_N_ROWS] = count;
            words[SEQ_GENERATED_FROM] = seq.generated_from;
            words[SEQ_SEED] = s.seed;
            words[SEQ_LORA] = seq.lora.map_or(NO_LORA, |lora| lora.slot);
            words[SEQ_LORA_SCALE] = seq.lora.map_or(0.0, |lora| lora.scale).to_bits();
            words[SEQ_TOP_K] = s.top_k;
            words[SEQ_TEMPERATURE] = s.temperature.to_bits();
            words[SEQ_TOP_P] = s.top_p.to_bits();
            words[SEQ_MIN_P] = s.min_p.to_bits();
            words[SEQ_REPETITION_PENALTY] = s.repetition_penalty.to_bits();
            words[SEQ_PRESENCE_PENALTY] = s.presence_penalty.to_bits();
            words[SEQ_FREQUENCY_PENALTY] = s.frequency_penalty.to_bits();
            words[SEQ_FIRST_BIAS] = (biases.len() / BIAS_WORDS) as u32;
            words[SEQ_N_BIASES] = s.logit_bias.len() as u32;
            seqs.extend(words);
            biases.extend(s.logit_bias.iter().flat_map(|(token, bias)| [*token, bias.to_bits()]));
            for logit in &seq.logit_rows {
                let mut words = [0; LOGIT_WORDS];
                words[LOGIT_ROW] = first_row + logit.row;
                words[LOGIT_ALLOWED] = logit.allowed;
                words[LOGIT_TOKEN] = DRAWN;
                if let Some(wanted) = &logit.logprobs {
                    words[LOGIT_TOKEN] = wanted.token.unwrap_or(DRAWN);
                    words[LOGIT_LOGPROBS] = wanted.mode.word();
                    words[LOGIT_TOP] = wanted.top;
                }
                logit_rows.extend(words);
            }
            if let Some(tiled_split) = tiled_split {
                // Tiles that read the same keys follow one another. A tile of early rows may have fewer splits.
                for split in 0..=last / tiled_split {
                    for (i, rows) in (0..).zip(seq.rows.chunks(tile_rows as usize)) {
                        if rows.last().is_some_and(|row| row.position >= split * tiled_split) {
                            let mut words = [0; TILE_WORDS];
                            words[TILE_SEQ] = index;
                            words[TILE_FIRST_ROW] = first_row + i * tile_rows;
                            words[TILE_SPLIT] = split;
                            tiles.extend(words);
                        }
                    }
                }
            }
            pages.extend(&seq.pages);
            pages.resize(pages.len() + max_pages - seq.pages.len(), 0);
            first_row += count;
        }
        let sampled = || self.seqs.iter().filter(|s| !s.logit_rows.is_empty()).map(|s| &s.sample);
        let rows_if = |any: bool| if any { n_logits as u32 } else { 0 };
        let shape = StepShape {
            rows: n_rows as u32,
            logit_rows: n_logits as u32,
            drawn_rows: rows_if(sampled().any(SampleParams::draws)),
            truncated_rows: rows_if(sampled().any(SampleParams::truncates)),
            raw_logprob_rows: rows_if(self.wants_logprobs(LogprobsMode::Raw)),
            processed_logprob_rows: rows_if(self.wants_logprobs(LogprobsMode::Processed)),
            seqs: self.seqs.len() as u32,
            seq_rows: self.seqs.iter().map(|s| s.rows.len() as u32).max().unwrap_or(0),
            tiles: (tiles.len() / TILE_WORDS) as u32,
            splits: most_splits,
            tiled_splits: most_tiled_splits,
        };
        debug_assert!(
            self.seqs.iter().all(|s| {
                s.rows.last().is_none_or(|r| (r.position / PAGE) < s.pages.len() as u32)
            }),
            "a row without a page"
        );
        let mut words = vec![0; HEADER];
        words[BATCH_N_ROWS] = shape.rows;
        words[BATCH_N_SEQS] = shape.seqs;
        words[BATCH_N_LOGIT_ROWS] = shape.logit_rows;
        words[BATCH_N_TILES] = shape.tiles;
        words[BATCH_MAX_PAGES] = max_pages as u32;
        words[BATCH_ATTENTION_ROWS] = attention_rows;
        words[BATCH_ZERO] = 0;
        for (at, section) in [
            (BATCH_ROWS_AT, rows),
            (BATCH_SEQS_AT, seqs),
            (BATCH_LOGIT_ROWS_AT, logit_rows),
            (BATCH_TILES_AT, tiles),
            (BATCH_PAGES_AT, pages),
            (BATCH_BIASES_AT, biases),
        ] {
            words[at] = words.len() as u32;
            words.extend(section);
        }
        (words, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{ATTENTION_ROWS, max_splits};

    fn sequence(position: u32, rows: u32) -> SeqRows {
        SeqRows {
            slot: 0,
            rows: (position..position + rows).map(|position| Row { token: 0, position }).collect(),
            generated_from: 0,
            lora: None,
            sample: SampleParams::GREEDY,
            pages: vec![0; ((position + rows).div_ceil(PAGE)) as usize],
            logit_rows: Vec::new(),
            snapshot_columns: Vec::new(),
        }
    }

    /// The rows of its sequence decide which kernel computes a row's attention, in passes of any
    /// size.
    #[test]
    fn sequences_with_few_rows_have_splits_and_others_tiles() {
        let decoding = Batch { seqs: (0..40).map(|i| sequence(30 * i, 1)).collect() };
        let shape = decoding.encode(8, ATTENTION_ROWS).1;
        assert_eq!((shape.rows, shape.tiles, shape.splits), (40, 0, 10));
        assert_eq!((shape.seqs, shape.seq_rows), (40, 1));
        let prompt = Batch { seqs: vec![sequence(0, 9)] };
        let shape = prompt.encode(8, ATTENTION_ROWS).1;
        assert_eq!((shape.tiles, shape.splits, shape.seq_rows), (2, 0, 9));
        assert_eq!(shape.tiled_splits, 1);
        let shape = prompt.encode(8, 9).1;
        assert_eq!((shape.tiles, shape.splits), (0, 1));
        let kept = SeqRows { snapshot_columns: vec![(1, 7)], ..sequence(300, 2) };
        let (table, shape) = Batch { seqs: vec![sequence(0, 9), kept] }.encode(8, ATTENTION_ROWS);
        assert_eq!((shape.tiles, shape.splits), (2, 3));
        let row = |i: usize| &table[table[BATCH_ROWS_AT] as usize + i * ROW_WORDS..][..ROW_WORDS];
        assert_eq!(row(8), [0, 0, 8, 256, 0, NO_SNAPSHOT]);
        assert_eq!(row(9), [0, 1, 300, 128, 0, NO_SNAPSHOT]);
        assert_eq!(row(10), [0, 1, 301, 128, 3, 7]);
        // Nine rows are two tiles, and behind 1,000 positions each has four splits of 256.
        let (table, shape) = Batch { seqs: vec![sequence(1000, 9)] }.encode(8, ATTENTION_ROWS);
        assert_eq!((shape.tiles, shape.splits, shape.tiled_splits), (8, 0, 4));
        let tiles = &table[table[BATCH_TILES_AT] as usize..][..9];
        assert_eq!(tiles, [0, 0, 0, 0, 8, 0, 0, 0, 1]);
        let row = |i: usize| &table[table[BATCH_ROWS_AT] as usize + i * ROW_WORDS..][..ROW_WORDS];
        assert_eq!(row(8), [0, 0, 1008, 256, 32, NO_SNAPSHOT]);
    }

    /// The sizes of the table and of the partial results of attention are computed before any batch is known.
    #[test]
    fn every_batch_fits_the_buffers() {
        let kinds = [
            (4096, 9),
            (4096, 8),
            (900, 1),
            (0, 300),
            (300, 20),
            (3576, 9),
            (20_000, 17),
            (700, 64),
        ];
        let context = 20_100;
        for attention_rows in [1, 8, 64] {
            for tile_rows in [1, 8, 16, 64] {
                for n in 1..=3 * kinds.len() {
                    let seqs = (0..n).map(|i| kinds[(i * i + n) % kinds.len()]);
                    let batch = Batch { seqs: seqs.map(|(at, rows)| sequence(at, rows)).collect() };
                    let (rows, pages) = (batch.n_rows(), (context / PAGE + 1) as usize);
                    let (table, shape) = batch.encode(tile_rows, attention_rows);
                    assert!(table.len() <= Batch::capacity(rows, n, pages));
                    assert!(shape.tiles as usize <= rows + n * TILES as usize);
                    let row = |i: usize, word| {
                        table[table[BATCH_ROWS_AT] as usize + i * ROW_WORDS + word]
                    };
                    let end = |i| row(i, ROW_PLACE) + row(i, ROW_POSITION) / row(i, ROW_SPLIT) + 1;
                    let places = (0..rows).map(end).max().unwrap();
                    let most = shape.rows.min(n as u32 * attention_rows) * max_splits(context);
                    assert!(
                        places <= most,
                        "{n} sequences, {attention_rows}, {tile_rows}: {places}"
                    );
                }
            }
        }
        // The first tile, of rows 3576 to 3583, does not reach into the eighth split.
        let (table, shape) = Batch { seqs: vec![sequence(3576, 9)] }.encode(8, ATTENTION_ROWS);
        assert_eq!((shape.tiles, shape.tiled_splits), (15, 8));
        let last = &table[table[BATCH_TILES_AT] as usize..][14 * TILE_WORDS..][..TILE_WORDS];
        assert_eq!(last, [0, 8, 7]);
    }
}
