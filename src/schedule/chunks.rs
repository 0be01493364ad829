//! Plans chunks: the rows of a step whose tokens are known.

use super::Scheduler;
use super::place::Seq;
use super::step::{ChunkRows, SeqId, Step};

impl Scheduler {
    /// Plans rows of prompts, in the order in which their sequences began.
    pub(super) fn plan_chunk(&mut self, step: &mut Step) {
        let most =
            if step.decode.is_empty() { self.limits.chunk } else { self.limits.chunk_beside };
        let mut room = most as usize;
        let mut scored_room = self.limits.scored as usize;
        for id in self.running.clone() {
            let Some(Seq { place: Some(place), how, .. }) = self.seqs.get(&id) else { continue };
            // Rows `start` .. `given` are left to compute; the chunk takes as many of them as it has room for. Behind the
            // `known` rows of the prompt are those of tokens that were appended later.
            let (start, given, known) = (place.computed, place.given, place.known);
            if start >= given || room == 0 {
                continue;
            }
            // If a prompt's tokens are scored, all rows but the last have a pass of another kind.
            if how.scored && start + 1 < given {
                let end = (given - 1).min(start + room.min(scored_room));
                if end > start {
                    (room, scored_room) = (room - (end - start), scored_room - (end - start));
                    step.scored.extend(self.plan_rows(id, end, false));
                }
                continue;
            }
            let mut end = given.min(start + room);
            let page = self.limits.page as usize;
            // A chunk that ends with a page leaves a snapshot that many prompts can share.
            if end < given && end / page > start / page {
                end -= end % page;
            }
            room -= end - start;
            let draws = end == given;
            step.chunk.extend(self.plan_rows(id, end, draws));
            self.keep_blocks(id);
            // If the same prompt comes again, it continues from the state before its last token.
            let at = if draws { end - 1 } else { end };
            if end <= known {
                step.after.extend(self.keep(id, at));
            }
        }
    }

    /// The rows of a running sequence up to `end`.
    fn plan_rows(&mut self, id: SeqId, end: usize, draws: bool) -> Option<ChunkRows> {
        let start = self.seqs.get(&id)?.place.as_ref()?.computed;
        let snapshot_columns = self.plan_blocks(id, end - start);
        let seq = self.seqs.get_mut(&id)?;
        let place = seq.place.as_mut()?;
        place.computed = end;
        let (epoch, slot) = (seq.epoch, place.slot);
        Some(ChunkRows { seq: id, epoch, slot, start, end, draws, snapshot_columns })
    }
}
