//! Failures of the kernels that ran, for the native tests and those in a browser (web/tests/gpu).

use std::collections::BTreeSet;

use lfm2_wgpu::gpu::Device;
use lfm2_wgpu::kernels::KERNELS;
use lfm2_wgpu::selftest::KernelCheck;

/// Description of a failing case, enough to run it again.
fn describe(name: &str, c: &KernelCheck) -> String {
    format!(
        "{} at {name}: {}\n  variant: {}\n  case: {}\n  error {:e}, tolerance {:e}",
        c.kernel, c.failure, c.variant, c.case, c.max_error, c.tolerance
    )
}

/// Descriptions of the failed cases.
pub fn failures(name: &str, checks: &[KernelCheck]) -> Vec<String> {
    checks.iter().filter(|c| !c.passed).map(|c| describe(name, c)).collect()
}

/// The variants that ran.
pub fn ran(checks: &[KernelCheck]) -> BTreeSet<&str> {
    checks.iter().flat_map(|c| c.variant.split(" + ")).collect()
}

/// The variants of [`KERNELS`] that the device can run.
pub fn variants(device: &Device) -> BTreeSet<String> {
    let variants = KERNELS.iter().flat_map(|kernel| (kernel.variants)(device.caps()));
    variants.map(|v| v.to_string()).collect()
}
