//! Checks that a refusal is typed, one line, quick, and takes little memory.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::allocations::peak_bytes;

/// More memory than any refusal of a small file needs, and far below 100 MB, the limit for any input.
const SMALL: usize = 4 << 20;

/// Runs `read`, which must fail, and checks the error's text.
pub fn refused<T, E: Error>(case: &str, words: &[&str], read: impl FnOnce() -> Result<T, E>) {
    refused_within(case, SMALL, words, read);
}

/// Like [`refused`], with at most `max_bytes` of memory at any time.
pub fn refused_within<T, E: Error>(
    case: &str,
    max_bytes: usize,
    words: &[&str],
    read: impl FnOnce() -> Result<T, E>,
) {
    let start = Instant::now();
    let (result, bytes) = peak_bytes(read);
    let time = start.elapsed();
    let Err(error) = result else {
        panic!("{case}: accepted");
    };
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{case}: {word:?} is not in: {text}");
    }
    assert!(!text.contains('\n'), "{case}: more than a line: {text}");
    assert!(text.len() < 1000, "{case}: too long: {text}");
    assert!(time < Duration::from_secs(1), "{case}: took {time:?}");
    assert!(bytes <= max_bytes, "{case}: held {bytes} bytes");
}
