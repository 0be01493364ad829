//! The header of a saved state.
#![no_main]

use lfm2_fuzz::{held, one_line};
use lfm2_wgpu::engine::StateHeader;
use lfm2_wgpu::formats::BytesSource;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    held(|| {
        let source = BytesSource::shared("x.state", data.into());
        match pollster::block_on(StateHeader::read(&source)) {
            // The file holds what its header says, so reading it takes no more memory than the file.
            Ok(header) => assert!(header.tokens > 0 && header.tokens <= data.len() / 4),
            Err(e) => one_line(&e),
        }
    })
});
