//! The engine's own loop: it takes requests, runs steps of all sequences, and hands out their tokens.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt;
use web_time::Instant;

use super::job::Job;
use super::runner::{Output, Runner};
use crate::error::Error;
use crate::gpu::{Readback, Submission};
use crate::kernels::{Batch, FROM_SLOT, NOT_FINITE, Row, SeqRows};
use crate::schedule::{Capture, ChunkRows, DecodeRow, Op, Scheduler, SeqId, Step};

/// Message to the loop.
pub(super) enum Command {
    /// A new answer.
    Start { id: SeqId, prompt: Vec<u32>, job: Box<Job> },
    /// An answer's reader is gone; it has taken this many tokens.
    Cancel { id: SeqId, taken: usize },
    /// Slots or pages may have become free.
    Wake,
}

/// Everything that the loop shares with the callers.
pub(super) struct Core {
    pub runner: Runner,
    scheduler: Mutex<Scheduler>,
    /// A step has been submitted.
    #[cfg(not(target_arch = "wasm32"))]
    submitted: std::sync::Condvar,
    /// Tasks that wait until a step is submitted.
    #[cfg(target_arch = "wasm32")]
    submitted: Mutex<Vec<std::task::Waker>>,
    /// Tokens that end an answer.
    pub ends: Vec<u32>,
    /// Tokens that are submitted ahead of the one that is read.
    pub read_ahead: u32,
}

impl Core {
    pub fn new(runner: Runner, scheduler: Scheduler, ends: Vec<u32>, read_ahead: u32) -> Self {
        Self {
            runner,
            scheduler: Mutex::new(scheduler),
            submitted: Default::default(),
            ends,
            read_ahead,
        }
    }

    /// It is never held while anything is awaited.
    fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scheduler between two steps, for callers outside the loop: all work that was planned has been submitted,
    /// so that theirs comes after it. In a browser, where no thread can wait, a step may still be in work; then nothing
    /// can be leased, and [`Core::step_ends`] waits.
    pub fn between_steps(&self) -> MutexGuard<'_, Scheduler> {
        let scheduler = self.scheduler();
        #[cfg(not(target_arch = "wasm32"))]
        let scheduler = self
            .submitted
            .wait_while(scheduler, |scheduler| scheduler.is_in_step())
            .unwrap_or_else(PoisonError::into_inner);
        scheduler
    }

    /// Waits until no step is in work. The next one begins only after the caller's next await.
    #[cfg(target_arch = "wasm32")]
    pub async fn step_ends(&self) {
        std::future::poll_fn(|context| {
            if !self.scheduler().is_in_step() {
                return std::task::Poll::Ready(());
            }
            let mut waiting = self.submitted.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(context.waker().clone());
            std::task::Poll::Pending
        })
        .await;
    }

    fn step_is_submitted(&self) {
        self.scheduler().step_is_submitted();
        #[cfg(not(target_arch = "wasm32"))]
        self.submitted.notify_all();
        #[cfg(target_arch = "wasm32")]
        {
            let mut waiting = self.submitted.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.drain(..).for_each(std::task::Waker::wake);
        }
    }
}

/// A step that was submitted and that the host has not read.
struct InFlight {
    submission: Submission,
    submitted: Instant,
    /// Sequences that draw a token, and the readback of all slots' tokens.
    draws: Vec<(SeqId, u32, u32)>,
    readback: Option<usize>,
    chunk: Vec<ChunkRows>,
    /// Whether the step had nothing but the chunk, so that its time tells the device's speed.
    only_chunk: bool,
}

/// The loop's own state.
pub(super) struct Stepper {
    core: Arc<Core>,
    jobs: BTreeMap<SeqId, Job>,
    in_flight: VecDeque<InFlight>,
    readbacks: Vec<Readback>,
    next_readback: usize,
    /// End of the last step that was read.
    last_read: Instant,
}

impl Drop for Stepper {
    fn drop(&mut self) {
        // If the loop has panicked within a step, nobody may wait for the step's end.
        self.core.step_is_submitted();
    }
}

