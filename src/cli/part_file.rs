//! Files that are there whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{CliError, interrupt};

/// A file being written beside its place. Dropped before [`PartFile::finish`], it is removed; so it
/// is when a second Ctrl-C ends the program.
pub struct PartFile {
    file: File,
    beside: PathBuf,
    place: PathBuf,
}

impl PartFile {
    /// Begins a file that will be `place`.
    ///
    /// # Errors
    /// A place that cannot be written, or that holds something other than a regular file, which
    /// must not be replaced by one.
    pub fn create(place: &Path) -> Result<Self, CliError> {
        if std::fs::metadata(place).is_ok_and(|m| !m.is_file()) {
            let problem = "is there and is not a regular file, name another";
            return Err(CliError::User(format!("{}: {problem}", place.display())));
        }
        let mut beside = place.as_os_str().to_owned();
        beside.push(format!(".{}.part", std::process::id()));
        let beside = PathBuf::from(beside);
        let file = File::create(&beside).map_err(|e| CliError::file(place, "write", &e))?;
        interrupt::remove_at_exit(Some(beside.clone()));
        Ok(Self { file, beside, place: place.to_owned() })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// The system's, e.g. that the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.file.write_all(bytes).map_err(|e| CliError::file(&self.place, "write", &e))
    }

    /// Puts the whole file into its place.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(self) -> Result<(), CliError> {
        let done = self.file.sync_all().and_then(|()| std::fs::rename(&self.beside, &self.place));
        done.map_err(|e| CliError::file(&self.place, "write", &e))
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // After finish there is none of that name.
        let _ = std::fs::remove_file(&self.beside);
        interrupt::remove_at_exit(None);
    }
}

/// Writes a whole file: there is never half a file of that name.
///
/// # Errors
/// As [`PartFile`].
pub fn write_whole(place: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut file = PartFile::create(place)?;
    file.write(bytes)?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let dir = tempfile::TempDir::new().unwrap();
        let place = dir.path().join("x");
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        write_whole(&place, b"old").unwrap();
        let mut half = PartFile::create(&place).unwrap();
        half.write(b"ha").unwrap();
        assert_eq!(names(), 2);
        drop(half);
        assert_eq!((names(), std::fs::read(&place).unwrap()), (1, b"old".to_vec()));
        write_whole(&place, b"new").unwrap();
        assert_eq!((names(), std::fs::read(&place).unwrap()), (1, b"new".to_vec()));
        for place in [dir.path(), Path::new("/nonexistent/x"), Path::new("/dev/null")] {
            let error = PartFile::create(place).err().unwrap().to_string();
            assert!(error.starts_with(&place.display().to_string()), "{error}");
        }
        assert_eq!(names(), 1);
    }
}
