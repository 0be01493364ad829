//! What gives the engine its device. wgpu asks `navigator.gpu` for an adapter and that for a device,
//! cannot wrap one, and never asks for subgroups; TypeScript (`web/src/gpu.ts`) lets it find something
//! in the place of `navigator.gpu` that does.

use lfm2_wgpu::gpu::{Device, DeviceOptions};
use lfm2_wgpu::wgpu;
use wasm_bindgen::prelude::*;

/// What `navigator.gpu` is at the moment it is made.
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
    /// A device of the engine's.
    pub async fn own(&self) -> Result<Device, JsValue> {
        Device::request_of(&self.0, &DeviceOptions::default()).await.map_err(super::error)
    }

    /// The page's device, with whatever limits and features it was made with.
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
