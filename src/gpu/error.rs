//! What can go wrong between us and the GPU.

use thiserror::Error;

/// A failure of the adapter, the device, a shader or a transfer.
#[derive(Debug, Error, Clone)]
#[non_exhaustive]
pub enum GpuError {
    /// No adapter at all: no driver is installed, or it offers no compute.
    #[error(
        "no GPU adapter found ({reason}). Install a Vulkan driver, e.g. on Debian or Ubuntu: \
         apt install libvulkan1 mesa-vulkan-drivers"
    )]
    NoAdapter {
        /// What the backends said.
        reason: String,
    },
    /// The adapter that was asked for is not there.
    #[error("--adapter {wanted}: no such adapter. There are: {available}")]
    AdapterNotFound {
        /// The name or index that was asked for.
        wanted: String,
        /// `index: name (backend)` of all adapters.
        available: String,
    },
    /// The adapter refused to make a device.
    #[error("{adapter}: cannot make a device: {reason}")]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// wgpu's words.
        reason: String,
    },
    /// Something needs more than the device's limit.
    #[error("{what} needs {need} bytes in one {limit}, the device allows {have}")]
    Limit {
        /// What was being made.
        what: String,
        /// `buffer` or `storage binding`.
        limit: &'static str,
        /// Bytes needed.
        need: u64,
        /// Bytes allowed.
        have: u64,
    },
    /// The device has no memory left.
    #[error("out of GPU memory while making {what} ({}). Try a smaller --context", size(*bytes))]
    OutOfMemory {
        /// What was being made.
        what: String,
        /// Its size.
        bytes: u64,
    },
    /// A shader or pipeline was refused: a defect of ours or of the driver.
    #[error(
        "the driver refused kernel {kernel}: {reason}. Please report it with `lfm2 info` and `lfm2 selftest`"
    )]
    Pipeline {
        /// The kernel's variant.
        kernel: String,
        /// The compiler's words, first line.
        reason: String,
    },
    /// A dispatch or copy was refused: a defect of ours.
    #[error("the GPU refused {what}: {reason}")]
    Validation {
        /// What was being submitted.
        what: String,
        /// wgpu's words.
        reason: String,
    },
    /// The device went away: driver reset, unplugged, or destroyed by its owner.
    #[error("the GPU device was lost ({reason}). Start again; the model has to be loaded anew")]
    DeviceLost {
        /// The driver's words.
        reason: String,
    },
}

/// The first line of a compiler's or validator's message: errors are one line.
pub(crate) fn first_lines(text: &str) -> String {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).take(6).collect::<Vec<_>>().join(" | ")
}

/// `4.4 GiB`, `812 MiB`, `35 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, scale) in units {
        if bytes >= scale {
            let value = bytes as f64 / scale as f64;
            return if value < 10.0 {
                format!("{value:.1} {unit}")
            } else {
                format!("{value:.0} {unit}")
            };
        }
    }
    format!("{bytes} B")
}
