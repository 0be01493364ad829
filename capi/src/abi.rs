//! The functions of `lfm2.h`. `cargo xtask capi-header` makes the header from this file. pointers.rs has the contract on
//! which each `SAFETY` rests.
#![allow(non_camel_case_types, reason = "the header has the same names")]
#![allow(clippy::missing_safety_doc, reason = "the header has one contract for all functions")]

use std::ffi::{CString, c_char, c_void};
use std::ptr::{null, null_mut};
use std::time::Duration;

use lfm2_wgpu::engine::BuildProgress;

use crate::failure::Failure;
use crate::model::Model;
use crate::pointers::{User, free, guard, handle, put, put_text, text, value};
use crate::stream::Step;
use crate::talk::Talk;

/// Version of this header. It changes when a function, a status or a type changes in a way that a compiled program
/// would notice.
pub const LFM2_ABI_VERSION: u32 = 1;

/// Result of a function. Negative values are errors. Later versions may add values.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum lfm2_status {
    /// Done. From lfm2_next: there is a delta.
    LFM2_OK = 0,
    /// lfm2_next: nothing came in time.
    LFM2_PENDING = 1,
    /// lfm2_next and callbacks: the answer has ended.
    LFM2_DONE = 2,
    /// A null pointer, a handle of another kind, text that is not UTF-8, or another ABI version.
    LFM2_INVALID_ARGUMENT = -1,
    /// An option or a field of a request is wrong or not supported.
    LFM2_INVALID_REQUEST = -2,
    /// The conversation is longer than the context.
    LFM2_CONTEXT_FULL = -3,
    /// A file of the model or of an adapter could not be read.
    LFM2_READ_FAILED = -4,
    /// A file of the model or of an adapter is missing, broken or of another kind.
    LFM2_BAD_MODEL = -5,
    /// There is no GPU that can compute, or not the one asked for.
    LFM2_NO_ADAPTER = -6,
    /// The model does not fit the GPU's memory.
    LFM2_OUT_OF_MEMORY = -7,
    /// The GPU went away, and no other could be opened.
    LFM2_DEVICE_LOST = -8,
    /// The GPU refused something, or computes wrongly.
    LFM2_GPU_ERROR = -9,
    /// Another thread waits in lfm2_next for this answer, or the system has no thread left.
    LFM2_BUSY = -10,
    /// The callback stopped the loading.
    LFM2_CANCELLED = -11,
    /// A bug of the library.
    LFM2_INTERNAL_ERROR = -12,
    /// A saved state is damaged, of another model, or could not be written.
    LFM2_SAVED_STATE = -13,
}

/// A model on a GPU. Any number of threads may use it at once.
pub struct lfm2_engine {
    _private: (),
}

/// An answer in progress.
pub struct lfm2_generation {
    _private: (),
}

/// The reason of a failure. Its texts end with a NUL and live as long as it does.
pub struct lfm2_error {
    _private: (),
}

/// Called while a model loads, by one thread at a time. `phase` is "compile" (`done` and `total` count kernels) or
/// "upload" (bytes of the weights); the two alternate. Returns 0 to go on; another value ends the loading with
/// LFM2_CANCELLED.
pub type lfm2_progress = Option<
    unsafe extern "C" fn(user: *mut c_void, phase: *const c_char, done: u64, total: u64) -> i32,
>;

/// Called with each step of an answer, by one thread of the library. `status` is LFM2_OK (`json` is a delta), LFM2_DONE
/// (`json` is the end of the answer) or an error (`json` is null, `error` is the reason; it is null otherwise). After
/// LFM2_DONE or an error no call comes. `json` has `len` bytes and a NUL after them; it and `error` are valid during the
/// call. Returns 0 to go on; another value is like lfm2_cancel.
pub type lfm2_callback = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        status: lfm2_status,
        json: *const c_char,
        len: usize,
        error: *const lfm2_error,
    ) -> i32,
>;

