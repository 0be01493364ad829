//! A step: the rows of its passes, and the copies before and after them.

/// Sizes that do not change.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sequences that run at once.
    pub slots: u32,
    /// Pages of the pool.
    pub pages: u32,
    /// Snapshots of the convolutions' state.
    pub snapshots: u32,
    /// Positions of a page.
    pub page: u32,
    /// Columns of a snapshot: the positions before its own whose inputs it holds.
    pub columns: u32,
    /// Most rows of a chunk.
    pub chunk: u32,
    /// Most rows of a chunk in a step that also decodes.
    pub chunk_beside: u32,
    /// Most rows of a step whose next tokens are scored.
    pub scored: u32,
    /// Positions that a sequence can go back without a snapshot.
    pub rewind: u32,
}

/// How a sequence runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Whether it uses the prefix cache and is kept there.
    pub cache: bool,
    /// Whether a row is planned only when all tokens before its own have been read, since the tokens decide what may
    /// be drawn next. The host reads the row's own token while the row's pass runs, before it draws.
    pub reads_first: bool,
    /// Whether all tokens of its prompt but the first are scored. Such a sequence does not use the cache.
    pub scored: bool,
    /// Its LoRA adapter, or 0: it uses the cached state of sequences with the same one only.
    pub lora: u64,
}

/// A token that a step draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Its sequence.
    pub seq: SeqId,
    /// Number of times that the sequence was preempted before.
    pub epoch: u32,
    /// The sequence's slot, where the token is written.
    pub slot: u32,
    /// Position of the token.
    pub position: usize,
}

/// Name of a sequence, which its caller never uses again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqId(pub u64);

/// Work on the GPU's state. It is done in the order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Copies a page of keys and values.
    CopyPage {
        /// Page that is read.
        from: u32,
        /// Page that is written.
        to: u32,
    },
    /// Copies the convolutions' state of a slot before `position` into a snapshot.
    Capture(Capture),
    /// Copies a snapshot into a slot's rings, as the state before `position`, and gives the slot the
    /// tokens of `seq` before `position`.
    Restore {
        /// The sequence.
        seq: SeqId,
        /// Its slot.
        slot: u32,
        /// Its next position.
        position: usize,
        /// The snapshot.
        snapshot: u32,
    },
}

/// A copy of a slot's convolution state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Slot that is read.
    pub slot: u32,
    /// The state is that before this position.
    pub position: usize,
    /// Snapshot that is written.
    pub snapshot: u32,
}

/// One row of a decoding sequence: it takes the token that the step before drew for its slot, and
/// draws the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeRow {
    /// The sequence.
    pub seq: SeqId,
    /// Number of times that the sequence was preempted before.
    pub epoch: u32,
    /// Its slot.
    pub slot: u32,
    /// The row's position.
    pub position: usize,
    /// Column of the snapshots that gets the row's convolution inputs.
    pub snapshot_column: Option<u32>,
}

/// Rows of a sequence whose tokens are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRows {
    /// The sequence.
    pub seq: SeqId,
    /// Number of times that the sequence was preempted before.
    pub epoch: u32,
    /// Its slot.
    pub slot: u32,
    /// First position.
    pub start: usize,
    /// One past the last position.
    pub end: usize,
    /// Whether the last row draws a token.
    pub draws: bool,
    /// Rows, counted from the first one, whose convolution inputs are kept in a column of the snapshots, and that
    /// column.
    pub snapshot_columns: Vec<(u32, u32)>,
}

/// A step: copies, passes through the model, copies. A sequence has rows in one of the passes at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Work before the passes.
    pub before: Vec<Op>,
    /// One pass of one row for each decoding sequence.
    pub decode: Vec<DecodeRow>,
    /// One pass of rows whose known next tokens are scored.
    pub scored: Vec<ChunkRows>,
    /// One pass of rows with known tokens.
    pub chunk: Vec<ChunkRows>,
    /// Captures after the passes.
    pub after: Vec<Capture>,
}

impl Step {
    /// The tokens that its rows draw: those of decoding sequences, then those of prompts.
    #[must_use]
    pub fn draws(&self) -> Vec<Draw> {
        let decode = self.decode.iter().map(|row| Draw {
            seq: row.seq,
            epoch: row.epoch,
            slot: row.slot,
            position: row.position + 1,
        });
        let chunk = self.chunk.iter().filter(|rows| rows.draws).map(|rows| Draw {
            seq: rows.seq,
            epoch: rows.epoch,
            slot: rows.slot,
            position: rows.end,
        });
        decode.chain(chunk).collect()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.is_empty()
            && self.decode.is_empty()
            && self.scored.is_empty()
            && self.chunk.is_empty()
    }
}

/// The sequences that run and wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Sequences that run.
    pub running: usize,
    /// Sequences that wait, new ones and those that gave up their pages.
    pub waiting: usize,
    /// The lack for which the first of them waits; `None` if none waits, or it begins in the next step.
    pub lack: Option<Lack>,
}

/// The reason for which a sequence waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// As many sequences run as the engine was built for.
    Sequences,
    /// The pool of keys and values has too few free pages.
    Pages,
}

/// Counts of the prefix cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Prompts that began with cached state.
    pub hits: u64,
    /// Prompts that began without.
    pub misses: u64,
    /// Tokens whose state was cached.
    pub hit_tokens: u64,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// Entries that were evicted.
    pub evictions: u64,
    /// Sequences that gave up their pages and began again later.
    pub preemptions: u64,
}
