//! Inputs that are files: one, or several as `head` prints them:
//!
//! ```text
//! ==> config.json <==
//! {...}
//! ==> model.safetensors <==
//! ...
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use lfm2_wgpu::formats::source::SourceError;
use lfm2_wgpu::formats::{ByteSource, BytesSource, ModelFiles};

/// The files of an input. An input without a heading is the file `default`.
pub fn split<'a>(input: &'a [u8], default: &'a str) -> Vec<(&'a str, &'a [u8])> {
    let mut files = Vec::new();
    let mut rest = input;
    while let Some((name, after)) = heading(rest) {
        let end = after.windows(5).position(|w| w == b"\n==> ").unwrap_or(after.len());
        files.push((name, &after[..end]));
        rest = after.get(end + 1..).unwrap_or_default();
    }
    if files.is_empty() {
        files.push((default, input));
    }
    files
}

/// The name in `==> NAME <==` at the beginning, and the text after that line.
fn heading(text: &[u8]) -> Option<(&str, &[u8])> {
    let text = text.strip_prefix(b"==> ")?;
    let line = text.iter().take(300).position(|byte| *byte == b'\n')?;
    let name = std::str::from_utf8(text[..line].strip_suffix(b" <==")?).ok()?;
    // Errors repeat the caller's file name, so the caller must keep it on one line.
    (!name.contains(char::is_control)).then_some((name, &text[line + 1..]))
}

/// The file with that name, if there is one.
pub fn find<'a>(files: &[(&str, &'a [u8])], name: &str) -> Option<&'a [u8]> {
    files.iter().find(|file| file.0 == name).map(|file| file.1)
}

/// Makes them the files of a model.
pub fn table(files: &[(&str, &[u8])]) -> Arc<ModelFiles> {
    table_of(files.iter().map(|(name, bytes)| {
        let source = BytesSource::shared(format!("dir/{name}"), Arc::from(*bytes));
        ((*name).to_owned(), Arc::new(source) as Arc<dyn ByteSource>)
    }))
}

/// Makes them the files of a model.
pub fn table_of(files: impl IntoIterator<Item = (String, Arc<dyn ByteSource>)>) -> Arc<ModelFiles> {
    Arc::new(ModelFiles::from_sources("dir", files))
}

/// A file of any length that is zero after its first bytes, for valid headers of files of gigabytes.
#[derive(Debug)]
pub struct Sparse {
    /// The file's name in errors.
    pub name: String,
    /// Its first bytes; may be longer than the file.
    pub start: Vec<u8>,
    /// Its length.
    pub len: u64,
    /// Bytes that may still be read, so that reading a terabyte of zeros does not take too long.
    pub left: AtomicU64,
}

impl Sparse {
    /// A file that begins with these bytes.
    pub fn new(name: &str, start: Vec<u8>, len: u64) -> Arc<dyn ByteSource> {
        let (name, left) = (format!("dir/{name}"), AtomicU64::new(64 << 20));
        Arc::new(Self { name, start, len, left })
    }
}

impl ByteSource for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn read_blocking(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        let wanted = buf.len() as u64;
        let left = self.left.load(Relaxed).checked_sub(wanted);
        self.left.store(left.unwrap_or(0), Relaxed);
        if left.is_none() {
            let (file, len) = (self.name.clone(), self.len);
            return Err(SourceError::OutOfRange { file, offset, wanted, len });
        }
        buf.fill(0);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = self.start.get(start..).unwrap_or_default();
        let n = there.len().min(buf.len());
        buf[..n].copy_from_slice(&there[..n]);
        Ok(())
    }
}
