//! The conversion of pointers: handles, texts, results and errors.
//!
//! Every `SAFETY` here and in abi.rs rests on the contract that the header states: a pointer is null, or points to an
//! object of its type that lives during the call; a text has its length in bytes; a handle is not freed during a call
//! with it.
#![allow(clippy::missing_safety_doc, reason = "there is one contract for all functions")]

use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::abi::{lfm2_engine, lfm2_error, lfm2_generation, lfm2_status};
use crate::failure::Failure;
use crate::model::Model;
use crate::talk::Talk;

/// A type of handles.
pub trait Handle {
    /// The object behind it.
    type Value;
    const NAME: &'static str;
    /// First bytes of the object.
    const MARK: u64;
}

impl Handle for lfm2_engine {
    type Value = Model;
    const NAME: &'static str = "engine";
    const MARK: u64 = u64::from_ne_bytes(*b"lfm2engi");
}

impl Handle for lfm2_generation {
    type Value = Talk;
    const NAME: &'static str = "generation";
    const MARK: u64 = u64::from_ne_bytes(*b"lfm2gene");
}

impl Handle for lfm2_error {
    type Value = Failure;
    const NAME: &'static str = "error";
    const MARK: u64 = u64::from_ne_bytes(*b"lfm2erro");
}

/// The object behind a handle. Its mark is erased when it is freed.
#[repr(C)]
struct Marked<H: Handle> {
    mark: AtomicU64,
    value: H::Value,
}

/// The caller's pointer, which only the caller follows.
pub struct User(pub *mut c_void);

// SAFETY: the header says which threads call back, so the caller gives a pointer that they may use.
unsafe impl Send for User {}

impl User {
    pub fn get(&self) -> *mut c_void {
        self.0
    }
}

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

/// Runs a function's body, and turns its error or panic into a status and a handle.
pub unsafe fn guard(
    error: *mut *mut lfm2_error,
    call: impl FnOnce() -> Result<lfm2_status, Failure>,
) -> lfm2_status {
    let outcome = catch_unwind(AssertUnwindSafe(call));
    let (status, failure) = match outcome.unwrap_or_else(|p| Err(Failure::panic(&*p))) {
        Ok(status) => (status, null_mut()),
        Err(failure) => (failure.status, handle(failure)),
    };
    match error.is_null() {
        // SAFETY: nobody else has it.
        true => unsafe { free(failure) },
        // SAFETY: the contract: a place for a pointer.
        false => unsafe { error.write(failure) },
    }
    status
}

pub unsafe fn text<'a>(name: &str, start: *const c_char, len: usize) -> Result<&'a str, Failure> {
    if start.is_null() {
        return Err(Failure::argument(name, "is null"));
    }
    if isize::try_from(len).is_err() {
        return Err(Failure::argument(name, "has a negative length"));
    }
    // SAFETY: the contract: `len` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) };
    std::str::from_utf8(bytes)
        .map_err(|e| Failure::argument(name, &format!("is not UTF-8 at byte {}", e.valid_up_to())))
}

/// Writes a result.
pub unsafe fn put<T>(name: &str, place: *mut T, value: T) -> Result<(), Failure> {
    if place.is_null() {
        return Err(Failure::argument(name, "is null"));
    }
    // SAFETY: the contract: a place for this type.
    unsafe { place.write(value) };
    Ok(())
}

/// Writes a text and its length; null and 0 for `None`.
pub unsafe fn put_text(
    place: *mut *mut c_char,
    len: *mut usize,
    text: Option<String>,
) -> Result<(), Failure> {
    // JSON has no NUL.
    let text = text.map(|text| CString::new(text).unwrap_or_default());
    let bytes = text.as_ref().map_or(0, |text| text.as_bytes().len());
    // SAFETY: the contract: places for their types.
    unsafe {
        put("json", place, null_mut())?;
        place.write(text.map_or(null_mut(), CString::into_raw));
        if !len.is_null() {
            len.write(bytes);
        }
    }
    Ok(())
}
