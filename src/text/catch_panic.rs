//! Turns panics of other libraries into errors, as the last line of defence.
//!
//! Files are validated before a library sees them, so no panic is expected. On wasm32, panics cannot
//! be caught and validation is the only defence. The program's panic hook stays in place and reports
//! a panic too.

use super::error::one_line;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`. A panic is returned as the error that `panicked` makes of its message.
pub(crate) fn catch_panic<T, E>(
    panicked: impl FnOnce(String) -> E,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(panicked(one_line(message(&*payload)))))
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic")
}

#[cfg(test)]
mod tests {
    use super::super::error::TextError;
    use super::*;

    fn failed(problem: String) -> TextError {
        TextError::Tokenizer { operation: "load", problem }
    }

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let error = catch_panic::<(), _>(failed, || panic!("no entry\nfound for key")).unwrap_err();
        assert_eq!(error.to_string(), "the tokenizer failed to load: no entry found for key");
        assert_eq!(catch_panic(failed, || Ok(5)), Ok(5));
    }
}
