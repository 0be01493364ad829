//! An error as C sees it: a status, and a message.

use std::any::Any;
use std::ffi::{CStr, CString};

use lfm2_wgpu::Error;

use crate::abi::lfm2_status;

/// An error.
#[derive(Debug)]
pub struct Failure {
    pub status: lfm2_status,
    pub message: CString,
}

impl Failure {
    pub fn new(status: lfm2_status, message: impl Into<String>) -> Self {
        let message = message.into().replace('\0', "\u{fffd}");
        // No NUL is left.
        Self { status, message: CString::new(message).unwrap_or_default() }
    }

    /// A wrong argument of a function: `name` is the argument's.
    pub fn argument(name: &str, problem: &str) -> Self {
        Self::new(lfm2_status::LFM2_INVALID_ARGUMENT, format!("{name}: {problem}"))
    }

    /// A panic, which is a bug.
    pub fn panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no message");
        let message = format!("the library has a bug, please report it: {text}");
        Self::new(lfm2_status::LFM2_INTERNAL_ERROR, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(status_of(error.code()), error.to_string())
    }
}

/// The status of a code of [`Error::code`].
fn status_of(code: &str) -> lfm2_status {
    use lfm2_status::*;
    match code {
        "invalid_request" => LFM2_INVALID_REQUEST,
        "context_full" => LFM2_CONTEXT_FULL,
        "saved_state" => LFM2_SAVED_STATE,
        "read_failed" => LFM2_READ_FAILED,
        "bad_model" => LFM2_BAD_MODEL,
        "no_adapter" => LFM2_NO_ADAPTER,
        "out_of_memory" => LFM2_OUT_OF_MEMORY,
        "device_lost" => LFM2_DEVICE_LOST,
        "gpu_error" => LFM2_GPU_ERROR,
        "busy" => LFM2_BUSY,
        "cancelled" => LFM2_CANCELLED,
        _ => LFM2_INTERNAL_ERROR,
    }
}

impl lfm2_status {
    /// The word for it: the code of [`Error::code`], where there is one.
    pub fn word(self) -> &'static CStr {
        match self {
            Self::LFM2_OK => c"ok",
            Self::LFM2_PENDING => c"pending",
            Self::LFM2_DONE => c"done",
            Self::LFM2_INVALID_ARGUMENT => c"invalid_argument",
            Self::LFM2_INVALID_REQUEST => c"invalid_request",
            Self::LFM2_CONTEXT_FULL => c"context_full",
            Self::LFM2_READ_FAILED => c"read_failed",
            Self::LFM2_BAD_MODEL => c"bad_model",
            Self::LFM2_NO_ADAPTER => c"no_adapter",
            Self::LFM2_OUT_OF_MEMORY => c"out_of_memory",
            Self::LFM2_DEVICE_LOST => c"device_lost",
            Self::LFM2_GPU_ERROR => c"gpu_error",
            Self::LFM2_BUSY => c"busy",
            Self::LFM2_CANCELLED => c"cancelled",
            Self::LFM2_INTERNAL_ERROR => c"internal_error",
            Self::LFM2_SAVED_STATE => c"saved_state",
        }
    }
}
