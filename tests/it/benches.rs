//! The cases of benches/kernels are complete. They are made here and not run.

#[path = "../../benches/kernels/cases.rs"]
#[allow(dead_code, reason = "throughput is for the benchmark alone")]
mod cases;
#[path = "../../benches/kernels/lora.rs"]
mod lora;
#[path = "../../benches/kernels/products.rs"]
mod products;
#[path = "../../benches/kernels/setup.rs"]
mod setup;

use lfm2_wgpu::kernels::KERNELS;

use crate::gpu::devices;

/// Every kernel that the device can run has a case, and the plan of its smallest case dispatches it.
/// Without a case a kernel could get slower unnoticed.
#[test]
fn every_kernel_has_a_bench() {
    let (_, device) = &devices()[0];
    let setup = setup::Setup::new(device.clone()).unwrap();
    let cases = cases::all(&setup);
    for kernel in KERNELS.iter().filter(|k| !(k.variants)(device.caps()).is_empty()) {
        let own = cases.iter().filter(|case| case.kernel == kernel.name);
        let smallest = own.min_by_key(|case| case.bytes);
        let smallest = smallest.unwrap_or_else(|| panic!("benches/kernels: no {}", kernel.name));
        let (plan, shape) = (smallest.make)(&setup).unwrap();
        let dispatched = |(label, _): (&str, f64)| label.split(' ').next() == Some(kernel.name);
        assert!(
            plan.labels(&shape).any(dispatched),
            "{} does not run {}",
            smallest.name,
            kernel.name
        );
    }
    // Every case names a kernel that exists.
    for case in &cases {
        assert!(KERNELS.iter().any(|k| k.name == case.kernel), "{}: {}", case.kernel, case.name);
    }
}
