//! The devices of GPU tests, and the choice between short and whole tests.

use std::sync::OnceLock;

use lfm2_wgpu::gpu::{Device, DeviceOptions, LimitsChoice};
use lfm2_wgpu::kernels::MatmulCoop;

/// The adapter at its own limits, and at WebGPU's default limits without optional features.
///
/// They are made once for the whole test binary, so that each pipeline is compiled once.
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

/// The device for tests of cooperative matrices (`cargo test --test it cooperative`). If the adapter has
/// none, prints a note and returns `None`, or fails if `LFM2_REQUIRE_MATRIX_UNITS=1`.
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

/// Whether slow tests run whole: `tools/test.sh --all` sets `LFM2_TESTS=all`. Otherwise they run a
/// representative part, since a software driver may be eight times slower on other machines.
pub fn run_all() -> bool {
    std::env::var_os("LFM2_TESTS").is_some_and(|value| value == "all")
}
