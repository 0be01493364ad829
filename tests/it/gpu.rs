//! The devices that GPU tests run on, and how much of them runs.

use std::sync::OnceLock;

use lfm2_wgpu::gpu::{Device, DeviceOptions, LimitsChoice};
use lfm2_wgpu::kernels::MatmulCoop;

/// The adapter at its own limits, and at WebGPU's default limits without any optional feature.
///
/// Made once for the whole test binary, so that a pipeline is compiled once.
pub fn devices() -> &'static [(&'static str, Device); 2] {
    static DEVICES: OnceLock<[(&'static str, Device); 2]> = OnceLock::new();
    DEVICES.get_or_init(|| {
        [("adapter limits", LimitsChoice::Adapter), ("default limits", LimitsChoice::Default)].map(
            |(name, limits)| {
                let options = DeviceOptions { limits, ..Default::default() };
                let device = pollster::block_on(Device::request(&options))
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
                (name, device)
            },
        )
    })
}

/// The device for tests of cooperative matrices (`cargo test --test it cooperative`); none, and it is
/// said, where the adapter has no such matrices. `LFM2_REQUIRE_MATRIX_UNITS=1` makes that a failure.
pub fn with_matrix_units() -> Option<&'static Device> {
    let (_, device) = &devices()[0];
    if MatmulCoop::available(device.caps()) {
        return Some(device);
    }
    let name = &device.adapter().name;
    let required = std::env::var_os("LFM2_REQUIRE_MATRIX_UNITS").is_some_and(|value| value == "1");
    assert!(!required, "LFM2_REQUIRE_MATRIX_UNITS=1, and {name} has no cooperative matrices");
    eprintln!("SKIPPED: {name} has no cooperative matrices; a newer Mesa's lavapipe does");
    None
}

/// Whether slow tests run whole (`tools/test.sh --all`, which sets `LFM2_TESTS=all`). Without it they
/// run a part that shows the same, since a software driver may be eight times slower elsewhere.
pub fn run_all() -> bool {
    std::env::var_os("LFM2_TESTS").is_some_and(|value| value == "all")
}
