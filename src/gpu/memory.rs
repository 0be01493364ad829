//! Size of an adapter's memory, which WebGPU itself does not report.

/// Bytes that all buffers of the adapter can have together; `None` if unknown.
///
/// On Vulkan these are the device-local heaps; on an integrated GPU all heaps, since its buffers are in
/// the system's memory. For a software adapter it is the available memory of the system.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn of_adapter(adapter: &wgpu::Adapter) -> Option<u64> {
    match adapter.get_info().device_type {
        wgpu::DeviceType::Cpu => system(),
        kind => vulkan(adapter, kind == wgpu::DeviceType::IntegratedGpu),
    }
}

#[cfg(target_arch = "wasm32")]
pub(super) fn of_adapter(_: &wgpu::Adapter) -> Option<u64> {
    None
}

#[cfg(not(any(target_vendor = "apple", target_arch = "wasm32")))]
fn vulkan(adapter: &wgpu::Adapter, all_heaps: bool) -> Option<u64> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT`.
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: the handles are used for one read-only query while the adapter exists.
    #[allow(unsafe_code)]
    unsafe {
        let hal = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = hal.shared_instance().raw_instance();
        let properties = instance.get_physical_device_memory_properties(hal.raw_physical_device());
        let heaps = properties.memory_heaps.iter().take(properties.memory_heap_count as usize);
        let fitting = heaps.filter(|h| all_heaps || h.flags.as_raw() & DEVICE_LOCAL != 0);
        let bytes: u64 = fitting.map(|h| h.size).sum();
        (bytes > 0).then_some(bytes)
    }
}

#[cfg(target_vendor = "apple")]
fn vulkan(_: &wgpu::Adapter, _: bool) -> Option<u64> {
    None
}

/// Available bytes of the system's memory.
#[cfg(target_os = "linux")]
fn system() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(not(any(target_os = "linux", target_arch = "wasm32")))]
fn system() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_has_memory() {
        let bytes = super::system().unwrap();
        assert!(bytes > 64 << 20 && bytes < 1 << 50, "{bytes}");
    }
}
