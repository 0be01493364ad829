//! Every kernel against its CPU twin.

use std::collections::BTreeSet;

use lfm2_wgpu::kernels::KERNELS;
use lfm2_wgpu::selftest::{KernelCheck, Thoroughness, check_kernels};

use crate::gpu::contexts;

fn describe(device: &str, c: &KernelCheck) -> String {
    format!(
        "{} on {device}: {}\n  variant: {}\n  case: {}\n  error {:e}, tolerance {:e}",
        c.kernel, c.failure, c.variant, c.case, c.max_error, c.tolerance
    )
}

#[test]
fn selftest_passes_and_runs_every_variant() {
    for (device, context) in contexts() {
        let checks = pollster::block_on(check_kernels(context, Thoroughness::Full))
            .unwrap_or_else(|e| panic!("{device}: {e}"));
        let failed: Vec<String> =
            checks.iter().filter(|c| !c.passed).map(|c| describe(device, c)).collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        let run: BTreeSet<&str> = checks.iter().flat_map(|c| c.variant.split(" + ")).collect();
        let mut missing = Vec::new();
        for kernel in KERNELS {
            for variant in (kernel.variants)(context.caps()) {
                if !run.contains(variant.to_string().as_str()) {
                    missing.push(variant.to_string());
                }
            }
        }
        assert!(missing.is_empty(), "{device}: no case runs {missing:#?}");
    }
}
