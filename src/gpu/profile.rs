//! GPU time by kernel, on devices with timestamp queries.

use std::sync::Arc;

use super::tensor::Memory;
use super::{Device, GpuError, Plan, Readback, StepShape, Submission};

/// Most timestamps of a query set (WebGPU, `GPUQuerySet`).
const MAX_QUERIES: u32 = 4096;

/// Cost of one kernel in one replay of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The kernel's variant.
    pub kernel: String,
    /// Number of its dispatches.
    pub calls: u32,
    /// Seconds for all of them together.
    pub seconds: f64,
    /// Bytes of weights that they read.
    pub weight_bytes: f64,
}

/// Costs of the kernels of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// In descending order of time.
    pub kernels: Vec<KernelTime>,
    /// Seconds of a whole replay in one pass, where kernels follow each other as in generation.
    pub whole: f64,
    /// Seconds of an empty timed pass: about the time that measuring adds to each call.
    pub empty_pass: f64,
    /// Number of replays. Times are medians over them.
    pub replays: usize,
}

/// Pairs of timestamps of a submission.
pub(super) struct Timestamps {
    pub set: wgpu::QuerySet,
    pub queries: u32,
    pub resolved: Arc<Memory>,
    pub target: Readback,
    /// Seconds of a tick.
    period: f64,
}

impl Timestamps {
    async fn new(device: &Device, pairs: u32) -> Result<Self, GpuError> {
        let queries = 2 * pairs;
        let bytes = 8 * u64::from(queries);
        let (set, resolved) = device
            .guard("timestamps", bytes, || {
                let inner = &device.inner;
                let set = inner.device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: queries,
                });
                let resolved = inner.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("timestamps"),
                    size: bytes,
                    usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                    mapped_at_creation: false,
                });
                (set, Memory::new(resolved, &inner.ledger))
            })
            .await?;
        let target = device.readback(bytes).await?;
        let period = f64::from(device.inner.queue.get_timestamp_period()) * 1e-9;
        Ok(Self { set, queries, resolved, target, period })
    }

    /// The two timestamps of a pass.
    pub fn pair(&self, index: u32) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(2 * index),
            end_of_pass_write_index: Some(2 * index + 1),
        }
    }

    /// Seconds of each pass.
    async fn read(&self, submission: &Submission) -> Result<Vec<f64>, GpuError> {
        let words: Vec<u32> = self.target.read(Some(submission)).await?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&words);
        let seconds = |pair: &[u64]| pair[1].saturating_sub(pair[0]) as f64 * self.period;
        Ok(ticks.chunks_exact(2).map(seconds).collect())
    }
}

impl Device {
    /// Replays `plan` with timestamps around every dispatch and sums the median times by variant. It
    /// continues while `goes_on`, called with the number of replays so far, returns true. `None` if the
    /// device has no timestamp queries. Each dispatch is a pass of its own, so kernels do not overlap and
    /// the sum is an upper bound of the time of a replay. As many replays in one pass are timed as a whole.
    ///
    /// # Errors
    /// [`GpuError::DeviceLost`], [`GpuError::OutOfMemory`].
    pub async fn profile(
        &self,
        plan: &Plan,
        shape: &StepShape,
        mut goes_on: impl FnMut(usize) -> bool,
    ) -> Result<Option<Profile>, GpuError> {
        let labels: Vec<(&str, f64)> = plan.labels(shape).collect();
        let pairs = labels.len() as u32 + 1;
        if !self.caps().timestamps || 2 * pairs > MAX_QUERIES || labels.is_empty() {
            return Ok(None);
        }
        let (one, each) = (Timestamps::new(self, 1).await?, Timestamps::new(self, pairs).await?);
        let mut whole = Vec::new();
        // By dispatch, then by replay.
        let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); labels.len() + 1];
        let mut replays = 0;
        while replays == 0 || goes_on(replays) {
            let mut encoder = self.encoder();
            encoder.replay_between(plan, shape, &one);
            whole.extend(one.read(&encoder.submit()).await?);
            let mut encoder = self.encoder();
            encoder.replay_timed(plan, shape, &each);
            for (all, took) in seconds.iter_mut().zip(each.read(&encoder.submit()).await?) {
                all.push(took);
            }
            replays += 1;
        }
        let empty_pass = seconds.pop().map_or(0.0, |mut all| median(&mut all));
        let mut kernels: Vec<KernelTime> = Vec::new();
        for ((label, weight_bytes), mut all) in labels.into_iter().zip(seconds) {
            let seconds = median(&mut all);
            match kernels.iter_mut().find(|t| t.kernel == label) {
                Some(t) => {
                    t.calls += 1;
                    t.seconds += seconds;
                    t.weight_bytes += weight_bytes;
                }
                None => kernels.push(KernelTime {
                    kernel: label.to_owned(),
                    calls: 1,
                    seconds,
                    weight_bytes,
                }),
            }
        }
        kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(Some(Profile { kernels, whole: median(&mut whole), empty_pass, replays }))
    }
}

/// The middle value, or the mean of the two middle ones.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n.is_multiple_of(2) => f64::midpoint(values[half - 1], values[half]),
        _ => values[half],
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&mut []), 0.0);
        assert_eq!(median(&mut [3.0]), 3.0);
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [9.0, 1.0, 2.0, 4.0]), 3.0);
    }
}
