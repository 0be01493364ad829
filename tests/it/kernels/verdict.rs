//! What is wrong with the kernels that ran. Both the native tests and those in a browser
//! (web/tests/gpu) ask this.

use std::collections::BTreeSet;

use lfm2_wgpu::gpu::Context;
use lfm2_wgpu::kernels::KERNELS;
use lfm2_wgpu::selftest::KernelCheck;

/// What a reader needs to run a failing case again.
fn describe(device: &str, c: &KernelCheck) -> String {
    format!(
        "{} at {device}: {}\n  variant: {}\n  case: {}\n  error {:e}, tolerance {:e}",
        c.kernel, c.failure, c.variant, c.case, c.max_error, c.tolerance
    )
}

/// Each case that failed.
pub fn failures(device: &str, checks: &[KernelCheck]) -> Vec<String> {
    checks.iter().filter(|c| !c.passed).map(|c| describe(device, c)).collect()
}

/// The variants that ran.
pub fn ran(checks: &[KernelCheck]) -> BTreeSet<&str> {
    checks.iter().flat_map(|c| c.variant.split(" + ")).collect()
}

/// The variants of the kernel table that the device can run.
pub fn variants(context: &Context) -> BTreeSet<String> {
    let variants = KERNELS.iter().flat_map(|kernel| (kernel.variants)(context.caps()));
    variants.map(|v| v.to_string()).collect()
}
