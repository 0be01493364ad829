//! Typed GPU buffers.

use std::marker::PhantomData;

/// An element type of a GPU tensor: 32-bit words as WGSL sees them.
pub trait Element: bytemuck::Pod + Send + Sync + 'static {}
impl Element for f32 {}
impl Element for u32 {}

/// A GPU buffer of `len` elements. Cloning shares the buffer.
///
/// 16-bit weights travel as `Tensor<u32>`: two values a word, decoded in the shader.
#[derive(Clone, Debug)]
pub struct Tensor<T> {
    pub(super) buffer: wgpu::Buffer,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Tensor<T> {
    pub(super) fn new(buffer: wgpu::Buffer, len: usize) -> Self {
        Self { buffer, len, element: PhantomData }
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
        Binding { name, buffer: self.buffer.clone() }
    }

    /// The buffer itself, for a host app that shares its device with the engine.
    #[must_use]
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

/// A tensor bound to a shader variable by name; the shader's text says whether it is written.
#[derive(Clone, Debug)]
pub struct Binding {
    pub(super) name: &'static str,
    pub(super) buffer: wgpu::Buffer,
}
