//! GPU time by kernel, on devices with timestamp queries.

use super::tensor::Memory;
use super::{Device, GpuError, Plan, StepShape};

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
    /// Seconds of an empty timed pass: about the time that measuring adds to each call.
    pub empty_pass: f64,
    /// Number of replays. Times are medians over them.
    pub replays: usize,
}

impl Device {
    /// Replays `plan` with timestamps around every dispatch and sums the median times by variant. It
    /// continues while `goes_on`, called with the number of replays so far, returns true. `None` if the
    /// device has no timestamp queries. Each dispatch is a pass of its own, so kernels do not overlap and
    /// the sum is an upper bound of the time of a replay.
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
        let queries = 2 * (labels.len() as u32 + 1);
        if !self.caps().timestamps || queries > MAX_QUERIES || labels.is_empty() {
            return Ok(None);
        }
        let bytes = 8 * u64::from(queries);
        let (set, resolved) = self
            .guard("timestamps", bytes, || {
                let device = &self.inner.device;
                let set = device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: queries,
                });
                let resolved = device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("timestamps"),
                    size: bytes,
                    usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                    mapped_at_creation: false,
                });
                (set, Memory::new(resolved, &self.inner.ledger))
            })
            .await?;
        let target = self.readback(bytes).await?;
        let period = f64::from(self.inner.queue.get_timestamp_period()) * 1e-9;
        // By dispatch, then by replay.
        let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); labels.len() + 1];
        let mut replays = 0;
        while replays == 0 || goes_on(replays) {
            let mut encoder = self.encoder();
            encoder.replay_timed(plan, shape, &set, &resolved.buffer, &target);
            let submission = encoder.submit();
            let words: Vec<u32> = target.read(Some(&submission)).await?;
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&words);
            for (all, pair) in seconds.iter_mut().zip(ticks.chunks_exact(2)) {
                all.push(pair[1].saturating_sub(pair[0]) as f64 * period);
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
        Ok(Some(Profile { kernels, empty_pass, replays }))
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
