//! Capabilities of a device: the optional features and limits that kernels may use.

/// Capabilities of a device, taken only from its features and limits.
///
/// They determine the variants of kernels. Every WebGPU device has at least [`Caps::core`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caps {
    /// `shader-f16`: native half-precision loads and arithmetic.
    pub f16: bool,
    /// Subgroup operations in compute shaders.
    pub subgroups: bool,
    /// Fewest lanes that a subgroup has; 0 without subgroups.
    pub min_subgroup: u32,
    /// Most lanes that a subgroup has; 0 without subgroups.
    pub max_subgroup: u32,
    /// Rows and columns of the cooperative matrices, f16 with sums in f32, that kernels may use: 8 or 16.
    /// 0 without them, and for a device of a host application, since a device does not report them.
    pub coop_side: u32,
    /// Timestamps around a compute pass.
    pub timestamps: bool,
    /// Whether the adapter is a software one, which runs shaders on the CPU's cores.
    pub software: bool,
    /// Most storage buffers of a shader stage.
    pub max_storage_buffers: u32,
    /// Most bytes of a storage binding.
    pub max_binding: u64,
    /// Most bytes of a buffer.
    pub max_buffer: u64,
    /// Most bytes of workgroup memory.
    pub max_workgroup_memory: u32,
    /// Most invocations of a workgroup.
    pub max_invocations: u32,
    /// Most workgroups in a dimension of a grid.
    pub max_workgroups: u32,
}

/// The optional features the engine asks an adapter for. This is the only list of them.
pub(super) const WANTED_FEATURES: wgpu::Features = wgpu::Features::SHADER_F16
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::TIMESTAMP_QUERY)
    .union(wgpu::Features::PIPELINE_CACHE)
    .union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);

/// The most storage buffers that a kernel binds: one more than WebGPU grants, in products of a single row with LoRA
/// adapters. Other kernels serve devices that have fewer.
const WANTED_BUFFERS: u32 = 9;

/// Fewest and most lanes of a subgroup in WebGPU, for browsers without these attributes, which wgpu reports as 0.
/// Kernels have room for the results of a quarter as many subgroups as lanes, so they need the fewest.
/// Source: <https://www.w3.org/TR/webgpu/#gpuadapterinfo>
const SUBGROUP_SIZES: (u32, u32) = (4, 128);

/// Most bytes of a binding: sizes in shaders have 32 bits. On Metal, where wgpu 30 allows more, an index beyond them
/// would be clamped to the last element that they can name.
const MOST_BINDING: u64 = (4 << 30) - 256;

/// The limits that the engine requests of an adapter with the limits `have`.
pub(super) fn wanted_limits(have: &wgpu::Limits) -> wgpu::Limits {
    let buffers = have.max_storage_buffers_per_shader_stage;
    wgpu::Limits {
        max_storage_buffers_per_shader_stage: buffers.min(WANTED_BUFFERS),
        max_storage_buffer_binding_size: have.max_storage_buffer_binding_size,
        max_buffer_size: have.max_buffer_size,
        max_compute_workgroup_storage_size: have.max_compute_workgroup_storage_size,
        ..wgpu::Limits::defaults()
    }
}

/// Whether `device` exports compiled pipelines, so that a later start can reuse them.
pub(super) fn exports_pipelines(device: &wgpu::Device) -> bool {
    device.features().contains(wgpu::Features::PIPELINE_CACHE)
}

/// wgpu's permission for the experimental features among `features`.
#[allow(unsafe_code)]
pub(super) fn experimental(features: wgpu::Features) -> wgpu::ExperimentalFeatures {
    if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        // SAFETY: wgpu requires this because its checks of experimental features may be incomplete. Only the
        // kernels `matmul_coop` and `flash_attention_coop` use one: they load and store whole matrices inside
        // their own tiles in workgroup memory. The self-test compares their results with their twins' on
        // every adapter. naga 30 declares Vulkan's memory model for them, but does not mark memory as shared between
        // invocations (https://github.com/gfx-rs/wgpu/issues/8805). An H100's driver and lavapipe give right results.
        unsafe { wgpu::ExperimentalFeatures::enabled() }
    } else {
        wgpu::ExperimentalFeatures::disabled()
    }
}

/// Features of a browser's device that wgpu does not report, since it never queries browsers for them.
#[cfg(target_arch = "wasm32")]
fn unreported_features(device: &wgpu::Device) -> wgpu::Features {
    let has = |name| device.as_webgpu().is_some_and(|device| device.features().has(name));
    if has("subgroups") { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() }
}

#[cfg(not(target_arch = "wasm32"))]
fn unreported_features(_: &wgpu::Device) -> wgpu::Features {
    wgpu::Features::empty()
}