/// The ABI version of the library. A program may compare it with LFM2_ABI_VERSION; lfm2_engine_new does so.
#[unsafe(no_mangle)]
pub extern "C" fn lfm2_abi_version() -> u32 {
    LFM2_ABI_VERSION
}

/// Loads a model, which may take minutes. `abi_version` is LFM2_ABI_VERSION. `options` is an object as JSON, e.g.
/// {"model": "LFM2.5-8B-A1B-Q4_0.gguf", "parallel": 4}; docs/c.md has all names. Null with length 0 is the built-in
/// demonstration model. `progress` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_engine_new(
    abi_version: u32,
    options: *const c_char,
    options_len: usize,
    progress: lfm2_progress,
    user: *mut c_void,
    engine: *mut *mut lfm2_engine,
    error: *mut *mut lfm2_error,
) -> lfm2_status {
    // SAFETY: the header's contract.
    let call = || unsafe {
        put("engine", engine, null_mut())?;
        if abi_version != LFM2_ABI_VERSION {
            let own = LFM2_ABI_VERSION;
            let problem =
                format!("is {abi_version}, and this library has {own}: compile with its lfm2.h");
            return Err(Failure::argument("abi_version", &problem));
        }
        let options = match options.is_null() && options_len == 0 {
            true => "{}",
            false => text("options", options, options_len)?,
        };
        let user = User(user);
        let progress = progress.map(|call| {
            move |progress| {
                let (phase, done, total) = match progress {
                    BuildProgress::Kernels { done, total } => {
                        (c"compile", done as u64, total as u64)
                    }
                    BuildProgress::Weights { loaded, total } => (c"upload", loaded, total),
                    // Unknown phases do not stop it.
                    _ => return true,
                };
                call(user.get(), phase.as_ptr(), done, total) == 0
            }
        });
        engine.write(handle(Model::load(options, progress)?));
        Ok(lfm2_status::LFM2_OK)
    };
    // SAFETY: the header's contract.
    unsafe { guard(error, call) }
}

/// Writes a description of the model and its GPU as JSON to `json`, and its length to `len`, which may be null. The
/// text ends with a NUL and is freed by lfm2_string_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_engine_info(
    engine: *const lfm2_engine,
    json: *mut *mut c_char,
    len: *mut usize,
    error: *mut *mut lfm2_error,
) -> lfm2_status {
    // SAFETY: the header's contract.
    let call = || unsafe {
        put_text(json, len, None)?;
        let info = value(engine)?.info();
        put_text(json, len, Some(info))?;
        Ok(lfm2_status::LFM2_OK)
    };
    // SAFETY: the header's contract.
    unsafe { guard(error, call) }
}

/// Loads a LoRA adapter, also while answers are generated. `path` is UTF-8: a folder or file of PEFT, or a GGUF file.
/// Requests use the adapter by its `name`, in their field `lora` or `model`. `scale` is the factor of its addition,
/// usually 1. After an error nothing has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_engine_load_lora(
    engine: *const lfm2_engine,
    name: *const c_char,
    name_len: usize,
    path: *const c_char,
    path_len: usize,
    scale: f32,
    error: *mut *mut lfm2_error,
) -> lfm2_status {
    // SAFETY: the header's contract.
    let call = || unsafe {
        let engine = value(engine)?;
        let (name, path) = (text("name", name, name_len)?, text("path", path, path_len)?);
        engine.load_lora(name, path, scale)?;
        Ok(lfm2_status::LFM2_OK)
    };
    // SAFETY: the header's contract.
    unsafe { guard(error, call) }
}

/// Removes a LoRA adapter. Its answers in progress go on, and its memory is freed after the last of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_engine_unload_lora(
    engine: *const lfm2_engine,
    name: *const c_char,
    name_len: usize,
    error: *mut *mut lfm2_error,
) -> lfm2_status {
    // SAFETY: the header's contract.
    let call = || unsafe {
        value(engine)?.unload_lora(text("name", name, name_len)?)?;
        Ok(lfm2_status::LFM2_OK)
    };
    // SAFETY: the header's contract.
    unsafe { guard(error, call) }
}

