//! Files and folders that are there whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::interrupt;
use crate::hub::sync_folder;

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

/// A folder being filled beside its place. Dropped before [`PartDir::finish`], it is removed; so it is
/// when a second Ctrl-C ends the program.
pub struct PartDir {
    beside: PathBuf,
    place: PathBuf,
}

impl PartDir {
    /// Begins a folder that will be `place`, where there must be nothing or an empty folder.
    ///
    /// # Errors
    /// A place that holds something, or that cannot be written.
    pub fn create(place: &Path) -> Result<Self, CliError> {
        let wrong = |e: &std::io::Error| CliError::file(place, "write", e);
        let user = |problem: &str| CliError::User(format!("{}: {problem}", place.display()));
        // Without a slash at its end.
        let Some(name) = place.file_name() else {
            return Err(user("is not the name of a new folder"));
        };
        let folder = place.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let place = folder.join(name);
        match std::fs::symlink_metadata(&place) {
            Ok(there) if !there.is_dir() => return Err(user("is there and is not a folder")),
            Ok(there) => {
                if std::fs::read_dir(&place).map_err(|e| wrong(&e))?.next().is_some() {
                    return Err(user("is there and is not empty, name another"));
                }
                if is_mount(&there, folder) {
                    return Err(user(
                        "is a mount point and cannot be replaced, name a folder in it",
                    ));
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(wrong(&e)),
        }
        let mut beside = place.as_os_str().to_owned();
        beside.push(format!(".{}.part", std::process::id()));
        let beside = PathBuf::from(beside);
        std::fs::create_dir(&beside).map_err(|e| CliError::file(&beside, "make", &e))?;
        interrupt::remove_at_exit(Some(beside.clone()));
        Ok(Self { beside, place })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.beside
    }

    /// Puts the folder, whose files are on the disk, into its place.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(self) -> Result<(), CliError> {
        sync_folder(&self.beside);
        #[cfg(windows)]
        let _ = std::fs::remove_dir(&self.place);
        std::fs::rename(&self.beside, &self.place)
            .map_err(|e| CliError::file(&self.place, "write", &e))?;
        if let Some(folder) = self.place.parent() {
            sync_folder(folder);
        }
        Ok(())
    }
}

impl Drop for PartDir {
    fn drop(&mut self) {
        // After finish there is none of that name.
        let _ = std::fs::remove_dir_all(&self.beside);
        interrupt::remove_at_exit(None);
    }
}

/// Whether a folder is another disk's than the one it is in.
#[cfg(unix)]
fn is_mount(there: &std::fs::Metadata, folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(folder).is_ok_and(|parent| parent.dev() != there.dev())
}

#[cfg(not(unix))]
fn is_mount(_: &std::fs::Metadata, _: &Path) -> bool {
    false
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

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let dir = tempfile::TempDir::new().unwrap();
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        let place = dir.path().join("new/");
        let half = PartDir::create(&place).unwrap();
        std::fs::write(half.path().join("x"), b"ha").unwrap();
        assert_eq!((names(), half.path().parent()), (1, Some(dir.path())));
        drop(half);
        assert_eq!(names(), 0);
        for empty in [false, true] {
            if empty {
                std::fs::create_dir(&place).unwrap();
            }
            let part = PartDir::create(&place).unwrap();
            std::fs::write(part.path().join("x"), b"whole").unwrap();
            part.finish().unwrap();
            assert_eq!((names(), std::fs::read(place.join("x")).unwrap()), (1, b"whole".to_vec()));
            let error = PartDir::create(&place).err().unwrap().to_string();
            assert!(error.contains("not empty"), "{error}");
            std::fs::remove_dir_all(&place).unwrap();
        }
        std::fs::write(dir.path().join("file"), b"").unwrap();
        let file = dir.path().join("file");
        for place in
            [&file, Path::new("/nonexistent/x"), Path::new("/"), Path::new("."), Path::new("..")]
        {
            let error = PartDir::create(place).err().unwrap().to_string();
            assert!(error.starts_with(&place.display().to_string()), "{error}");
        }
    }
}
