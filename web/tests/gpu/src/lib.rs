//! The kernel tests and goldens of tests/it, on a browser's device. gpu.test.mjs calls them.
#![cfg(target_arch = "wasm32")]

#[path = "../../../../tests/it/goldens/checks.rs"]
mod goldens;
#[path = "../../../wasm/src/host.rs"]
#[allow(dead_code, reason = "no test here is on a page's own device")]
mod host;
#[path = "../../../../tests/it/kernels/verdict.rs"]
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;

use goldens::Golden;
use js_sys::{Array, Uint8Array};
use lfm2_wgpu::formats::{ByteSource, BytesSource, ModelFiles};
use lfm2_wgpu::kernels::{Multiply, Reduce};
use lfm2_wgpu::selftest::{check_shard, shards};
use lfm2_wgpu::{Engine, gpu};
use serde_json::json;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(text: &str);
}

/// Prints a panic to the console before it ends the module.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| console_error(&panic.to_string())));
}

/// A browser's GPU.
#[wasm_bindgen]
pub struct Device(gpu::Device);

#[wasm_bindgen]
impl Device {
    /// Requests the device in the same way as the engine.
    pub async fn request(gpu: host::Gpu) -> Result<Device, JsValue> {
        Ok(Self(gpu.own().await?))
    }

    /// The device's capabilities, the kernel variants that it supports, and the parts of the self-test, as JSON.
    pub fn info(&self) -> String {
        json!({
            "features": self.0.adapter().features,
            "variants": verdict::variants(&self.0),
            "parts": shards(&self.0).iter().map(|shard| format!("{shard:?}")).collect::<Vec<_>>(),
        })
        .to_string()
    }

    /// Runs every `step`th check of a part of the self-test, which compares kernel variants with their CPU
    /// references. Returns the number of cases, the variants that ran, and the failures, as JSON.
    pub async fn selftest(&self, part: usize, step: usize) -> Result<String, JsValue> {
        let shard = *shards(&self.0).get(part).ok_or_else(|| error("no such part"))?;
        let checks = check_shard(&self.0, shard, |i| i % step == 0).await.map_err(error)?;
        Ok(json!({
            "cases": checks.len(),
            "ran": verdict::ran(&checks),
            "failures": verdict::failures("the browser's device", &checks),
        })
        .to_string())
    }

    /// Compares a fixture with its golden. `files` has `[name, bytes]` of each file. It runs with the default kernel
    /// choices, or with lanes that share a row, in fewer chunks because their barriers are slow here. Returns the
    /// number of compared values.
    pub async fn golden(&self, name: String, files: Array, share: bool) -> Result<usize, JsValue> {
        let files = contents(&files)?;
        let golden = Golden::of(&name, |file| files.get(file).map(|bytes| bytes.to_vec()));
        let sources = files.into_iter().map(|(file, bytes)| {
            let source = BytesSource::shared(format!("{name}/{file}"), bytes);
            (file, Arc::new(source) as Arc<dyn ByteSource>)
        });
        let builder = Engine::builder().files(ModelFiles::from_sources(&name, sources));
        let reduce = Reduce::shared_rows(self.0.caps());
        let choices = share.then(|| goldens::shared(&self.0, reduce, Multiply::Lanes));
        let engine = goldens::engine(builder, &self.0, choices).await.map_err(error)?;
        let chunks = if share { &[512, 7] } else { golden.chunks() };
        goldens::check(&engine, &golden, chunks).await.map_err(error)
    }
}

/// The files by name.
fn contents(files: &Array) -> Result<HashMap<String, Arc<[u8]>>, JsValue> {
    let pair = |file: JsValue| {
        let file = Array::from(&file);
        let name = file.get(0).as_string().ok_or("a file's name must be a string")?;
        Ok((name, Uint8Array::new(&file.get(1)).to_vec().into()))
    };
    files.iter().map(pair).collect()
}

fn error(e: impl ToString) -> JsValue {
    js_sys::Error::new(&e.to_string()).into()
}
