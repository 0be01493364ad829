//! The engine's own loop: it takes requests, runs steps of all sequences, and hands out their tokens.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_channel::mpsc::UnboundedReceiver;
use futures_channel::oneshot;
use futures_util::StreamExt;
use web_time::Instant;

use super::core::Core;
use super::job::Job;
use super::loras::LoraOfSeq;
use super::runner::Output;
use super::{LogprobsOptions, TokenLogprobs};
use crate::error::Error;
use crate::gpu::{Device, GpuError, Readback, Submission};
use crate::kernels::{Batch, FROM_SLOT, LOGPROBS_WORDS, LogitRow, NOT_FINITE, Row, SeqRows};
use crate::model::PassOutput;
use crate::schedule::{Capture, ChunkRows, DecodeRow, Draw, Op, Scheduler, SeqId, Step, Use};

/// Most losses of devices in a row, without a token between: a request that always resets the driver must end.
const MOST_LOSSES: u32 = 3;

/// Message to the loop.
pub(super) enum Command {
    /// A new answer.
    Start { id: SeqId, prompt: Vec<u32>, job: Box<Job> },
    /// An answer's reader is gone; it has taken this many tokens.
    Cancel { id: SeqId, taken: usize },
    /// Slots or pages may have become free.
    Wake,
    /// Continue on another device.
    Resume { device: Device, done: oneshot::Sender<Result<(), Error>> },
}

/// A step that was submitted and that the host has not read.
pub(super) struct InFlight {
    submission: Submission,
    submitted: Instant,
    /// Sequences that draw a token, and the readback of all slots' tokens.
    draws: Vec<Draw>,
    readback: Option<usize>,
    /// For each pass with log-probabilities: their readback, and the sequences of its logit rows.
    logprobs: Vec<(Readback, Vec<SeqId>)>,
    /// The log-probabilities of prompts, and their rows.
    scored: Option<(Readback, Vec<ChunkRows>)>,
    chunk: Vec<ChunkRows>,
    /// Whether the step had nothing but the chunk, so that its time tells the device's speed.
    only_chunk: bool,
}

