//! Invariants of the tensors that a reader accepts.

use std::sync::Arc;

use lfm2_wgpu::formats::{Checkpoint, ModelFiles};
use lfm2_wgpu::model::{ModelConfig, expected_tensors, validate};

use crate::one_line;

/// Bytes of a tensor that are read to check that they exist.
const PIECE: u64 = 512;

/// Asserts that names are unique, and that ranges are within their files, match their shapes and do not overlap.
pub fn check(checkpoint: &Checkpoint, files: &ModelFiles) {
    let tensors = checkpoint.tensors();
    for pair in tensors.windows(2) {
        assert!(pair[0].name < pair[1].name, "{:?} before {:?}", pair[0].name, pair[1].name);
    }
    let mut ranges = Vec::new();
    for (i, tensor) in tensors.iter().enumerate() {
        assert_eq!(checkpoint.find(&tensor.name), Some(i));
        let name = checkpoint.file_name(tensor);
        let name = name.strip_prefix("dir/").unwrap_or(name);
        let len = files.open(name).ok().flatten().map(|file| file.len());
        assert!(len.is_some_and(|len| tensor.range.end <= len), "{tensor:?} in {len:?} bytes");
        let bytes = tensor.range.end.checked_sub(tensor.range.start);
        let elements = tensor.shape.iter().try_fold(1, |n: u64, d| n.checked_mul(*d as u64));
        let elements = elements.unwrap_or_else(|| panic!("{tensor:?}"));
        assert_eq!(tensor.element_type.bytes_of(elements), bytes, "{tensor:?}");
        if bytes != Some(0) {
            ranges.push((tensor.file, tensor.range.start, tensor.range.end));
        }
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        assert!(pair[0].0 < pair[1].0 || pair[0].2 <= pair[1].1, "{pair:?} overlap");
    }
}

/// Checks whether the tensors are the model's. If they are, every tensor must be readable.
pub fn check_model(config: &ModelConfig, checkpoint: &Arc<Checkpoint>) -> bool {
    let tensors = match pollster::block_on(validate(config, checkpoint)) {
        Ok(tensors) => tensors,
        Err(error) => {
            one_line(&error);
            return false;
        }
    };
    for (id, shape) in expected_tensors(config) {
        let slice = *tensors.get(id).unwrap_or_else(|| panic!("no {id:?}"));
        let elements: u64 = shape.iter().map(|d| *d as u64).product();
        assert_eq!(slice.elements(), elements, "{id:?}");
        let block = slice.element_type.block();
        let bytes = slice.bytes().min(PIECE / block.bytes * block.bytes);
        let last = (slice.bytes() - bytes) / block.bytes * block.elements;
        let mut piece = vec![0; bytes as usize];
        for from in [0, last] {
            let read = pollster::block_on(checkpoint.read(&slice, from, &mut piece));
            assert!(read.is_ok(), "{id:?}: {read:?}");
        }
    }
    tensors.size();
    tensors.gpu_bytes(None, 128 << 20);
    true
}
