//! The result of one check.

/// One variant of one kernel on one case.
#[derive(Clone, Debug)]
pub struct KernelCheck {
    /// Stem of the shader.
    pub kernel: &'static str,
    /// Which variants ran, as [`crate::gpu::Variant`] prints them, joined by ` + `.
    pub variant: String,
    /// The case in words: weights, sizes, what is special of it.
    pub case: String,
    /// Error of the element that comes closest to its tolerance, or exceeds it most.
    pub max_error: f64,
    /// That element's tolerance.
    pub tolerance: f64,
    /// Every element is within its tolerance, and so is the normalised mean square error.
    pub passed: bool,
    /// The first thing that is wrong, in words; empty if passed.
    pub failure: String,
}

impl KernelCheck {
    /// A check whose kernel the driver did not compile.
    pub(super) fn refused(kernel: &'static str, variant: &str, reason: &str) -> Self {
        Self {
            kernel,
            variant: variant.to_owned(),
            case: "compiling".to_owned(),
            max_error: f64::INFINITY,
            tolerance: 0.0,
            passed: false,
            failure: format!("the driver refused it: {reason}"),
        }
    }
}
