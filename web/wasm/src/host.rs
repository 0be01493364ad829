//! Source of the engine's device. wgpu requests an adapter from `navigator.gpu`, and a device from that. It cannot
//! wrap an existing device, and never requests subgroups. So TypeScript (`web/src/gpu.ts`) replaces
//! `navigator.gpu` by an object that does both.

use lfm2_wgpu::gpu::{self, AdapterReport, Device, DeviceOptions};
use lfm2_wgpu::wgpu;
use wasm_bindgen::prelude::*;

/// The value of `navigator.gpu` at the time of creation.
#[wasm_bindgen]
pub struct Gpu(wgpu::Instance);

#[wasm_bindgen]
impl Gpu {
    #[wasm_bindgen(constructor)]
    #[allow(clippy::new_without_default, reason = "JavaScript calls it")]
    pub fn new() -> Self {
        Self(wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle()))
    }
}

impl Gpu {
    /// The adapters of the browser.
    pub async fn adapters(&self) -> Vec<AdapterReport> {
        gpu::adapters_of(&self.0).await
    }

    /// Requests a device for the engine.
    pub async fn own(&self) -> Result<Device, JsValue> {
        Device::request_of(&self.0, &DeviceOptions::default()).await.map_err(super::error)
    }

    /// The page's device, with its limits and features.
    pub async fn pages(&self) -> Result<Device, JsValue> {
        let failed = |e: &dyn std::fmt::Display| JsValue::from(js_sys::Error::new(&e.to_string()));
        let adapter = self.0.request_adapter(&wgpu::RequestAdapterOptions::default()).await;
        let adapter = adapter.map_err(|e| failed(&e))?;
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor::default())
            .await
            .map_err(|e| failed(&e))?;
        Ok(Device::from_wgpu(device, queue))
    }
}
