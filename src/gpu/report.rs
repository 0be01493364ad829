//! Description of an adapter.

use super::Caps;

/// Description of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterReport {
    /// Position in [`adapters`](super::adapters).
    pub index: usize,
    /// Marketing name.
    pub name: String,
    /// `Vulkan`, `Metal`, `DX12` or `WebGPU`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// Driver and its version.
    pub driver: String,
    /// Features that the engine uses if they are available.
    pub features: Vec<&'static str>,
    /// Capabilities at the adapter's own limits.
    pub caps: Caps,
    /// Bytes of memory, if the driver reports them.
    pub memory: Option<u64>,
}

impl AdapterReport {
    /// Whether shaders run on the CPU's cores.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.caps.software
    }

    pub(super) fn new(
        index: usize,
        info: &wgpu::AdapterInfo,
        caps: Caps,
        memory: Option<u64>,
    ) -> Self {
        let mut features = Vec::new();
        for (has, name) in [
            (caps.f16, "f16"),
            (caps.subgroups, "subgroups"),
            (caps.coop_side > 0, "cooperative matrices"),
            (caps.timestamps, "timestamps"),
        ] {
            if has {
                features.push(name);
            }
        }
        Self {
            index,
            name: info.name.clone(),
            backend: backend_name(info.backend).to_owned(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => "discrete",
                wgpu::DeviceType::IntegratedGpu => "integrated",
                wgpu::DeviceType::VirtualGpu => "virtual",
                wgpu::DeviceType::Cpu => "software",
                wgpu::DeviceType::Other => "other",
            },
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            features,
            caps,
            memory,
        }
    }
}

fn backend_name(backend: wgpu::Backend) -> &'static str {
    match backend {
        wgpu::Backend::Vulkan => "Vulkan",
        wgpu::Backend::Metal => "Metal",
        wgpu::Backend::Dx12 => "DX12",
        wgpu::Backend::BrowserWebGpu => "WebGPU",
        wgpu::Backend::Gl => "GL",
        wgpu::Backend::Noop => "noop",
    }
}