/// Frees an engine. Its answers in progress go on, and the model's memory is freed after the last of them. Null does
/// nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_engine_free(engine: *mut lfm2_engine) {
    // SAFETY: the header's contract.
    unsafe { free(engine) }
}

/// Begins the answer to a request of OpenAI's chat API as JSON: {"messages": [...], "stream": true, ...}. Without
/// `callback` the answer is read with lfm2_next. With one, a thread of the library calls it with `user`; the handle is
/// written before the first call. The engine may be freed before the generation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_chat(
    engine: *const lfm2_engine,
    request: *const c_char,
    request_len: usize,
    callback: lfm2_callback,
    user: *mut c_void,
    generation: *mut *mut lfm2_generation,
    error: *mut *mut lfm2_error,
) -> lfm2_status {
    // SAFETY: the header's contract.
    let call = || unsafe {
        put("generation", generation, null_mut())?;
        let engine = value(engine)?;
        let stream = engine.chat(text("request", request, request_len)?)?;
        let Some(callback) = callback else {
            generation.write(handle(Talk::polled(stream)));
            return Ok(lfm2_status::LFM2_OK);
        };
        let user = User(user);
        let (talk, begin) = Talk::called(stream, move |step| deliver(callback, &user, step))?;
        generation.write(handle(talk));
        // The thread waits for it.
        let _ = begin.send(());
        Ok(lfm2_status::LFM2_OK)
    };
    // SAFETY: the header's contract.
    unsafe { guard(error, call) }
}

/// Waits for the next step of an answer, at most `timeout_ms` milliseconds; a negative number waits without a limit.
/// LFM2_OK writes a delta to `json`: `content`, `reasoning_content`, `tool_calls` and `logprobs`, each only if it is
/// there. With LFM2_DONE `json` is the end of the answer, once; later calls write null. With "stream": true that is
/// `finish_reason` (null if the answer was cancelled), `usage` and `timings`; without it there are no deltas, and the
/// end is OpenAI's `chat.completion`. LFM2_PENDING and errors write null. `len` may be null. The text ends with a NUL
/// and is freed by lfm2_string_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_next(
    generation: *mut lfm2_generation,
    timeout_ms: i64,
    json: *mut *mut c_char,
    len: *mut usize,
    error: *mut *mut lfm2_error,
) -> lfm2_status {
    // SAFETY: the header's contract.
    let call = || unsafe {
        put_text(json, len, None)?;
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        let (status, told) = match value(generation)?.next(timeout)? {
            Step::Piece(piece) => (lfm2_status::LFM2_OK, Some(piece)),
            Step::End(end) => (lfm2_status::LFM2_DONE, end),
            Step::Pending => (lfm2_status::LFM2_PENDING, None),
            Step::Failed(failure) => return Err(failure),
        };
        put_text(json, len, told)?;
        Ok(status)
    };
    // SAFETY: the header's contract.
    unsafe { guard(error, call) }
}

/// Ends an answer early, from any thread. Its reader then gets LFM2_DONE, with a null `finish_reason`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_cancel(
    generation: *const lfm2_generation,
    error: *mut *mut lfm2_error,
) -> lfm2_status {
    // SAFETY: the header's contract.
    let call = || unsafe {
        value(generation)?.cancel();
        Ok(lfm2_status::LFM2_OK)
    };
    // SAFETY: the header's contract.
    unsafe { guard(error, call) }
}

/// Cancels and frees an answer. A callback that runs is waited for, and none comes afterwards; a callback may free its
/// own answer. Null does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_generation_free(generation: *mut lfm2_generation) {
    // SAFETY: the header's contract.
    unsafe { free(generation) }
}

