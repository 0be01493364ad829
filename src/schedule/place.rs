//! A sequence and its place: slot, pages, and the snapshots that its passes write.

use std::collections::VecDeque;

use super::step::{Limits, Use};
use super::{Pool, PrefixCache};

/// A sequence.
#[derive(Debug)]
pub struct Seq {
    /// The prompt, and the drawn tokens that the host has read.
    pub tokens: Vec<u32>,
    /// Most tokens in all.
    pub most: usize,
    pub how: Use,
    /// Number of times that it was preempted.
    pub epoch: u32,
    /// Positions of the prompt that were cached when it first ran.
    pub cached: Option<usize>,
    /// Absent while it waits.
    pub place: Option<Place>,
}

/// The state of a running sequence.
#[derive(Debug)]
pub struct Place {
    pub slot: u32,
    pub pages: Vec<u32>,
    /// Position that it began at. The rings have no state of earlier positions.
    pub began: usize,
    /// Positions whose passes have been planned.
    pub computed: usize,
    /// Tokens that were known when it began to run. The row of the last one draws.
    pub known: usize,
    /// Tokens whose rows chunks compute: the known ones, and those that were appended later.
    pub given: usize,
    /// Ends of blocks, in order, whose snapshots the passes write; they are not in the cache yet.
    pub blocks: VecDeque<Block>,
}

/// The snapshot of a block's end.
#[derive(Debug)]
pub struct Block {
    pub end: usize,
    pub snapshot: u32,
}

impl Place {
    /// Plans the snapshots of blocks that end in or behind the next `rows` rows of the sequence of `tokens` with the
    /// adapter `lora`. Returns
    /// the rows that write a column of one, and the column.
    pub fn plan_blocks(
        &mut self,
        (lora, tokens): (u64, &[u32]),
        rows: usize,
        limits: &Limits,
        cache: &mut PrefixCache,
        pool: &mut Pool,
    ) -> Vec<(u32, u32)> {
        let (page, columns) = (limits.page as usize, limits.columns as usize);
        let (start, end) = (self.computed, self.computed + rows);
        // One sequence takes at most about half of the snapshots. The last block of a prompt always has one.
        let stride = (2 * tokens.len() / page).div_ceil(limits.snapshots.max(1) as usize).max(1);
        let last_of_prompt = (self.known - 1) / page * page;
        let mut planned = Vec::new();
        let mut block_end = (start / page + 1) * page;
        while block_end < end + columns {
            let first = block_end - columns;
            let wanted = (block_end / page).is_multiple_of(stride) || block_end == last_of_prompt;
            let known =
                || tokens.len() >= block_end && cache.has_snapshot(lora, &tokens[..block_end]);
            if first >= start
                && wanted
                && !known()
                && let Some(snapshot) = cache.take_snapshot(pool)
            {
                self.blocks.push_back(Block { end: block_end, snapshot });
            }
            if let Some(block) = self.blocks.iter().find(|block| block.end == block_end) {
                for position in first.max(start)..block_end.min(end) {
                    let column = block.snapshot as usize * columns + position - first;
                    planned.push(((position - start) as u32, column as u32));
                }
            }
            block_end += page;
        }
        planned
    }
}
