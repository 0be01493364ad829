//! Encoding of submissions: replays of plans, and copies.

use std::ops::Range;
use std::sync::atomic::Ordering;

use web_time::Instant;

use super::plan::{Command, workgroups};
use super::profile::Timestamps;
use super::{Device, Element, Plan, Readback, StepShape, Submission, Tensor};

/// Encodes one submission.
pub struct Encoder<'a> {
    device: &'a Device,
    encoder: wgpu::CommandEncoder,
    began: Instant,
    dispatches: u64,
    readback_bytes: u64,
}

impl Device {
    /// Begins a submission.
    #[must_use]
    pub fn encoder(&self) -> Encoder<'_> {
        let began = Instant::now();
        let encoder = self
            .inner
            .device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lfm2-wgpu") });
        Encoder { device: self, encoder, began, dispatches: 0, readback_bytes: 0 }
    }
}

impl Encoder<'_> {
    /// Replays `commands` of a plan for `shape`: in one compute pass, unless the plan has probes.
    pub fn replay(&mut self, plan: &Plan, shape: &StepShape, commands: Range<usize>) {
        let mut rest = &plan.commands[commands];
        while !rest.is_empty() {
            let run =
                rest.iter().position(|s| matches!(s, Command::Probe { .. })).unwrap_or(rest.len());
            let (now, later) = rest.split_at(run);
            self.pass(plan, shape, now, None);
            rest = later;
            if let Some((Command::Probe { source, target, .. }, later)) = rest.split_first() {
                self.encoder.copy_buffer_to_buffer(
                    &source.memory.buffer,
                    0,
                    &target.memory.buffer,
                    0,
                    target.bytes,
                );
                rest = later;
            }
        }
    }

    /// Replays a whole plan.
    pub fn replay_all(&mut self, plan: &Plan, shape: &StepShape) {
        self.replay(plan, shape, 0..plan.commands.len());
    }

    /// Replays a whole plan in one pass with timestamps before and after it.
    pub(super) fn replay_between(&mut self, plan: &Plan, shape: &StepShape, times: &Timestamps) {
        self.pass(plan, shape, &plan.commands, Some(times.pair(0)));
        self.resolve(times);
    }

    /// Replays a whole plan with one pass for each dispatch and timestamps before and after it. An empty
    /// pass at the end measures the cost of a timed pass itself.
    pub(super) fn replay_timed(&mut self, plan: &Plan, shape: &StepShape, times: &Timestamps) {
        let mut pair = 0;
        for command in &plan.commands {
            let Command::Dispatch { grid, .. } = command else { continue };
            if workgroups(grid, shape).is_none() {
                continue;
            }
            self.pass(plan, shape, std::slice::from_ref(command), Some(times.pair(pair)));
            pair += 1;
        }
        self.encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("empty"),
            timestamp_writes: Some(times.pair(pair)),
        });
        self.resolve(times);
    }

    fn resolve(&mut self, times: &Timestamps) {
        let (resolved, target) = (&times.resolved.buffer, &times.target);
        self.encoder.resolve_query_set(&times.set, 0..times.queries, resolved, 0);
        self.encoder.copy_buffer_to_buffer(resolved, 0, &target.memory.buffer, 0, target.bytes);
    }

    fn pass(
        &mut self,
        plan: &Plan,
        shape: &StepShape,
        commands: &[Command],
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) {
        if commands.is_empty() {
            return;
        }
        let mut pass = self.encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("step"),
            timestamp_writes,
        });
        for command in commands {
            let Command::Dispatch { pipeline, group1, params_offset, grid, .. } = command else {
                continue;
            };
            // A dispatch that has no work in this batch is skipped.
            let Some([x, y, z]) = workgroups(grid, shape) else { continue };
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &plan.group0, &[*params_offset]);
            pass.set_bind_group(1, group1, &[]);
            pass.dispatch_workgroups(x, y, z);
            self.dispatches += 1;
        }
    }

    /// Copies elements `from..` of `source` into `target`.
    pub fn copy_back<T: Element>(&mut self, source: &Tensor<T>, from: usize, target: &Readback) {
        let offset = (from * size_of::<T>()) as u64;
        let bytes = target.bytes.min(source.bytes() - offset);
        self.encoder.copy_buffer_to_buffer(
            &source.memory.buffer,
            offset,
            &target.memory.buffer,
            0,
            bytes,
        );
        self.readback_bytes += bytes;
    }

    /// Copies ranges of `source` into `target`, one after another.
    pub fn gather<T: Element>(
        &mut self,
        source: &Tensor<T>,
        ranges: &[Range<usize>],
        target: &Readback,
    ) {
        let b = size_of::<T>() as u64;
        let mut to = 0;
        for range in ranges {
            let bytes = range.len() as u64 * b;
            self.encoder.copy_buffer_to_buffer(
                &source.memory.buffer,
                range.start as u64 * b,
                &target.memory.buffer,
                to,
                bytes,
            );
            to += bytes;
        }
        self.readback_bytes += to;
    }

    /// Copies `len` elements between tensors.
    pub fn copy<T: Element>(
        &mut self,
        (source, from): (&Tensor<T>, usize),
        (target, to): (&Tensor<T>, usize),
        len: usize,
    ) {
        let b = size_of::<T>();
        self.encoder.copy_buffer_to_buffer(
            &source.memory.buffer,
            (from * b) as u64,
            &target.memory.buffer,
            (to * b) as u64,
            (len * b) as u64,
        );
    }

    /// Gives the submission to the driver, which runs it asynchronously.
    pub fn submit(self) -> Submission {
        let inner = &self.device.inner;
        inner.dispatches.fetch_add(self.dispatches, Ordering::Relaxed);
        inner.submissions.fetch_add(1, Ordering::Relaxed);
        inner.readback_bytes.fetch_add(self.readback_bytes, Ordering::Relaxed);
        let finish = || inner.queue.submit([self.encoder.finish()]);
        let submission = Submission(self.device.guard_now("a submission", finish));
        let took = self.began.elapsed().as_nanos() as u64;
        inner.host_nanoseconds.fetch_add(took, Ordering::Relaxed);
        submission
    }
}
