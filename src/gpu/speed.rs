//! Copy speed of a device's memory.

use web_time::Instant;

use super::{Device, GpuError, Submission};

/// Bytes of a copy: more than most caches hold.
const BYTES: u64 = 64 << 20;
/// Copies of a submission, so that the cost of the submission itself is small.
const COPIES: usize = 8;

impl Device {
    /// Bytes that a copy within the device's memory reads and writes in a second.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`], [`GpuError::DeviceLost`].
    pub async fn copy_speed(&self) -> Result<f64, GpuError> {
        let bytes = BYTES.min(self.caps().max_part());
        let words = (bytes / 4) as usize;
        let from = self.tensor::<u32>("copied from", words).await?;
        let to = self.tensor::<u32>("copied to", words).await?;
        let mut least = f64::INFINITY;
        // The first round also fills both buffers with zeros.
        for _ in 0..3 {
            let device = &self.inner.device;
            let started = Instant::now();
            let mut encoder = device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("copies") });
            for _ in 0..COPIES {
                encoder.copy_buffer_to_buffer(from.buffer(), 0, to.buffer(), 0, bytes);
            }
            let submission = Submission(self.inner.queue.submit([encoder.finish()]));
            self.wait_for(&submission).await?;
            least = least.min(started.elapsed().as_secs_f64());
        }
        Ok((2 * bytes * COPIES as u64) as f64 / least.max(1e-9))
    }
}
