//! Files and folders that appear only when they are complete.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::interrupt;
use crate::hub::sync_folder;

/// A file written under a temporary name beside `target`. It is removed if it is dropped before
/// [`PartFile::finish`], and if a signal ends the program.
pub struct PartFile {
    file: File,
    part: PathBuf,
    target: PathBuf,
}

impl PartFile {
    /// Begins a file for `target`.
    ///
    /// # Errors
    /// A target that cannot be written, or that is not a regular file, which must not be replaced.
    pub fn create(target: &Path) -> Result<Self, CliError> {
        if std::fs::metadata(target).is_ok_and(|m| !m.is_file()) {
            let problem = "exists and is not a regular file; choose another name";
            return Err(CliError::User(format!("{}: {problem}", target.display())));
        }
        let mut part = target.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(|e| CliError::file(target, "write", &e))?;
        interrupt::remove_at_exit(Some(part.clone()));
        Ok(Self { file, part, target: target.to_owned() })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// Errors of the system, e.g. a full disk.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.file.write_all(bytes).map_err(|e| CliError::file(&self.target, "write", &e))
    }

    /// Moves the complete file to its target.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn finish(self) -> Result<(), CliError> {
        let done = self.file.sync_all().and_then(|()| std::fs::rename(&self.part, &self.target));
        done.map_err(|e| CliError::file(&self.target, "write", &e))
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // After `finish` it does not exist.
        let _ = std::fs::remove_file(&self.part);
        interrupt::remove_at_exit(None);
    }
}

/// A folder written under a temporary name beside `target`. It is removed if it is dropped before
/// [`PartDir::finish`], and if a signal ends the program.
pub struct PartDir {
    part: PathBuf,
    target: PathBuf,
}

impl PartDir {
    /// Begins a folder for `target`, which must not exist or be an empty folder.
    ///
    /// # Errors
    /// A target that is not empty or cannot be written.
    pub fn create(target: &Path) -> Result<Self, CliError> {
        let wrong = |e: &std::io::Error| CliError::file(target, "write", e);
        let user = |problem: &str| CliError::User(format!("{}: {problem}", target.display()));
        // The name without a slash at the end.
        let Some(name) = target.file_name() else {
            return Err(user("is not the name of a new folder"));
        };
        let folder = target.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let target = folder.join(name);
        match std::fs::symlink_metadata(&target) {
            Ok(there) if !there.is_dir() => return Err(user("exists and is not a folder")),
            Ok(there) => {
                if std::fs::read_dir(&target).map_err(|e| wrong(&e))?.next().is_some() {
                    return Err(user("exists and is not empty; choose another name"));
                }
                if is_mount(&there, folder) {
                    return Err(user(
                        "is a mount point and cannot be replaced; choose a folder in it",
                    ));
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(wrong(&e)),
        }
        let mut part = target.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        std::fs::create_dir(&part).map_err(|e| CliError::file(&part, "make", &e))?;
        interrupt::remove_at_exit(Some(part.clone()));
        Ok(Self { part, target })
    }

    /// The folder to write into.
    pub fn path(&self) -> &Path {
        &self.part
    }

    /// Moves the complete folder to its target. Its files must be synced.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn finish(self) -> Result<(), CliError> {
        sync_folder(&self.part);
        #[cfg(windows)]
        let _ = std::fs::remove_dir(&self.target);
        std::fs::rename(&self.part, &self.target)
            .map_err(|e| CliError::file(&self.target, "write", &e))?;
        if let Some(folder) = self.target.parent() {
            sync_folder(folder);
        }
        Ok(())
    }
}

impl Drop for PartDir {
    fn drop(&mut self) {
        // After `finish` it does not exist.
        let _ = std::fs::remove_dir_all(&self.part);
        interrupt::remove_at_exit(None);
    }
}

/// Whether a folder is on another device than its parent.
#[cfg(unix)]
fn is_mount(there: &std::fs::Metadata, folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(folder).is_ok_and(|parent| parent.dev() != there.dev())
}

#[cfg(not(unix))]
fn is_mount(_: &std::fs::Metadata, _: &Path) -> bool {
    false
}

/// Writes a file that appears only when it is complete.
///
/// # Errors
/// Like [`PartFile`].
pub fn write_whole(target: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut file = PartFile::create(target)?;
    file.write(bytes)?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_only_when_complete() {
        let dir = tempfile::TempDir::new().unwrap();
        let target = dir.path().join("x");
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        write_whole(&target, b"old").unwrap();
        let mut half = PartFile::create(&target).unwrap();
        half.write(b"ha").unwrap();
        assert_eq!(names(), 2);
        drop(half);
        assert_eq!((names(), std::fs::read(&target).unwrap()), (1, b"old".to_vec()));
        write_whole(&target, b"new").unwrap();
        assert_eq!((names(), std::fs::read(&target).unwrap()), (1, b"new".to_vec()));
        for target in [dir.path(), Path::new("/nonexistent/x"), Path::new("/dev/null")] {
            let error = PartFile::create(target).err().unwrap().to_string();
            assert!(error.starts_with(&target.display().to_string()), "{error}");
        }
        assert_eq!(names(), 1);
    }

    #[test]
    fn a_folder_appears_only_when_complete() {
        let dir = tempfile::TempDir::new().unwrap();
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        let target = dir.path().join("new/");
        let half = PartDir::create(&target).unwrap();
        std::fs::write(half.path().join("x"), b"ha").unwrap();
        assert_eq!((names(), half.path().parent()), (1, Some(dir.path())));
        drop(half);
        assert_eq!(names(), 0);
        for empty in [false, true] {
            if empty {
                std::fs::create_dir(&target).unwrap();
            }
            let part = PartDir::create(&target).unwrap();
            std::fs::write(part.path().join("x"), b"whole").unwrap();
            part.finish().unwrap();
            assert_eq!((names(), std::fs::read(target.join("x")).unwrap()), (1, b"whole".to_vec()));
            let error = PartDir::create(&target).err().unwrap().to_string();
            assert!(error.contains("not empty"), "{error}");
            std::fs::remove_dir_all(&target).unwrap();
        }
        std::fs::write(dir.path().join("file"), b"").unwrap();
        let file = dir.path().join("file");
        for target in
            [&file, Path::new("/nonexistent/x"), Path::new("/"), Path::new("."), Path::new("..")]
        {
            let error = PartDir::create(target).err().unwrap().to_string();
            assert!(error.starts_with(&target.display().to_string()), "{error}");
        }
    }
}
