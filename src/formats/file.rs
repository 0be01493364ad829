//! Files on disk (native only).

use std::path::Path;

use super::source::{ByteSource, SourceError, len_u64};

/// A file on disk, read with positioned reads.
#[derive(Debug)]
pub struct FileSource {
    file: std::fs::File,
    name: String,
    len: u64,
}

impl FileSource {
    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// [`SourceError::Missing`], [`SourceError::DanglingLink`], [`SourceError::NotAFile`] for a pipe, device, socket or
    /// directory (none of which is opened), [`SourceError::Io`] otherwise.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let name = path.display().to_string();
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound if path.is_symlink() => {
                SourceError::DanglingLink { file: name.clone() }
            }
            std::io::ErrorKind::NotFound => SourceError::Missing { file: name.clone() },
            _ => SourceError::Io { file: name.clone(), action: "open", error },
        };
        regular(&name, &std::fs::metadata(path).map_err(io)?)?;
        let mut options = std::fs::OpenOptions::new();
        options.read(true);
        // If a pipe replaces the file between the check and the open, the open must not block.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        let file = options.open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        regular(&name, &metadata)?;
        Ok(Self { file, len: metadata.len(), name })
    }
}

/// Reads once at a position. It does not use the file's own position, so that readers need no lock.
#[cfg(unix)]
fn read_some(file: &std::fs::File, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(windows)]
fn read_some(file: &std::fs::File, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

/// The kind of a file that is neither regular nor a directory.
#[cfg(unix)]
fn special(file_type: std::fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if file_type.is_fifo() {
        "pipe"
    } else if file_type.is_char_device() || file_type.is_block_device() {
        "device"
    } else if file_type.is_socket() {
        "socket"
    } else {
        "special file"
    }
}

#[cfg(not(unix))]
fn special(_: std::fs::FileType) -> &'static str {
    "special file"
}

/// Refuses everything but a regular file, by its metadata alone.
fn regular(name: &str, metadata: &std::fs::Metadata) -> Result<(), SourceError> {
    let file_type = metadata.file_type();
    if file_type.is_file() {
        return Ok(());
    }
    let kind = if file_type.is_dir() { "directory" } else { special(file_type) };
    Err(SourceError::NotAFile { file: name.to_owned(), kind })
}

impl ByteSource for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn read_blocking(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        let wanted = len_u64(buf);
        let mut rest = buf;
        let mut at = offset;
        while !rest.is_empty() {
            match read_some(&self.file, at, rest) {
                Ok(0) => {
                    return Err(SourceError::Truncated {
                        file: self.name.clone(),
                        offset,
                        wanted,
                        expected: self.len,
                        actual: self.file.metadata().map_or(at, |m| m.len()),
                    });
                }
                Ok(n) => {
                    rest = rest.get_mut(n..).unwrap_or_default();
                    at = at.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(SourceError::Io { file: self.name.clone(), action: "read", error });
                }
            }
        }
        Ok(())
    }
}