impl Caps {
    /// Every optional capability that kernels use, as a large GPU has them.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            f16: true,
            subgroups: true,
            min_subgroup: 32,
            max_subgroup: 32,
            coop_side: 16,
            max_workgroup_memory: 48 << 10,
            max_storage_buffers: WANTED_BUFFERS,
            ..Self::core()
        }
    }

    /// WebGPU's default limits and no optional feature
    /// (<https://www.w3.org/TR/webgpu/#limit-default>).
    #[must_use]
    pub const fn core() -> Self {
        Self {
            f16: false,
            subgroups: false,
            min_subgroup: 0,
            max_subgroup: 0,
            coop_side: 0,
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

    /// The capabilities that `device` was made with.
    pub(super) fn of_device(device: &wgpu::Device) -> Self {
        let features = device.features() | unreported_features(device);
        Self::new(features, &device.limits(), &device.adapter_info())
    }

    /// All capabilities of `adapter`.
    pub(super) fn of_adapter(adapter: &wgpu::Adapter) -> Self {
        Self::new(adapter.features(), &adapter.limits(), &adapter.get_info())
            .with_cooperative_matrices(adapter)
    }

    /// The same with the cooperative matrices of the device's adapter, since a device does not report their
    /// sizes.
    #[must_use]
    pub(super) fn with_cooperative_matrices(self, adapter: &wgpu::Adapter) -> Self {
        use wgpu::CooperativeScalarType::{F16, F32};
        let square = |p: &wgpu::CooperativeMatrixProperties| {
            (p.m_size == p.n_size && p.n_size == p.k_size && (p.ab_type, p.cr_type) == (F16, F32))
                .then_some(p.m_size)
        };
        let sides = adapter.cooperative_matrix_properties();
        let coop_side = sides.iter().filter_map(square).filter(|s| matches!(s, 8 | 16)).max();
        Self { coop_side: coop_side.unwrap_or(0), ..self }
    }

    fn new(features: wgpu::Features, limits: &wgpu::Limits, info: &wgpu::AdapterInfo) -> Self {
        let size = |reported, bound| if reported == 0 { bound } else { reported };
        let min_subgroup = size(info.subgroup_min_size, SUBGROUP_SIZES.0);
        let max_subgroup = size(info.subgroup_max_size, SUBGROUP_SIZES.1);
        let subgroups =
            features.contains(wgpu::Features::SUBGROUP) && min_subgroup >= SUBGROUP_SIZES.0;
        Self {
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups,
            min_subgroup: if subgroups { min_subgroup } else { 0 },
            max_subgroup: if subgroups { max_subgroup } else { 0 },
            coop_side: 0,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            software: info.device_type == wgpu::DeviceType::Cpu,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_binding: limits.max_storage_buffer_binding_size.min(MOST_BINDING),
            max_buffer: limits.max_buffer_size,
            max_workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
        }
    }

    /// Most bytes of one part of a matrix: it must fit a buffer and a binding.
    #[must_use]
    pub fn max_part(&self) -> u64 {
        self.max_binding.min(self.max_buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(min: u32, max: u32, limits: &wgpu::Limits) -> Caps {
        let info = wgpu::AdapterInfo {
            subgroup_min_size: min,
            subgroup_max_size: max,
            ..wgpu::AdapterInfo::new(wgpu::DeviceType::IntegratedGpu, wgpu::Backend::Metal)
        };
        Caps::new(wgpu::Features::SUBGROUP, limits, &info)
    }

    #[test]
    fn subgroups_have_the_sizes_that_kernels_allow_for() {
        let of = |min, max| {
            let caps = caps(min, max, &wgpu::Limits::defaults());
            (caps.subgroups, caps.min_subgroup, caps.max_subgroup)
        };
        assert_eq!(of(8, 32), (true, 8, 32));
        // A browser without the attributes.
        assert_eq!(of(0, 0), (true, 4, 128));
        // The results of more subgroups than the kernels have room for.
        assert_eq!(of(2, 32), (false, 0, 0));
    }

    #[test]
    fn a_binding_has_sizes_of_32_bits() {
        let huge = wgpu::Limits {
            max_storage_buffer_binding_size: 48 << 30,
            max_buffer_size: 48 << 30,
            ..wgpu::Limits::defaults()
        };
        let caps = caps(32, 32, &huge);
        assert!(caps.max_binding < 1 << 32 && caps.max_binding.is_multiple_of(256));
        assert_eq!(caps.max_part(), caps.max_binding);
        assert_eq!(caps.max_buffer, 48 << 30);
    }
}
