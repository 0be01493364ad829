//! Plans steps: a row of every decoding sequence, and chunks of prompts behind them (`plan_chunk`, in chunks.rs).

use std::collections::{BTreeMap, VecDeque};

use super::place::{Block, Place, Seq};
use super::step::{
    CacheCounts, Capture, DecodeRow, Draw, Lack, Limits, Op, QueueCounts, SeqId, Step, Use,
};
use super::{Hit, Pool, PrefixCache};

/// Decides which sequences run in each step.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) limits: Limits,
    pool: Pool,
    cache: PrefixCache,
    slots: Vec<u32>,
    /// In the order in which they will run.
    waiting: VecDeque<SeqId>,
    /// In the order in which they began to run.
    pub(super) running: Vec<SeqId>,
    pub(super) seqs: BTreeMap<SeqId, Seq>,
    /// Snapshots that passes of the step being planned may still write; free from the next step on.
    written: Vec<u32>,
    /// Whether a step was planned whose work has not been submitted.
    in_step: bool,
    /// Slots of sequences that are not scheduled.
    leased: usize,
    counts: CacheCounts,
    /// The lack for which the first sequence that waits could not begin in the last step.
    lack: Option<Lack>,
    restarts: u64,
}

impl Scheduler {
    /// A scheduler without sequences.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            pool: Pool::new(limits.pages),
            cache: PrefixCache::new(limits.page as usize, limits.snapshots),
            slots: (0..limits.slots).rev().collect(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            seqs: BTreeMap::new(),
            written: Vec::new(),
            in_step: false,
            leased: 0,
            counts: CacheCounts::default(),
            lack: None,
            restarts: 0,
        }
    }

    /// Adds a sequence behind all others. `prompt` has at least one token, and `most`, the most tokens
    /// in all, is larger than the prompt's length; the pool has pages for them.
    pub fn add(&mut self, id: SeqId, prompt: &[u32], most: usize, how: Use) {
        let seq = Seq { tokens: prompt.to_vec(), most, how, epoch: 0, cached: None, place: None };
        self.seqs.insert(id, seq);
        self.waiting.push_back(id);
    }

    /// The next step; an empty one if no sequence can run now.
    pub fn step(&mut self) -> Step {
        let mut step = Step::default();
        self.cache.free_snapshots(self.written.drain(..));
        self.cache.begin_step();
        self.plan_decode(&mut step);
        self.admit(&mut step);
        self.plan_chunk(&mut step);
        self.cache.end_step();
        self.in_step = !step.is_empty();
        step
    }

    /// Whether a step was planned whose work has not been submitted. Nothing can be leased then.
    #[must_use]
    pub fn is_in_step(&self) -> bool {
        self.in_step
    }

    /// Notes that all work of the last step has been submitted.
    pub fn step_is_submitted(&mut self) {
        self.in_step = false;
    }

    /// Tokens of a sequence: its prompt and the drawn tokens that were read.
    #[must_use]
    pub fn tokens(&self, id: SeqId) -> &[u32] {
        self.seqs.get(&id).map(|seq| seq.tokens.as_slice()).unwrap_or_default()
    }

    /// Pages of a running sequence.
    #[must_use]
    pub fn pages(&self, id: SeqId) -> &[u32] {
        let place = self.seqs.get(&id).and_then(|seq| seq.place.as_ref());
        place.map(|place| place.pages.as_slice()).unwrap_or_default()
    }

    /// Positions of a sequence's prompt that were cached; `None` before it runs.
    #[must_use]
    pub fn cached(&self, id: SeqId) -> Option<usize> {
        self.seqs.get(&id).and_then(|seq| seq.cached)
    }

    /// Whether a drawn token is the sequence's next one: not if the sequence has ended or was preempted since the draw,
    /// since then it will be drawn again, nor if another token was appended there.
    #[must_use]
    pub fn expects(&self, draw: &Draw) -> bool {
        let seq = self.seqs.get(&draw.seq);
        seq.is_some_and(|seq| seq.epoch == draw.epoch && seq.tokens.len() == draw.position)
    }

    /// Records a drawn token that was read, if the sequence [expects](Self::expects) it.
    pub fn read(&mut self, draw: &Draw, token: u32) -> bool {
        let expected = self.expects(draw);
        if let Some(seq) = self.seqs.get_mut(&draw.seq).filter(|_| expected) {
            seq.tokens.push(token);
            self.keep_blocks(draw.seq);
        }
        expected
    }

    /// Gives a running sequence its next tokens, as many as it may have. All its tokens must have been read, and their
    /// rows planned; a token that these draw is ignored. The rows of the new tokens are part of the next chunk.
    /// Returns their number.
    pub fn append(&mut self, id: SeqId, tokens: &[u32]) -> usize {
        let Some(seq) = self.seqs.get_mut(&id) else { return 0 };
        let Some(place) = &mut seq.place else { return 0 };
        if place.computed != seq.tokens.len() {
            return 0;
        }
        let n = tokens.len().min(seq.most - seq.tokens.len());
        seq.tokens.extend(&tokens[..n]);
        place.given = seq.tokens.len();
        n
    }

    /// Ends a sequence, of which the state of the first `keep` tokens is kept for later prompts. The
    /// capture must be done before any later step.
    pub fn finish(&mut self, id: SeqId, keep: usize) -> Option<Capture> {
        self.waiting.retain(|other| *other != id);
        let capture = self.leave(id, keep);
        self.seqs.remove(&id);
        capture
    }

    /// Ends all sequences and forgets the cache, after an error that leaves the GPU's state unknown.
    pub fn reset(&mut self) {
        for id in self.seqs.keys().copied().collect::<Vec<_>>() {
            self.finish(id, 0);
        }
        self.clear_cache();
    }

    /// Lets all sequences begin again from their tokens and forgets the cache, after the state on the GPU was lost.
    pub fn restart(&mut self) {
        for id in self.running.clone().into_iter().rev() {
            self.leave(id, 0);
            self.wait_again(id);
        }
        self.clear_cache();
        self.restarts += 1;
    }

    /// Number of times that the state on the GPU was lost.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// The first sequence that waits, if none runs, it has not run yet, and slots are leased: it may wait for ever,
    /// since its caller may hold the lease.
    #[must_use]
    pub fn blocked(&self) -> Option<SeqId> {
        let first = self.waiting.front().copied()?;
        let began = self.seqs.get(&first).is_some_and(|seq| seq.epoch > 0);
        (self.running.is_empty() && self.leased > 0 && !began).then_some(first)
    }

    /// Forgets all cached prefixes.
    pub fn clear_cache(&mut self) {
        self.cache.clear(&mut self.pool);
    }

    /// Counts of the prefix cache so far.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        CacheCounts { evictions: self.cache.evicted(), ..self.counts }
    }

    /// The sequences that run and wait.
    #[must_use]
    pub fn queue(&self) -> QueueCounts {
        let (running, waiting) = (self.running.len(), self.waiting.len());
        QueueCounts { running, waiting, lack: self.lack.filter(|_| waiting > 0) }
    }

    /// Takes a slot for a sequence that is not scheduled.
    pub fn lease_slot(&mut self) -> Option<u32> {
        if self.in_step {
            return None;
        }
        let slot = self.slots.pop()?;
        self.leased += 1;
        Some(slot)
    }

    /// Takes a page for a sequence that is not scheduled.
    pub fn lease_page(&mut self) -> Option<u32> {
        if self.in_step {
            return None;
        }
        self.cache.make_room(&mut self.pool, 1);
        self.pool.take()
    }

    /// Returns a leased slot and its pages.
    pub fn end_lease(&mut self, slot: u32, pages: impl IntoIterator<Item = u32>) {
        self.slots.push(slot);
        self.leased -= 1;
        pages.into_iter().for_each(|page| self.pool.release(page));
    }

    /// Takes all free pages, to count them.
    #[cfg(test)]
    pub(super) fn lease_all(&mut self) -> usize {
        let pages: std::collections::BTreeSet<u32> =
            std::iter::from_fn(|| self.pool.take()).collect();
        pages.len()
    }

    /// The longest cached prefix of `tokens`, and snapshots inside it with their positions. Its pages are leased, also
    /// the one that it ends in; the snapshots may be written again by any later step.
    pub fn lease_prefix(&mut self, lora: u64, tokens: &[u32]) -> Option<(Hit, Vec<(usize, u32)>)> {
        if self.in_step {
            return None;
        }
        let hit = self.cache.find(lora, tokens, tokens.len())?;
        hit.pages.iter().chain(&hit.partial).for_each(|page| self.pool.share(*page));
        let inside = self.cache.snapshots_inside(lora, &tokens[..hit.position]);
        Some((hit, inside))
    }

    /// Takes pages and `snapshots` snapshots for state that was computed elsewhere; fewer snapshots, but one, if they
    /// were more than half of all.
    pub fn lease_state(&mut self, pages: usize, snapshots: usize) -> Option<(Vec<u32>, Vec<u32>)> {
        if self.in_step || !self.cache.make_room(&mut self.pool, pages) {
            return None;
        }
        let most = (self.limits.snapshots as usize / 2).max(1);
        let take = || self.cache.take_snapshot(&mut self.pool);
        let snapshots: Vec<u32> =
            std::iter::repeat_with(take).take(snapshots.min(most)).flatten().collect();
        if snapshots.is_empty() {
            return None;
        }
        let pages = (0..pages).filter_map(|_| self.pool.take()).collect();
        Some((pages, snapshots))
    }

    /// Keeps leased state as that of `tokens`; its pages stay leased.
    pub fn adopt(&mut self, lora: u64, tokens: &[u32], pages: &[u32], snapshot: u32) {
        if !self.cache.insert(&mut self.pool, (lora, tokens), pages, Some(snapshot)) {
            self.cache.free_snapshots([snapshot]);
        }
    }

    /// Ends a lease of pages, and of snapshots.
    pub fn end_state(&mut self, pages: &[u32], snapshots: impl IntoIterator<Item = u32>) {
        pages.iter().for_each(|page| self.pool.release(*page));
        self.cache.free_snapshots(snapshots);
    }

    /// Free slots, and pages that are free or only kept by the cache.
    #[cfg(test)]
    pub fn unused(&self) -> (usize, usize) {
        (self.slots.len(), self.pool.unused())
    }

    fn plan_decode(&mut self, step: &mut Step) {
        let mut index = 0;
        while let Some(id) = self.running.get(index).copied() {
            index += 1;
            let Some(Seq { place: Some(place), most, tokens, how, .. }) = self.seqs.get(&id) else {
                continue;
            };
            if place.computed < place.given {
                // Its rows are part of the chunk. Tokens that were appended may need pages.
                let pages = place.given.div_ceil(self.limits.page as usize);
                while self.pages(id).len() < pages && self.take_page(id, step) {}
                continue;
            }
            // A row at the last position but one draws the last token.
            if place.computed + 1 >= *most {
                continue;
            }
            // Its row's own token may still be unread, as the mask is needed only when the row draws.
            if how.reads_first && tokens.len() < place.computed {
                continue;
            }
            let needs_page = place.pages.len() * self.limits.page as usize <= place.computed;
            if needs_page && !self.take_page(id, step) {
                continue;
            }
            let snapshot_columns = self.plan_blocks(id, 1);
            if let Some(Seq { place: Some(place), epoch, .. }) = self.seqs.get_mut(&id) {
                let (slot, position) = (place.slot, place.computed);
                let snapshot_column = snapshot_columns.first().map(|(_, column)| *column);
                let epoch = *epoch;
                step.decode.push(DecodeRow { seq: id, epoch, slot, position, snapshot_column });
                place.computed += 1;
            }
        }
    }

    /// Gives a decoding sequence one more page. If there is none, the sequence that began last gives
    /// up its pages. Returns whether the sequence itself still runs.
    fn take_page(&mut self, id: SeqId, step: &mut Step) -> bool {
        loop {
            if self.cache.make_room(&mut self.pool, 1)
                && let Some(page) = self.pool.take()
                && let Some(Seq { place: Some(place), .. }) = self.seqs.get_mut(&id)
            {
                place.pages.push(page);
                return true;
            }
            let Some(last) = self.running.last().copied() else { return false };
            let read = self.tokens(last).len();
            let capture = self.leave(last, read);
            step.before.extend(capture.map(Op::Capture));
            // It is planned last, so none of its rows is in this step.
            debug_assert!(step.decode.iter().all(|row| row.seq != last));
            self.wait_again(last);
            self.counts.preemptions += 1;
            if last == id {
                return false;
            }
        }
    }

    /// Lets a sequence that has left its place wait before all others.
    fn wait_again(&mut self, id: SeqId) {
        if let Some(seq) = self.seqs.get_mut(&id) {
            seq.epoch += 1;
        }
        self.waiting.push_front(id);
    }

    /// Lets waiting sequences run while there are slots and pages for what is known of them.
    fn admit(&mut self, step: &mut Step) {
        self.lack = None;
        while let Some(id) = self.waiting.front().copied() {
            if self.slots.is_empty() {
                self.lack = Some(Lack::Sequences);
                return;
            }
            if !self.place(id, step) {
                self.lack = Some(Lack::Pages);
                return;
            }
            self.waiting.pop_front();
            self.running.push(id);
        }
    }

    /// Gives a waiting sequence a slot and pages; pages of a cached prefix (`hit`) are shared. Returns `false`, and
    /// changes nothing, if there are not enough.
    fn place(&mut self, id: SeqId, step: &mut Step) -> bool {
        let Some(seq) = self.seqs.get(&id) else { return true };
        let known = seq.tokens.len();
        let hit = match seq.how.cache {
            true => self.cache.find(seq.how.lora, &seq.tokens, known - 1),
            false => None,
        };
        let shared = hit.as_ref().map(|hit| hit.pages.as_slice()).unwrap_or_default();
        shared.iter().for_each(|page| self.pool.share(*page));
        let page = self.limits.page as usize;
        // Each decoding sequence may soon need a page; a sequence that takes the last ones would be
        // preempted at once.
        let spare = self.running.len();
        let own = known.div_ceil(page) - shared.len();
        if !self.cache.make_room(&mut self.pool, own + spare) {
            shared.iter().for_each(|page| self.pool.release(*page));
            return false;
        }
        let Some(slot) = self.slots.pop() else { return false };
        let mut pages = shared.to_vec();
        pages.extend((0..own).filter_map(|_| self.pool.take()));
        let mut computed = 0;
        if let Some(Hit { position, partial, snapshot, .. }) = &hit {
            computed = *position;
            let to = pages[position / page];
            // The page may be the one that made room for its copy.
            if let Some(from) = partial.filter(|from| *from != to) {
                step.before.push(Op::CopyPage { from, to });
            }
            let (position, snapshot) = (*position, *snapshot);
            step.before.push(Op::Restore { seq: id, slot, position, snapshot });
        }
        if let Some(seq) = self.seqs.get_mut(&id) {
            seq.place = Some(Place {
                slot,
                pages,
                began: computed,
                computed,
                known,
                given: known,
                blocks: VecDeque::new(),
            });
            if seq.cached.is_none() {
                seq.cached = Some(computed);
                self.counts.prompt_tokens += known as u64;
                self.counts.hit_tokens += computed as u64;
                self.counts.hits += u64::from(computed > 0);
                self.counts.misses += u64::from(computed == 0);
            }
        }
        true
    }

    /// Keeps a running sequence's pages in the cache and plans the snapshot at `position`.
    pub(super) fn keep(&mut self, id: SeqId, position: usize) -> Option<Capture> {
        let Some(Seq { place: Some(place), how, tokens, .. }) = self.seqs.get(&id) else {
            return None;
        };
        if position == 0 || !how.cache {
            return None;
        }
        let wanted = position >= place.began
            && place.computed - position <= self.limits.rewind as usize
            && !self.cache.has_snapshot(how.lora, &tokens[..position]);
        let snapshot = if wanted { self.cache.take_snapshot(&mut self.pool) } else { None };
        let prefix = (how.lora, &tokens[..position]);
        self.cache.insert(&mut self.pool, prefix, &place.pages, snapshot);
        snapshot.map(|snapshot| Capture { slot: place.slot, position, snapshot })
    }

    /// Plans the snapshots of blocks that end in or behind the sequence's next `rows` rows. Returns the rows that
    /// write a column of one, and the column.
    pub(super) fn plan_blocks(&mut self, id: SeqId, rows: usize) -> Vec<(u32, u32)> {
        match self.seqs.get_mut(&id) {
            Some(Seq { place: Some(place), how, tokens, .. }) if how.cache => {
                let text = (how.lora, tokens.as_slice());
                place.plan_blocks(text, rows, &self.limits, &mut self.cache, &mut self.pool)
            }
            _ => Vec::new(),
        }
    }

    /// Keeps the blocks of a running sequence whose tokens are known and whose rows were planned.
    pub(super) fn keep_blocks(&mut self, id: SeqId) {
        let Some(Seq { place: Some(place), tokens, how, .. }) = self.seqs.get_mut(&id) else {
            return;
        };
        let done = place.computed.min(tokens.len());
        while place.blocks.front().is_some_and(|block| block.end <= done) {
            let Some(Block { end, snapshot }) = place.blocks.pop_front() else { break };
            let prefix = (how.lora, &tokens[..end]);
            if !self.cache.insert(&mut self.pool, prefix, &place.pages, Some(snapshot)) {
                self.written.push(snapshot);
            }
        }
    }

    /// Takes a sequence's place, if it has one, and keeps the state of at most `keep` tokens.
    fn leave(&mut self, id: SeqId, keep: usize) -> Option<Capture> {
        let seq = self.seqs.get(&id)?;
        let place = seq.place.as_ref()?;
        let capture = self.keep(id, keep.min(place.computed).min(seq.tokens.len()));
        let place = self.seqs.get_mut(&id)?.place.take()?;
        place.pages.iter().for_each(|page| self.pool.release(*page));
        self.written.extend(place.blocks.iter().map(|block| block.snapshot));
        self.slots.push(place.slot);
        self.running.retain(|other| *other != id);
        capture
    }
}
