//! What kernels may use on a device: optional features and limits.

/// Capabilities of a device, from its own features and limits and from nothing else.
///
/// Kernels choose their variant by this; [`Caps::core`] is what every WebGPU device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caps {
    /// `shader-f16`: native half-precision loads and arithmetic.
    pub f16: bool,
    /// Subgroup operations in compute shaders.
    pub subgroups: bool,
    /// Fewest lanes that a subgroup has; 0 without subgroups.
    pub min_subgroup: u32,
    /// Timestamps around a compute pass.
    pub timestamps: bool,
    /// A software adapter: runs shaders on the CPU's cores.
    pub software: bool,
    /// Storage buffers per shader stage.
    pub max_storage_buffers: u32,
    /// Bytes in one storage binding.
    pub max_binding: u64,
    /// Bytes in one buffer.
    pub max_buffer: u64,
    /// Bytes of workgroup memory.
    pub max_workgroup_memory: u32,
    /// Invocations in a workgroup.
    pub max_invocations: u32,
    /// Workgroups per grid dimension.
    pub max_workgroups: u32,
}

/// The optional features the engine asks an adapter for. This is the only list of them.
pub(super) const WANTED_FEATURES: wgpu::Features = wgpu::Features::SHADER_F16
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::TIMESTAMP_QUERY)
    .union(wgpu::Features::PIPELINE_CACHE);

/// Whether compiled pipelines can be had of `device`, to be kept for its next start.
pub(super) fn hands_out_pipelines(device: &wgpu::Device) -> bool {
    device.features().contains(wgpu::Features::PIPELINE_CACHE)
}

impl Caps {
    /// WebGPU's default limits and no optional feature
    /// (<https://www.w3.org/TR/webgpu/#limit-default>).
    #[must_use]
    pub const fn core() -> Self {
        Self {
            f16: false,
            subgroups: false,
            min_subgroup: 0,
            timestamps: false,
            software: false,
            max_storage_buffers: 8,
            max_binding: 128 << 20,
            max_buffer: 256 << 20,
            max_workgroup_memory: 16 << 10,
            max_invocations: 256,
            max_workgroups: 65_535,
        }
    }

    /// What `device` was made with.
    pub(super) fn of_device(device: &wgpu::Device) -> Self {
        Self::new(device.features(), &device.limits(), &device.adapter_info())
    }

    /// All that `adapter` has.
    pub(super) fn of_adapter(adapter: &wgpu::Adapter) -> Self {
        Self::new(adapter.features(), &adapter.limits(), &adapter.get_info())
    }

    fn new(features: wgpu::Features, limits: &wgpu::Limits, info: &wgpu::AdapterInfo) -> Self {
        let subgroups = features.contains(wgpu::Features::SUBGROUP);
        Self {
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups,
            min_subgroup: if subgroups { info.subgroup_min_size } else { 0 },
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            software: info.device_type == wgpu::DeviceType::Cpu,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            max_workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
        }
    }

    /// Bytes that one tensor part may have: it must fit a buffer and a binding.
    #[must_use]
    pub fn max_part(&self) -> u64 {
        self.max_binding.min(self.max_buffer)
    }
}
