//! Saved states, in files that JavaScript writes and reads.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use js_sys::{Function, Promise, Uint8Array};
use lfm2_wgpu::Engine;
use lfm2_wgpu::engine::LoraChoice;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// Saves the state of the longest cached prefix of `tokens`, with a LoRA adapter or the model alone, and returns its length. `write` gets the file's bytes in
/// pieces, and returns a promise: the next piece is read from the GPU when it has resolved.
pub async fn save(
    engine: &Engine,
    (tokens, lora): (&[u32], Option<&LoraChoice>),
    file: &str,
    write: &Function,
) -> Result<usize, JsValue> {
    // The engine writes without waiting. So its work rests while JavaScript writes.
    let piece = RefCell::new(Vec::new());
    let mut put = |bytes: &[u8]| {
        piece.borrow_mut().extend_from_slice(bytes);
        Ok(())
    };
    let mut saving = pin!(engine.save(tokens, lora, file, &mut put));
    loop {
        let saved = poll_fn(|context| match saving.as_mut().poll(context) {
            Poll::Ready(saved) => Poll::Ready(Some(saved)),
            Poll::Pending if !piece.borrow().is_empty() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        let bytes = piece.take();
        if !bytes.is_empty() && !matches!(saved, Some(Err(_))) {
            let bytes = Uint8Array::from(&bytes[..]);
            let written = Promise::resolve(&write.call1(&JsValue::NULL, &bytes.into())?);
            JsFuture::from(written).await?;
        }
        if let Some(saved) = saved {
            return saved.map_err(super::error);
        }
    }
}
