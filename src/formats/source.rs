//! Sources of bytes: files on disk, memory, and in a browser Blobs or HTTP ranges.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::quote::quoted;

/// `Send` where there are threads (natively); nothing in the browser, whose handles are not
/// `Send`.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSend: Send {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + ?Sized> MaybeSend for T {}
/// `Send` where there are threads (natively); nothing in the browser, whose handles are not
/// `Send`.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSend {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSend for T {}

/// `Sync` natively; nothing in the browser.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSync: Sync {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Sync + ?Sized> MaybeSync for T {}
/// `Sync` natively; nothing in the browser.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSync {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSync for T {}

/// A boxed future, `Send` natively and not necessarily so in the browser.
#[cfg(not(target_arch = "wasm32"))]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A boxed future, `Send` natively and not necessarily so in the browser.
#[cfg(target_arch = "wasm32")]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A file or a piece of memory of known length, read by byte range.
///
/// A source is never memory-mapped. If another program truncates a mapped file, the process is killed; a
/// short read is an error.
pub trait ByteSource: MaybeSend + MaybeSync + fmt::Debug {
    /// Length in bytes at the time of opening.
    fn len(&self) -> u64;

    /// Whether the source has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file's name for error messages.
    fn name(&self) -> &str;

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// By default it checks the range and calls [`read_blocking`](Self::read_blocking). A source that
    /// waits for its bytes without blocking (a browser's) implements this method instead.
    ///
    /// # Errors
    /// [`SourceError::OutOfRange`] if the range is not within [`len`](Self::len),
    /// [`SourceError::Truncated`] if the file has become shorter since it was opened,
    /// [`SourceError::Io`] if the system cannot read it.
    fn read_at<'a>(
        &'a self,
        offset: u64,
        buf: &'a mut [u8],
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            check_range(self, offset, len_u64(buf))?;
            self.read_blocking(offset, buf)
        })
    }

    /// Fills `buf` with the bytes from `offset` on, a range within [`len`](Self::len).
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at). The default, for sources that only read without blocking, always
    /// fails.
    fn read_blocking(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        let (file, action) = (self.name().to_owned(), "read");
        let wanted = len_u64(buf);
        let error = std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            format!("{wanted} bytes at offset {offset} only come without blocking"),
        );
        Err(SourceError::Io { file, action, error })
    }
}

/// An error of opening or reading a file. Every message is one line and names the file.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The operating system's own error.
    #[error("{file}: cannot {action} it: {error}")]
    Io {
        /// The file.
        file: String,
        /// The failed action: "open", "read" or "list".
        action: &'static str,
        /// The system's reason.
        #[source]
        error: std::io::Error,
    },
    /// A required file is missing.
    #[error("{file}: no such file")]
    Missing {
        /// The file.
        file: String,
    },
    /// A symbolic link without its target, as an interrupted download leaves it.
    #[error("{file}: is a link to a file that does not exist, was its download interrupted?")]
    DanglingLink {
        /// The link.
        file: String,
    },
    /// A pipe, device, socket or directory in place of a file. It is not opened: opening a pipe waits for a
    /// writer, and a device may act or never end.
    #[error("{file}: is a {kind}, need a regular file")]
    NotAFile {
        /// The path.
        file: String,
        /// Kind of the special file.
        kind: &'static str,
    },
    /// A file in place of a directory.
    #[error("{path}: is not a directory, need a directory with config.json and the weights")]
    NotADirectory {
        /// The path.
        path: String,
    },
    /// The file became shorter after it was opened.
    #[error(
        "{file}: cut short while in use: {wanted} bytes at offset {offset} were wanted, the file had {expected} bytes when opened and now ends at {actual}"
    )]
    Truncated {
        /// The file.
        file: String,
        /// First byte of the read.
        offset: u64,
        /// Length of the read.
        wanted: u64,
        /// Length at open.
        expected: u64,
        /// Present length.
        actual: u64,
    },
    /// A read beyond the end, caused by a false header or a caller's mistake.
    #[error("{file}: {wanted} bytes at offset {offset} were wanted, the file has {len}")]
    OutOfRange {
        /// The file.
        file: String,
        /// First byte of the read.
        offset: u64,
        /// Length of the read.
        wanted: u64,
        /// Length of the file.
        len: u64,
    },
    /// A configuration or tokenizer file that is too long.
    #[error("{file}: is {len} bytes long, a file of this kind has at most {max}")]
    TooLarge {
        /// The file.
        file: String,
        /// Its length in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// A file name in another file that is not a plain name.
    #[error(
        "{}: is not a plain file name, need a name in the same directory without '/', '\\', ':' or '..'",
        quoted(name)
    )]
    BadName {
        /// The name as written.
        name: String,
    },
}

/// Length of a slice as a `u64`. The conversion never fails, because `usize` has at most 64 bits.
pub(crate) fn len_u64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Refuses a range that is not within the source.
///
/// # Errors
/// [`SourceError::OutOfRange`].
pub fn check_range<S: ByteSource + ?Sized>(
    source: &S,
    offset: u64,
    wanted: u64,
) -> Result<(), SourceError> {
    match offset.checked_add(wanted) {
        Some(end) if end <= source.len() => Ok(()),
        _ => Err(SourceError::OutOfRange {
            file: source.name().to_owned(),
            offset,
            wanted,
            len: source.len(),
        }),
    }
}

/// Reads a small file completely.
///
/// # Errors
/// [`SourceError::TooLarge`] if it is longer than `max_bytes` (checked before any allocation), and the errors
/// of [`ByteSource::read_at`].
pub async fn read_small(source: &dyn ByteSource, max_bytes: u64) -> Result<Vec<u8>, SourceError> {
    let too_large = || SourceError::TooLarge {
        file: source.name().to_owned(),
        len: source.len(),
        max: max_bytes,
    };
    if source.len() > max_bytes {
        return Err(too_large());
    }
    let len = usize::try_from(source.len()).map_err(|_| too_large())?;
    let mut bytes = vec![0; len];
    source.read_at(0, &mut bytes).await?;
    Ok(bytes)
}

/// Bytes in memory: the model compiled into the program, or a test's data.
#[derive(Clone)]
pub struct BytesSource {
    name: String,
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Static(&'static [u8]),
    Shared(Arc<[u8]>),
}

impl BytesSource {
    /// A source over bytes that exist as long as the program.
    pub fn from_static(name: impl Into<String>, bytes: &'static [u8]) -> Self {
        Self { name: name.into(), bytes: Bytes::Static(bytes) }
    }

    /// A source over shared bytes.
    pub fn shared(name: impl Into<String>, bytes: Arc<[u8]>) -> Self {
        Self { name: name.into(), bytes: Bytes::Shared(bytes) }
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Static(bytes) => bytes,
            Bytes::Shared(bytes) => bytes,
        }
    }
}

impl fmt::Debug for BytesSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BytesSource({}, {} bytes)", self.name, self.len())
    }
}

impl ByteSource for BytesSource {
    fn len(&self) -> u64 {
        len_u64(self.bytes())
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn read_blocking(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        // Neither number overflows: the range is within a slice.
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buf.len());
        if let Some(bytes) = self.bytes().get(start..end) {
            buf.copy_from_slice(bytes);
        }
        Ok(())
    }
}
