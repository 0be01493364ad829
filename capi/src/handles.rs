//! Handles: pointers to objects that begin with a mark of their type, so that a wrong handle is refused.
//!
//! Every `SAFETY` rests on the contract of the header, as in abi.rs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::Failure;

/// A type of handles.
pub trait Handle {
    /// The object behind it.
    type Value;
    const NAME: &'static str;
    /// First bytes of the object.
    const MARK: u64;
}

/// The object behind a handle. Its mark is erased when it is freed.
#[repr(C)]
pub struct Marked<H: Handle> {
    mark: AtomicU64,
    value: H::Value,
}

/// A handle of an object.
pub fn handle<H: Handle>(value: H::Value) -> *mut H {
    Box::into_raw(Box::new(Marked::<H> { mark: AtomicU64::new(H::MARK), value })).cast()
}

/// Refuses null, and what does not begin with the mark of this type.
unsafe fn marked<'a, H: Handle>(handle: *const H) -> Result<&'a AtomicU64, Failure> {
    if handle.is_null() {
        return Err(Failure::argument(H::NAME, "is null"));
    }
    let mark = handle.cast::<AtomicU64>();
    // SAFETY: by the contract it points to a handle of some type, and all begin with a mark.
    match unsafe { mark.is_aligned().then(|| &*mark) } {
        Some(mark) if mark.load(Ordering::Acquire) == H::MARK => Ok(mark),
        _ => Err(Failure::argument(H::NAME, "is a handle of another kind, or was freed")),
    }
}

/// The object behind a handle.
pub unsafe fn value<'a, H: Handle>(handle: *const H) -> Result<&'a H::Value, Failure> {
    // SAFETY: the mark says that it is a live `Marked<H>`.
    unsafe { marked(handle).map(|_| &(*handle.cast::<Marked<H>>()).value) }
}

/// Frees a handle; does nothing for null and a handle of another type.
pub unsafe fn free<H: Handle>(handle: *mut H) {
    // SAFETY: of two threads that free it at once, one erases the mark.
    let free = || unsafe {
        let Ok(mark) = marked(handle) else { return };
        if mark.swap(0, Ordering::AcqRel) == H::MARK {
            drop(Box::from_raw(handle.cast::<Marked<H>>()));
        }
    };
    // A panic must not leave the function.
    let _ = catch_unwind(AssertUnwindSafe(free));
}
