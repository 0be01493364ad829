//! Compute pipelines and bind group layouts, kept as long as the device.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};

use super::shader::Declared;

/// Bytes between two dispatches' parameters in a plan's uniform buffer: WebGPU's default
/// `minUniformBufferOffsetAlignment`, which every device accepts.
pub(super) const PARAMS_STRIDE: u64 = 256;

/// Bind group layouts, shared by all kernels.
#[derive(Debug)]
pub(super) struct Layouts {
    /// Group 0 of every kernel: `params` (dynamic offset) and `batch`.
    pub group0: wgpu::BindGroupLayout,
    /// Group 1 by the access of its bindings: for each, whether it is writable.
    group1: Mutex<HashMap<Vec<bool>, wgpu::BindGroupLayout>>,
}

impl Layouts {
    pub fn new(device: &wgpu::Device) -> Self {
        let group0 = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("params and batch"),
            entries: &[
                wgpu::BindGroupLayoutEntry {
                    binding: 0,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Uniform,
                        has_dynamic_offset: true,
                        min_binding_size: NonZeroU64::new(PARAMS_STRIDE),
                    },
                    count: None,
                },
                storage_entry(1, false),
            ],
        });
        Self { group0, group1: Mutex::new(HashMap::new()) }
    }

    pub fn group1(&self, device: &wgpu::Device, declared: &[Declared]) -> wgpu::BindGroupLayout {
        let key: Vec<bool> = declared.iter().map(|d| d.writable).collect();
        let mut known = self.group1.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(key)
            .or_insert_with(|| {
                let entries: Vec<_> = (0..)
                    .zip(declared)
                    .map(|(binding, d)| storage_entry(binding, d.writable))
                    .collect();
                device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                    label: Some("tensors"),
                    entries: &entries,
                })
            })
            .clone()
    }
}

fn storage_entry(binding: u32, writable: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only: !writable },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}

/// A compiled kernel and the layout of its bindings.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub group1: wgpu::BindGroupLayout,
    pub declared: Vec<Declared>,
}