impl Stepper {
    pub fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            jobs: BTreeMap::new(),
            in_flight: VecDeque::new(),
            readbacks: Vec::new(),
            next_readback: 0,
            last_read: Instant::now(),
        }
    }

    /// Runs until all senders of commands are gone.
    pub async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        loop {
            while let Ok(command) = commands.try_recv() {
                self.take(command);
            }
            let idle = self.in_flight.is_empty();
            let (step, blocked) = {
                let mut scheduler = self.core.scheduler();
                let step = scheduler.step();
                let blocked = if step.is_empty() && idle { scheduler.blocked() } else { None };
                (step, blocked)
            };
            if let Some(id) = blocked {
                self.fail(id, Error::NoFreeSequence { slots: self.core.runner.state.n_slots });
                continue;
            }
            if step.is_empty() && idle {
                match commands.next().await {
                    Some(command) => self.take(command),
                    None => return,
                }
                continue;
            }
            if let Err(e) = self.advance(&step).await {
                self.fail_all(&e);
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Start { id, prompt, job } => {
                self.core.scheduler().add(id, &prompt, job.most, job.cache);
                self.jobs.insert(id, *job);
            }
            Command::Cancel { id, taken } => {
                if let Some(job) = self.jobs.remove(&id) {
                    self.finish(id, job.prompt_len + taken);
                }
            }
            Command::Wake => {}
        }
    }

    /// Submits a step and reads the steps that are due.
    async fn advance(&mut self, step: &Step) -> Result<(), Error> {
        let ahead = if step.is_empty() { 0 } else { self.core.read_ahead as usize };
        if !step.is_empty() {
            self.submit(step).await?;
        }
        while self.in_flight.len() > ahead {
            self.read().await?;
        }
        Ok(())
    }

    async fn submit(&mut self, step: &Step) -> Result<(), Error> {
        self.copy(&step.before, &self.core.scheduler());
        let submitted = Instant::now();
        let mut draws: Vec<_> = step.decode.iter().map(|r| (r.seq, r.epoch, r.slot)).collect();
        let chunk_draws = step.chunk.iter().filter(|rows| rows.draws);
        draws.extend(chunk_draws.map(|rows| (rows.seq, rows.epoch, rows.slot)));
        let readback = if draws.is_empty() { None } else { Some(self.free_readback().await?) };
        self.note_beginnings(&step.chunk);
        let decode = self.decode_batch(&step.decode);
        let chunk = self.chunk_batch(&step.chunk);
        let target = readback.map(|index| (&self.readbacks[index], Output::NextTokens));
        let runner = &self.core.runner;
        let mut submission = None;
        if !step.decode.is_empty() {
            let last = step.chunk.is_empty();
            let target = target.as_ref().filter(|_| last);
            submission = Some(runner.submit(&decode, true, target)?);
        }
        if !step.chunk.is_empty() {
            runner.learn_first(&chunk, true).await?;
            submission = Some(runner.submit(&chunk, true, target.as_ref())?);
        }
        let after: Vec<Op> = step.after.iter().copied().map(Op::Capture).collect();
        self.copy(&after, &self.core.scheduler());
        self.core.step_is_submitted();
        let Some(submission) = submission else { return Ok(()) };
        let (chunk, only_chunk) = (step.chunk.clone(), step.decode.is_empty());
        let flight = InFlight { submission, submitted, draws, readback, chunk, only_chunk };
        self.in_flight.push_back(flight);
        Ok(())
    }

    fn decode_batch(&self, rows: &[DecodeRow]) -> Batch {
        let scheduler = self.core.scheduler();
        let seq = |decode: &DecodeRow| {
            let row = Row { token: FROM_SLOT, position: decode.position as u32 };
            let column = decode.snapshot_column.map(|column| (0, column));
            self.seq_rows(&scheduler, (decode.seq, decode.slot), vec![row], true, column.as_slice())
        };
        Batch { seqs: rows.iter().filter_map(seq).collect() }
    }

    fn chunk_batch(&self, chunk: &[ChunkRows]) -> Batch {
        let scheduler = self.core.scheduler();
        let seq = |rows: &ChunkRows| {
            let tokens = &scheduler.tokens(rows.seq)[rows.start..rows.end];
            let row = |(position, token): (u32, &u32)| Row { token: *token, position };
            let all = (rows.start as u32..).zip(tokens).map(row).collect();
            let id = (rows.seq, rows.slot);
            self.seq_rows(&scheduler, id, all, rows.draws, &rows.snapshot_columns)
        };
        Batch { seqs: chunk.iter().filter_map(seq).collect() }
    }

    /// The rows of a sequence in a pass, with the columns of the snapshots that some of them write. `draws`: whether
    /// the last one draws a token.
    fn seq_rows(
        &self,
        scheduler: &Scheduler,
        (id, slot): (SeqId, u32),
        rows: Vec<Row>,
        draws: bool,
        columns: &[(u32, u32)],
    ) -> Option<SeqRows> {
        let job = self.jobs.get(&id)?;
        let first = self.core.runner.state.snapshots_at();
        Some(SeqRows {
            slot,
            generated_from: job.prompt_len as u32,
            sample: job.sample.clone(),
            pages: scheduler.pages(id).to_vec(),
            logit_rows: if draws { vec![rows.len() as u32 - 1] } else { Vec::new() },
            snapshot_columns: columns.iter().map(|(row, column)| (*row, first + column)).collect(),
            rows,
        })
    }

    /// Tells answers whose prompts begin to run how much of them was cached.
    fn note_beginnings(&mut self, chunk: &[ChunkRows]) {
        let scheduler = self.core.scheduler();
        for rows in chunk {
            if let (Some(job), Some(cached)) =
                (self.jobs.get_mut(&rows.seq), scheduler.cached(rows.seq))
                && job.generated == 0
            {
                job.began_at(cached);
            }
        }
    }

    /// Copies state on the GPU, in the order of the list.
    fn copy(&self, ops: &[Op], scheduler: &Scheduler) {
        if ops.is_empty() {
            return;
        }
        let Runner { device, state, .. } = &self.core.runner;
        let mut encoder = device.encoder();
        for op in ops {
            match *op {
                Op::CopyPage { from, to } => state.copy_page(&mut encoder, from, to),
                Op::Capture(Capture { slot, position, snapshot }) => {
                    state.capture(&mut encoder, slot, position, snapshot);
                }
                Op::Restore { seq, slot, position, snapshot } => {
                    state.restore(&mut encoder, slot, position, snapshot);
                    let at = slot as usize * state.context as usize;
                    device.write(&state.history, at, &scheduler.tokens(seq)[..position]);
                }
            }
        }
        encoder.submit();
    }

    /// Waits for the oldest step and hands out its tokens.
    async fn read(&mut self) -> Result<(), Error> {
        let Some(step) = self.in_flight.pop_front() else { return Ok(()) };
        let core = self.core.clone();
        let tokens = match step.readback {
            Some(index) => self.readbacks[index].read::<u32>(Some(&step.submission)).await?,
            None => {
                core.runner.device.wait_for(&step.submission).await?;
                Vec::new()
            }
        };
        let began = step.submitted.max(self.last_read);
        self.last_read = Instant::now();
        if step.only_chunk {
            let rows: usize = step.chunk.iter().map(|rows| rows.end - rows.start).sum();
            core.runner.learn(rows as u32, (self.last_read - began).as_secs_f64());
        }
        for rows in &step.chunk {
            if let Some(job) = self.jobs.get_mut(&rows.seq) {
                job.prefilled(rows.end);
            }
        }
        for (id, epoch, slot) in step.draws {
            let token = tokens.get(slot as usize).copied().unwrap_or(NOT_FINITE);
            self.drawn(id, epoch, token);
        }
        Ok(())
    }

    fn drawn(&mut self, id: SeqId, epoch: u32, token: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let position = job.prompt_len + job.generated;
        if token == NOT_FINITE {
            self.fail(id, Error::NotFinite { position });
            // State of this prompt that was kept may be NaN too.
            self.core.scheduler().clear_cache();
            return;
        }
        if !self.core.scheduler().read(id, epoch, token) {
            return;
        }
        match job.drawn(token, self.core.ends.contains(&token)) {
            Err(e) => self.fail(id, e),
            Ok((delta, None)) => job.send(delta, None),
            Ok((delta, finish)) => {
                // Its reader may ask for the slot as soon as it knows the end.
                self.finish(id, usize::MAX);
                if let Some(job) = self.jobs.remove(&id) {
                    job.send(delta, finish);
                }
            }
        }
    }

    fn fail(&mut self, id: SeqId, error: Error) {
        self.finish(id, 0);
        if let Some(job) = self.jobs.remove(&id) {
            job.fail(error);
        }
    }

    /// Ends a sequence; the state of its first `keep` tokens is kept.
    fn finish(&mut self, id: SeqId, keep: usize) {
        // Nobody may take the slot before it is copied.
        let mut scheduler = self.core.scheduler();
        let capture = scheduler.finish(id, keep).map(Op::Capture);
        self.copy(capture.as_slice(), &scheduler);
    }

    /// Ends all answers after an error that leaves the state on the GPU unknown.
    fn fail_all(&mut self, error: &Error) {
        self.core.scheduler().reset();
        self.core.step_is_submitted();
        self.in_flight.clear();
        self.readbacks.clear();
        self.next_readback = 0;
        for (_, job) in std::mem::take(&mut self.jobs) {
            job.fail(error.of_all());
        }
    }

    /// Index of a readback buffer that is not in flight.
    async fn free_readback(&mut self) -> Result<usize, Error> {
        let Core { runner, read_ahead, .. } = &*self.core;
        if self.readbacks.len() < *read_ahead as usize + 2 {
            let slots = runner.state.n_slots as usize;
            self.readbacks.push(runner.device.readback_for::<u32>(slots).await?);
            return Ok(self.readbacks.len() - 1);
        }
        self.next_readback = (self.next_readback + 1) % self.readbacks.len();
        Ok(self.next_readback)
    }
}
