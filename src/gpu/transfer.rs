//! Transfers to the GPU and back.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use super::tensor::Memory;
use super::{Device, Element, GpuError, Tensor};

/// Bytes of a piece of an upload: uploads are cut into pieces, so that staging memory stays bounded.
const UPLOAD_PIECE: usize = 16 << 20;

/// A submission that the driver has received.
#[derive(Clone, Debug)]
pub struct Submission(
    // A browser can only wait for all work submitted so far.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code))] pub(super) wgpu::SubmissionIndex,
);

impl Device {
    /// Writes `data` to `tensor` from element `at` on, before any later submission.
    pub fn write<T: Element>(&self, tensor: &Tensor<T>, at: usize, data: &[T]) {
        self.write_bytes(tensor, at, bytemuck::cast_slice(data));
    }

    /// Writes bytes, a multiple of 4, to `tensor` from element `at` on.
    pub fn write_bytes<T: Element>(&self, tensor: &Tensor<T>, at: usize, bytes: &[u8]) {
        if !self.has_memory() {
            return;
        }
        let mut offset = (at * size_of::<T>()) as u64;
        for piece in bytes.chunks(UPLOAD_PIECE) {
            let write = || self.inner.queue.write_buffer(&tensor.memory.buffer, offset, piece);
            self.guard_now("an upload", write);
            offset += piece.len() as u64;
            if bytes.len() > UPLOAD_PIECE {
                self.flush_uploads();
            }
        }
    }

    /// Submits the uploads so far. Their staging memory is freed when the driver has finished them.
    pub fn submit_uploads(&self) -> Submission {
        Submission(self.guard_now("uploads", || self.inner.queue.submit([])))
    }

    /// Submits the uploads so far and, natively, waits until their staging memory is free.
    pub fn flush_uploads(&self) {
        let submission = self.submit_uploads();
        #[cfg(not(target_arch = "wasm32"))]
        self.poll(Some(&submission));
        #[cfg(target_arch = "wasm32")]
        let _ = submission;
    }

    /// Waits until `submission` (or all work) has finished, and runs callbacks.
    #[cfg(not(target_arch = "wasm32"))]
    fn poll(&self, submission: Option<&Submission>) {
        let submission_index = submission.map(|s| s.0.clone());
        if let Err(e) =
            self.inner.device.poll(wgpu::PollType::Wait { submission_index, timeout: None })
        {
            // The map callback or the device-lost callback reports the error.
            log::debug!("poll: {e}");
        }
    }

    /// A buffer that the CPU can read.
    pub(super) async fn readback(&self, bytes: u64) -> Result<Readback, GpuError> {
        let buffer = self
            .guard("readback", bytes, || {
                self.inner.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("readback"),
                    size: bytes.max(4),
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            })
            .await?;
        let memory = Memory::new(buffer, &self.inner.ledger);
        Ok(Readback { device: self.clone(), memory, bytes: bytes.max(4) })
    }

    /// A buffer that the CPU can read, for `len` elements of `T`.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`].
    pub async fn readback_for<T: Element>(&self, len: usize) -> Result<Readback, GpuError> {
        self.readback((len * size_of::<T>()) as u64).await
    }

    /// Reads a whole tensor. For tests, probes and `logits` only, never inside a forward pass.
    ///
    /// # Errors
    /// [`GpuError::DeviceLost`], [`GpuError::OutOfMemory`].
    pub async fn read<T: Element>(&self, tensor: &Tensor<T>) -> Result<Vec<T>, GpuError> {
        self.read_range(tensor, 0, tensor.len()).await
    }

    /// Reads `len` elements from element `from` on.
    ///
    /// # Errors
    /// As [`Device::read`].
    pub async fn read_range<T: Element>(
        &self,
        tensor: &Tensor<T>,
        from: usize,
        len: usize,
    ) -> Result<Vec<T>, GpuError> {
        let target = self.readback_for::<T>(len).await?;
        let mut encoder = self.encoder();
        encoder.copy_back(tensor, from, &target);
        let submission = encoder.submit();
        let mut values = target.read(Some(&submission)).await?;
        values.truncate(len);
        Ok(values)
    }

    /// Waits until `submission` has finished.
    ///
    /// # Errors
    /// [`GpuError::DeviceLost`].
    pub async fn wait_for(&self, submission: &Submission) -> Result<(), GpuError> {
        #[cfg(not(target_arch = "wasm32"))]
        {
            self.poll(Some(submission));
            // On a lost device the wait ends at once, without the callback that reports the loss.
            let _ = self.inner.device.poll(wgpu::PollType::Poll);
        }
        #[cfg(target_arch = "wasm32")]
        {
            let _ = submission;
            let shared = Arc::new(Mutex::new(Shared::default()));
            let done = shared.clone();
            self.inner.queue.on_submitted_work_done(move || resolve(&done, Ok(())));
            let _ = Mapped { shared }.await;
        }
        self.check()
    }
}

/// A reusable buffer that the CPU can read.
pub struct Readback {
    device: Device,
    pub(super) memory: Arc<Memory>,
    pub(super) bytes: u64,
}

impl Readback {
    /// Waits for `submission` (or for all work) and returns the content.
    ///
    /// # Errors
    /// [`GpuError::DeviceLost`] if the buffer could not be mapped.
    pub async fn read<T: Element>(
        &self,
        submission: Option<&Submission>,
    ) -> Result<Vec<T>, GpuError> {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let done = shared.clone();
        let map = || {
            self.memory
                .buffer
                .map_async(wgpu::MapMode::Read, .., move |result| resolve(&done, result));
        };
        let mapping = self.device.guard("reading back", self.bytes, map).await;
        mapping.map_err(|e| self.device.loss_or(e))?;
        #[cfg(not(target_arch = "wasm32"))]
        self.device.poll(submission);
        #[cfg(target_arch = "wasm32")]
        let _ = submission;
        let lost = |reason: String| GpuError::DeviceLost { reason };
        if let Err(e) = (Mapped { shared }).await {
            self.device.check()?;
            return Err(lost(format!("reading back failed: {e}")));
        }
        let values = {
            let view = self.memory.buffer.get_mapped_range(..).map_err(|e| lost(e.to_string()))?;
            bytemuck::pod_collect_to_vec(&view[..self.bytes as usize])
        };
        self.memory.buffer.unmap();
        Ok(values)
    }
}

#[derive(Default)]
struct Shared {
    result: Option<Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

fn resolve(shared: &Mutex<Shared>, result: Result<(), wgpu::BufferAsyncError>) {
    let mut s = shared.lock().unwrap_or_else(PoisonError::into_inner);
    s.result = Some(result);
    if let Some(waker) = s.waker.take() {
        waker.wake();
    }
}

/// Ready when the map callback has run. Natively the preceding poll has already run it.
struct Mapped {
    shared: Arc<Mutex<Shared>>,
}

impl Future for Mapped {
    type Output = Result<(), wgpu::BufferAsyncError>;
    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let mut s = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match s.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                s.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
