//! Shared code of the fuzz targets: the limits for each input, and the conversion of inputs to a model's files.
//!
//! The invariants (ARCHITECTURE.md): no panic, at most 100 MB of memory for one input, a result within a
//! second, and accepted input is consistent. libFuzzer's panic hook aborts before unwinding, so that a panic
//! which the library would catch is a finding too.

pub mod description;
pub mod files;
pub mod gguf;
pub mod safetensors;
pub mod template;
pub mod tensors;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Maximum memory for one input.
const MAX_BYTES: usize = 100 << 20;
/// Maximum CPU time. The invariant is a second; the rest is for the sanitizer and checked arithmetic.
const MAX_SECONDS: f64 = 5.0;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system allocator with a count of bytes. The process's size would include the sanitizer's memory.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: hands every call to the system allocator unchanged; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }
}

fn add(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed).wrapping_add(bytes);
    PEAK.fetch_max(now, Relaxed);
}

fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every unix, and the pointer is to a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Runs `work` on one input and asserts its limits of memory and time.
pub fn held(work: impl FnOnce()) {
    let (before, start) = (NOW.load(Relaxed), cpu_seconds());
    PEAK.store(before, Relaxed);
    work();
    let bytes = PEAK.load(Relaxed).saturating_sub(before);
    assert!(bytes <= MAX_BYTES, "took {bytes} bytes of memory, at most {MAX_BYTES} are allowed");
    let seconds = cpu_seconds() - start;
    assert!(seconds <= MAX_SECONDS, "took {seconds} s of processor time");
}

/// Asserts that an error is one line of bounded length.
pub fn one_line(error: &dyn std::fmt::Display) {
    let message = error.to_string();
    assert!(!message.contains(['\n', '\r', '\u{1b}']), "an error of several lines: {message:?}");
    assert!(message.len() <= 4096, "an error of {} bytes", message.len());
}
