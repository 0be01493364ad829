//! Time on the GPU by kernel, where the device has timestamp queries.

use super::{Context, GpuError, Plan, StepShape};

/// Most timestamps of a query set (WebGPU, `GPUQuerySet`).
const MAX_QUERIES: u32 = 4096;

/// What one kernel cost in one replay of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The kernel's variant.
    pub kernel: String,
    /// Dispatches of it.
    pub calls: u32,
    /// Seconds for all of them together.
    pub seconds: f64,
    /// Bytes of weights that they read.
    pub weight_bytes: f64,
}

impl Context {
    /// Replays `plan` once with timestamps around every dispatch, and sums the times by variant,
    /// the longest first. `None` if the device has no timestamp queries. A pass each, so that
    /// kernels do not overlap: the sum is an upper bound of the time of a replay.
    ///
    /// # Errors
    /// [`GpuError::DeviceLost`], [`GpuError::OutOfMemory`].
    pub async fn profile(
        &self,
        plan: &Plan,
        shape: &StepShape,
    ) -> Result<Option<Vec<KernelTime>>, GpuError> {
        let labels: Vec<(&str, f64)> = plan.labels(shape).collect();
        let queries = 2 * labels.len() as u32;
        if !self.caps().timestamps || queries > MAX_QUERIES || queries == 0 {
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
                (set, resolved)
            })
            .await?;
        let target = self.readback(bytes).await?;
        let mut encoder = self.encoder();
        encoder.replay_timed(plan, shape, &set, &resolved, &target);
        let submission = encoder.submit();
        let words: Vec<u32> = target.read(Some(&submission)).await?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&words);
        let period = f64::from(self.inner.queue.get_timestamp_period()) * 1e-9;
        let mut times: Vec<KernelTime> = Vec::new();
        for ((label, weight_bytes), pair) in labels.into_iter().zip(ticks.chunks_exact(2)) {
            let seconds = pair[1].saturating_sub(pair[0]) as f64 * period;
            match times.iter_mut().find(|t| t.kernel == label) {
                Some(t) => {
                    t.calls += 1;
                    t.seconds += seconds;
                    t.weight_bytes += weight_bytes;
                }
                None => times.push(KernelTime {
                    kernel: label.to_owned(),
                    calls: 1,
                    seconds,
                    weight_bytes,
                }),
            }
        }
        times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(Some(times))
    }
}
