//! A file that JavaScript reads: from the network, the cache or the visitor's disk.

use std::sync::Arc;

use js_sys::{Function, Promise, Reflect, Uint8Array};
use lfm2_wgpu::formats::source::{BoxFuture, check_range};
use lfm2_wgpu::formats::{ByteSource, SourceError};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// Bytes of one read: small compared with TypeScript's chunks in memory, so that most pieces are views of them and
/// not copies that wait for the garbage collector.
const PIECE_BYTES: usize = 1 << 20;

#[derive(Debug)]
struct JsSource {
    name: String,
    len: u64,
    read: Function,
}

/// A file and its plain name.
pub type Named = (String, Arc<dyn ByteSource>);

/// Reads TypeScript's description of a file.
pub fn open(file: JsValue) -> Result<Named, JsValue> {
    let get = |key: &str| Reflect::get(&file, &key.into());
    let name = get("name")?.as_string().ok_or("a file's name must be a string")?;
    let len = get("size")?.as_f64().ok_or("a file's size must be a number")? as u64;
    let read = get("read")?.dyn_into::<Function>().map_err(|_| "a file needs a read function")?;
    let source: Arc<dyn ByteSource> = Arc::new(JsSource { name: name.clone(), len, read });
    Ok((name, source))
}

impl JsSource {
    /// Fills `buf`.
    async fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        let (file, wanted) = (self.name.clone(), buf.len() as u64);
        match self.call(offset, buf.len()).await {
            Ok(bytes) if bytes.length() as usize == buf.len() => {
                bytes.copy_to(buf);
                Ok(())
            }
            Ok(bytes) => Err(SourceError::Truncated {
                file,
                offset,
                wanted,
                expected: self.len,
                actual: offset + u64::from(bytes.length()),
            }),
            Err(thrown) => {
                let reason = match thrown.dyn_ref::<js_sys::Error>() {
                    Some(thrown) => String::from(thrown.message()),
                    None => format!("{thrown:?}"),
                };
                let error = std::io::Error::other(reason);
                Err(SourceError::Io { file, action: "read", error })
            }
        }
    }

    async fn call(&self, offset: u64, length: usize) -> Result<Uint8Array, JsValue> {
        let (offset, length) = (JsValue::from(offset as f64), JsValue::from(length as f64));
        let promise = Promise::resolve(&self.read.call2(&JsValue::NULL, &offset, &length)?);
        JsFuture::from(promise).await?.dyn_into()
    }
}

impl ByteSource for JsSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn read_at<'a>(
        &'a self,
        offset: u64,
        buf: &'a mut [u8],
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            check_range(self, offset, buf.len() as u64)?;
            for (piece, at) in buf.chunks_mut(PIECE_BYTES).zip((offset..).step_by(PIECE_BYTES)) {
                self.read(at, piece).await?;
            }
            Ok(())
        })
    }
}
