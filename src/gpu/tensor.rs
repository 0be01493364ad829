//! Typed GPU buffers.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An element type of a GPU tensor: 32-bit words as WGSL sees them.
pub trait Element: bytemuck::Pod + Send + Sync + 'static {}
impl Element for f32 {}
impl Element for u32 {}

/// Bytes of a device's buffers: those that exist now, and the most that existed at one time.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    alive: AtomicU64,
    peak: AtomicU64,
}

impl Ledger {
    pub fn alive(&self) -> u64 {
        self.alive.load(Ordering::Relaxed)
    }

    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

/// A buffer of the engine, counted as long as it exists.
#[derive(Debug)]
pub(super) struct Memory {
    pub buffer: wgpu::Buffer,
    bytes: u64,
    ledger: Arc<Ledger>,
}

impl Memory {
    pub fn new(buffer: wgpu::Buffer, ledger: &Arc<Ledger>) -> Arc<Self> {
        let bytes = buffer.size();
        let alive = ledger.alive.fetch_add(bytes, Ordering::Relaxed) + bytes;
        ledger.peak.fetch_max(alive, Ordering::Relaxed);
        Arc::new(Self { buffer, bytes, ledger: ledger.clone() })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.ledger.alive.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A GPU buffer of `len` elements. Clones share the buffer.
///
/// 16-bit weights are a `Tensor<u32>`: two values a word, decoded by the shader.
#[derive(Clone, Debug)]
pub struct Tensor<T> {
    pub(super) memory: Arc<Memory>,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Tensor<T> {
    pub(super) fn new(memory: Arc<Memory>, len: usize) -> Self {
        Self { memory, len, element: PhantomData }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.len * size_of::<T>()) as u64
    }

    /// Binds this tensor to the shader's variable `name`.
    #[must_use]
    pub fn bind(&self, name: &'static str) -> Binding {
        Binding { name, memory: self.memory.clone() }
    }

    /// The buffer itself, for a host application that shares its device with the engine.
    #[must_use]
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.memory.buffer
    }
}

impl Tensor<f32> {
    /// The same buffer as words.
    pub(crate) fn words(&self) -> Tensor<u32> {
        Tensor::new(self.memory.clone(), self.len)
    }
}

/// A tensor bound to a shader variable by name. The shader's text says whether it is written.
#[derive(Clone, Debug)]
pub struct Binding {
    pub(super) name: &'static str,
    pub(super) memory: Arc<Memory>,
}
