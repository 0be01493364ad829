//! Folders in which the program keeps files between runs.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

/// The cache folder: compiled pipelines and passed self-tests.
pub fn cache_dir() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("lfm2"))
}

/// The history of lines typed in chats; its folder exists.
pub fn history_file() -> Option<PathBuf> {
    let strategy = etcetera::choose_base_strategy().ok()?;
    let folder = strategy.state_dir().unwrap_or_else(|| strategy.data_dir()).join("lfm2");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// Writes a file that only saves work: a failure is logged.
pub fn remember(file: &Path, content: &str) {
    let made = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    if let Err(e) = made.and_then(|()| std::fs::write(file, content)) {
        log::info!("{}: {e}; the next start computes it again", file.display());
    }
}