/// Writes the state of a conversation to a file, so that a later run need not compute it again. `request` is the request
/// of its last answer, with that answer as a message more. `path` is UTF-8; a file there is replaced when the new one is
/// complete. `tokens` gets the length of the state in tokens, and may be null: 0, and no file is written, if the engine
/// has kept nothing of the conversation. A LoRA adapter's state is that of a
/// request that names it; it can be read where the same adapter is loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_save(
    engine: *const lfm2_engine,
    request: *const c_char,
    request_len: usize,
    path: *const c_char,
    path_len: usize,
    tokens: *mut usize,
    error: *mut *mut lfm2_error,
) -> lfm2_status {
    // SAFETY: the header's contract.
    let call = || unsafe {
        let engine = value(engine)?;
        let (request, path) =
            (text("request", request, request_len)?, text("path", path, path_len)?);
        let saved = engine.save(request, path)?;
        if !tokens.is_null() {
            tokens.write(saved);
        }
        Ok(lfm2_status::LFM2_OK)
    };
    // SAFETY: the header's contract.
    unsafe { guard(error, call) }
}

/// Reads a file of lfm2_save. A request that begins with its conversation continues from there. `tokens` gets the length
/// of the state in tokens, and may be null. A file of another model or a damaged one is refused, and changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_restore(
    engine: *const lfm2_engine,
    path: *const c_char,
    path_len: usize,
    tokens: *mut usize,
    error: *mut *mut lfm2_error,
) -> lfm2_status {
    // SAFETY: the header's contract.
    let call = || unsafe {
        let restored = value(engine)?.restore(text("path", path, path_len)?)?;
        if !tokens.is_null() {
            tokens.write(restored);
        }
        Ok(lfm2_status::LFM2_OK)
    };
    // SAFETY: the header's contract.
    unsafe { guard(error, call) }
}

/// The message of an error: the problem, its place and the remedy. Null if `error` is not an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_error_message(error: *const lfm2_error) -> *const c_char {
    // SAFETY: the header's contract.
    unsafe { value(error) }.map_or(null(), |failure| failure.message.as_ptr())
}

/// The status of an error as a word, e.g. "context_full". Null if `error` is not an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_error_code(error: *const lfm2_error) -> *const c_char {
    // SAFETY: the header's contract.
    unsafe { value(error) }.map_or(null(), |failure| failure.status.word().as_ptr())
}

/// Frees an error. Null does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_error_free(error: *mut lfm2_error) {
    // SAFETY: the header's contract.
    unsafe { free(error) }
}

/// Frees a text that a function of the library has written. Null does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lfm2_string_free(string: *mut c_char) {
    if !string.is_null() {
        // SAFETY: `put_text` made it, and nobody has changed it.
        drop(unsafe { CString::from_raw(string) });
    }
}

/// Passes a step of an answer to the caller; returns whether to go on.
fn deliver(
    call: unsafe extern "C" fn(
        *mut c_void,
        lfm2_status,
        *const c_char,
        usize,
        *const lfm2_error,
    ) -> i32,
    user: &User,
    step: Step,
) -> bool {
    let told = |status, json: Option<String>, error| {
        let json = json.map(|json| CString::new(json).unwrap_or_default());
        let (start, len) =
            json.as_ref().map_or((null(), 0), |json| (json.as_ptr(), json.as_bytes().len()));
        // SAFETY: the caller gave the function for these arguments.
        unsafe { call(user.get(), status, start, len, error) == 0 }
    };
    match step {
        Step::Piece(piece) => told(lfm2_status::LFM2_OK, Some(piece), null()),
        Step::End(end) => told(lfm2_status::LFM2_DONE, end, null()),
        Step::Failed(failure) => {
            let status = failure.status;
            let error = handle::<lfm2_error>(failure);
            let goes_on = told(status, None, error);
            // SAFETY: it was made above.
            unsafe { free(error) };
            goes_on
        }
        // Only a deadline leads to it.
        Step::Pending => true,
    }
}
