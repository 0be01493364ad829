//! The result of one check.

/// Result of one variant of a kernel on one case.
#[derive(Clone, Debug)]
pub struct KernelCheck {
    /// Stem of the shader.
    pub kernel: &'static str,
    /// The variants that ran, as [`crate::gpu::Variant`] prints them, joined by ` + `.
    pub variant: String,
    /// Description of the case: weights, sizes, special features.
    pub case: String,
    /// Error of the element with the largest ratio of error to tolerance.
    pub max_error: f64,
    /// That element's tolerance.
    pub tolerance: f64,
    /// Every element is within its tolerance, and so is the normalised mean square error.
    pub passed: bool,
    /// The first problem in words; empty if passed.
    pub failure: String,
}

impl KernelCheck {
    /// A failed check, whose kernel the driver did not compile.
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
