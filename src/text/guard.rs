//! The last line of defence around other libraries: a panic becomes an error.
//!
//! Files are validated before a library sees them, so nothing here should ever fire; on wasm32,
//! where a panic cannot be caught, the validation is all there is.

use super::error::{TextError, one_line};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`; a panic inside prints nothing and is returned as the error that `panicked` makes of
/// its message.
pub(super) fn guarded<T>(
    panicked: impl FnOnce(String) -> TextError,
    work: impl FnOnce() -> Result<T, TextError>,
) -> Result<T, TextError> {
    let _quiet = quiet::enter();
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

/// Keeps the panic message of guarded work off stderr.
///
/// The hook is global, so it is set once and hands every panic of other code on to the hook that
/// was there before.
#[cfg(not(target_arch = "wasm32"))]
mod quiet {
    use std::cell::Cell;
    use std::sync::Once;

    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
    }
    static HOOK: Once = Once::new();

    pub(super) struct Quiet;

    pub(super) fn enter() -> Quiet {
        HOOK.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
                    previous(info);
                }
            }));
        });
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        Quiet
    }

    impl Drop for Quiet {
        fn drop(&mut self) {
            DEPTH.with(|depth| depth.set(depth.get().saturating_sub(1)));
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod quiet {
    pub(super) struct Quiet;
    pub(super) fn enter() -> Quiet {
        Quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(problem: String) -> TextError {
        TextError::Tokenizer { operation: "load", problem }
    }

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let error = guarded::<()>(failed, || panic!("no entry\nfound for key")).unwrap_err();
        assert_eq!(error.to_string(), "the tokenizer failed to load: no entry found for key");
        assert_eq!(guarded(failed, || Ok(5)), Ok(5));
    }

    #[test]
    fn the_guard_ends_with_the_work() {
        let _ = guarded::<()>(failed, || panic!("inside"));
        // A panic outside still unwinds as ever (its message goes to the former hook).
        assert!(std::panic::catch_unwind(|| panic!("outside")).is_err());
    }
}