/// The loop's own state.
pub(super) struct Stepper {
    pub(super) core: Arc<Core>,
    pub(super) jobs: BTreeMap<SeqId, Job>,
    pub(super) in_flight: VecDeque<InFlight>,
    readbacks: Vec<Readback>,
    next_readback: usize,
    /// End of the last step that was read.
    last_read: Instant,
    /// The loss of a device, while the loop waits for the application's next one.
    lost: Option<Error>,
    /// Losses since the last token was read.
    losses_in_a_row: u32,
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
            lost: None,
            losses_in_a_row: 0,
        }
    }

    /// Runs until all senders of commands are gone.
    pub async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        loop {
            while let Ok(command) = commands.try_recv() {
                self.take(command).await;
            }
            if self.lost.is_some() {
                match commands.next().await {
                    Some(command) => self.take(command).await,
                    None => return,
                }
                continue;
            }
            let idle = self.in_flight.is_empty();
            let (step, blocked) = {
                let mut scheduler = self.core.scheduler();
                let step = scheduler.step();
                let blocked = if step.is_empty() && idle { scheduler.blocked() } else { None };
                (step, blocked)
            };
            if let Some(id) = blocked {
                let slots = self.core.runner().state.n_slots;
                self.fail(id, Error::NoFreeSequence { slots });
                continue;
            }
            if step.is_empty() && idle {
                self.core.loras.free_unused(&self.core.runner());
                match commands.next().await {
                    Some(command) => self.take(command).await,
                    None => return,
                }
                continue;
            }
            if let Err(e) = self.advance(&step).await {
                self.failed(&e).await;
            }
        }
    }

    async fn take(&mut self, command: Command) {
        match command {
            Command::Start { id, prompt, job } => {
                let how = Use {
                    cache: job.cache,
                    reads_first: job.allowed.is_some(),
                    scored: job.scored.is_some(),
                    lora: job.lora.as_ref().map_or(0, LoraOfSeq::key),
                };
                self.core.scheduler().add(id, &prompt, job.most, how);
                if let Some(lost) = &self.lost {
                    job.interrupt(lost.of_all());
                }
                self.jobs.insert(id, *job);
            }
            Command::Cancel { id, taken } => {
                if let Some(job) = self.jobs.remove(&id) {
                    self.finish(id, job.prompt_len + taken);
                }
            }
            Command::Wake => {}
            Command::Resume { device, done } => {
                // Its caller may be gone.
                let _ = done.send(self.continue_on(&device).await);
            }
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

    /// Submits the copies and passes of a step: first rows that are scored, then decoding rows, then the chunk.
    async fn submit(&mut self, step: &Step) -> Result<(), Error> {
        self.copy(&step.before, &self.core.scheduler());
        let submitted = Instant::now();
        let draws = step.draws();
        let readback = if draws.is_empty() { None } else { Some(self.free_readback().await?) };
        self.note_beginnings(&step.scored);
        self.note_beginnings(&step.chunk);
        let decode = self.decode_batch(&step.decode);
        let chunk = self.chunk_batch(&step.chunk);
        let scored = match self.submit_scored(&step.scored).await {
            // Its buffers are made when they are first needed. If there is no memory for them, other answers go on.
            Err(e @ Error::Gpu(GpuError::OutOfMemory { .. })) => {
                step.scored.iter().for_each(|rows| self.fail(rows.seq, e.of_all()));
                None
            }
            other => other?,
        };
        let output = PassOutput::Tokens;
        let mut logprobs = Vec::new();
        let (scored, mut submission) = scored.map_or((None, None), |(target, submission)| {
            (Some((target, step.scored.clone())), Some(submission))
        });
        // Without masks and log-probabilities, `learn_first` and `submit` (runner.rs) are all that runs.
        for (batch, last) in [(&decode, step.chunk.is_empty()), (&chunk, true)] {
            if batch.seqs.is_empty() {
                continue;
            }
            let runner = self.core.runner();
            let wanted = self.logprobs_readback(batch, &draws).await?;
            runner.learn_first(batch, output).await?;
            let waits = self.waits_for_tokens(batch);
            if waits {
                runner.submit_until_draws(batch)?;
                while !self.in_flight.is_empty() {
                    self.read().await?;
                }
            }
            self.write_masks(batch, &draws);
            let wanted_targets = wanted.iter().map(|(target, _)| (target, Output::Logprobs));
            let tokens = readback.filter(|_| last);
            let tokens = tokens.map(|index| (&self.readbacks[index], Output::NextTokens));
            let targets: Vec<_> = tokens.into_iter().chain(wanted_targets).collect();
            submission = Some(match waits {
                true => runner.submit_draws(batch, &targets)?,
                false => runner.submit(batch, output, &targets)?,
            });
            logprobs.extend(wanted);
        }
        let after: Vec<Op> = step.after.iter().copied().map(Op::Capture).collect();
        self.copy(&after, &self.core.scheduler());
        self.core.step_is_submitted();
        let Some(submission) = submission else { return Ok(()) };
        let chunk = step.chunk.clone();
        let only_chunk = step.decode.is_empty() && step.scored.is_empty();
        let flight = InFlight {
            submission,
            submitted,
            draws,
            readback,
            logprobs,
            scored,
            chunk,
            only_chunk,
        };
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

    /// The rows of a sequence in a pass. `draws`: whether the last row draws a token, so that its logits are wanted.
    /// `columns`: rows whose convolution inputs a snapshot keeps, and the column that each is kept in.
    pub(super) fn seq_rows(
        &self,
        scheduler: &Scheduler,
        (id, slot): (SeqId, u32),
        rows: Vec<Row>,
        draws: bool,
        columns: &[(u32, u32)],
    ) -> Option<SeqRows> {
        let job = self.jobs.get(&id)?;
        let first = self.core.runner().state.snapshots_at();
        let drawn = LogitRow {
            allowed: if job.has_mask() { 1 + slot } else { 0 },
            logprobs: job.logprobs.map(LogprobsOptions::of_drawn),
            ..LogitRow::new(rows.len() as u32 - 1)
        };
        Some(SeqRows {
            slot,
            lora: job.lora.as_ref().map(LoraOfSeq::place),
            generated_from: job.prompt_len as u32,
            sample: job.sample.clone(),
            pages: scheduler.pages(id).to_vec(),
            logit_rows: if draws { vec![drawn] } else { Vec::new() },
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
        let runner = self.core.runner();
        let (device, state) = (&runner.device, &runner.state);
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
                core.runner().device.wait_for(&step.submission).await?;
                Vec::new()
            }
        };
        let began = step.submitted.max(self.last_read);
        self.last_read = Instant::now();
        if step.only_chunk {
            let rows: usize = step.chunk.iter().map(|rows| rows.end - rows.start).sum();
            core.runner().learn(rows as u32, (self.last_read - began).as_secs_f64());
        }
        for rows in &step.chunk {
            if let Some(job) = self.jobs.get_mut(&rows.seq) {
                job.prefilled(rows.end);
            }
        }
        if let Some((readback, chunk)) = &step.scored {
            let words = readback.read::<u32>(Some(&step.submission)).await?;
            self.scored(chunk, &words);
        }
        let mut logprobs = BTreeMap::new();
        for (readback, seqs) in step.logprobs {
            let words = readback.read::<u32>(Some(&step.submission)).await?;
            for (id, words) in seqs.into_iter().zip(words.chunks_exact(LOGPROBS_WORDS)) {
                if let Some(wanted) = self.jobs.get(&id).and_then(|job| job.logprobs) {
                    logprobs.insert(id, TokenLogprobs::from_words(words, wanted.top));
                }
            }
        }
        for draw in step.draws {
            let token = tokens.get(draw.slot as usize).copied().unwrap_or(NOT_FINITE);
            self.drawn(&draw, token, logprobs.remove(&draw.seq));
        }
        Ok(())
    }

    fn drawn(&mut self, draw: &Draw, token: u32, logprobs: Option<TokenLogprobs>) {
        let id = draw.seq;
        if !self.core.scheduler().expects(draw) {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let position = job.prompt_len + job.generated;
        if let Some(reason) = job.no_token.take() {
            self.fail(id, reason.at(position));
            return;
        }
        if token == NOT_FINITE {
            self.fail(id, Error::NotFinite { position });
            // State of this prompt that was kept may be NaN too.
            self.core.scheduler().clear_cache();
            return;
        }
        self.core.scheduler().read(draw, token);
        self.losses_in_a_row = 0;
        self.take_token(id, token, logprobs);
    }

    /// Hands out an answer's next token, and ends the answer if it is the last.
    pub(super) fn take_token(&mut self, id: SeqId, token: u32, logprobs: Option<TokenLogprobs>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match job.drawn(token, self.core.ends.contains(&token), logprobs) {
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

    pub(super) fn fail(&mut self, id: SeqId, error: Error) {
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

    /// After an error that leaves the state on the GPU unknown: if the device is lost, lets all answers continue on
    /// another one, if the engine may; otherwise ends them.
    async fn failed(&mut self, error: &Error) {
        let device = self.core.runner().device.clone();
        let lost = match (error, device.check()) {
            (Error::Gpu(e @ GpuError::DeviceLost { .. }), _) => Error::Gpu(e.clone()),
            (_, Err(e @ GpuError::DeviceLost { .. })) => Error::Gpu(e),
            _ => return self.fail_all(error),
        };
        if !self.core.can_continue() {
            return self.fail_all(&lost);
        }
        self.losses_in_a_row += 1;
        log::warn!("{lost}");
        if self.losses_in_a_row > MOST_LOSSES {
            return self.fail_all(&lost);
        }
        if !device.is_own() {
            self.restart();
            self.jobs.values().for_each(|job| job.interrupt(lost.of_all()));
            self.lost = Some(lost);
            return;
        }
        let other = match device.request_again().await {
            Ok(other) => self.continue_on(&other).await,
            Err(e) => Err(e.into()),
        };
        if let Err(e) = other {
            self.fail_all(&e);
        }
    }

    /// Puts the model on another device, where all answers continue from their tokens. After an error everything is
    /// as before.
    async fn continue_on(&mut self, device: &Device) -> Result<(), Error> {
        let runner = self.core.runner_on(device).await?;
        self.restart();
        self.core.continue_on(runner);
        self.lost = None;
        Ok(())
    }

    /// Lets all answers wait to begin again, without any state on a GPU.
    fn restart(&mut self) {
        self.core.scheduler().restart();
        self.forget_passes();
    }

    /// Ends all answers.
    fn fail_all(&mut self, error: &Error) {
        self.core.scheduler().reset();
        self.forget_passes();
        // The next request may be one that no device is lost by.
        self.losses_in_a_row = 0;
        for (_, job) in std::mem::take(&mut self.jobs) {
            job.fail(error.of_all());
        }
    }

    fn forget_passes(&mut self) {
        self.core.step_is_submitted();
        self.in_flight.clear();
        self.readbacks.clear();
        self.next_readback = 0;
    }

    /// Index of a readback buffer that is not in flight.
    async fn free_readback(&mut self) -> Result<usize, Error> {
        if self.readbacks.len() < self.core.read_ahead as usize + 2 {
            let runner = self.core.runner();
            let slots = runner.state.n_slots as usize;
            self.readbacks.push(runner.device.readback_for::<u32>(slots).await?);
            return Ok(self.readbacks.len() - 1);
        }
        self.next_readback = (self.next_readback + 1) % self.readbacks.len();
        Ok(self.next_readback)
    }
}
