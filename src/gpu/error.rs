//! Errors of the GPU.

use thiserror::Error;

/// How to get an adapter where there is none.
#[cfg(target_os = "linux")]
pub(crate) const NO_ADAPTER: &str =
    "Install a Vulkan driver, e.g. on Debian or Ubuntu: apt install libvulkan1 mesa-vulkan-drivers";
/// How to get an adapter where there is none.
#[cfg(not(target_os = "linux"))]
pub(crate) const NO_ADAPTER: &str =
    "Install the newest driver of your GPU's manufacturer, or of the system";

/// A failure of the adapter, the device, a shader or a transfer.
#[derive(Debug, Error, Clone)]
#[non_exhaustive]
pub enum GpuError {
    /// There is no adapter: no driver is installed, or it does not support compute.
    #[error("no GPU adapter found ({reason}). {NO_ADAPTER}")]
    NoAdapter {
        /// Message of the backends.
        reason: String,
    },
    /// There is no adapter of the requested name or index.
    #[error("--adapter {wanted}: no such adapter. There are: {available}")]
    AdapterNotFound {
        /// The requested name or index.
        wanted: String,
        /// `index: name (backend)` of all adapters.
        available: String,
    },
    /// The adapter could not make a device.
    #[error("{adapter}: cannot make a device: {reason}")]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// Message of wgpu.
        reason: String,
    },
    /// An object needs more than the device's limit.
    #[error("{what} needs {need} bytes in one {limit}, the device allows {have}")]
    Limit {
        /// The object.
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
        /// The object.
        what: String,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A shader or pipeline was refused: a defect of the engine or of the driver.
    #[error(
        "the driver refused kernel {kernel}: {reason}. Please report it with `lfm2 info` and `lfm2 selftest`"
    )]
    Pipeline {
        /// The kernel's variant.
        kernel: String,
        /// First lines of the compiler's message.
        reason: String,
    },
    /// A dispatch or copy was refused: a defect of the engine.
    #[error("the GPU refused {what}: {reason}")]
    Validation {
        /// The refused work.
        what: String,
        /// Message of wgpu.
        reason: String,
    },
    /// The device was lost: the driver reset, it was unplugged, or its owner destroyed it.
    #[error("the GPU device was lost ({reason}). Start again; the model has to be loaded anew")]
    DeviceLost {
        /// Message of the driver.
        reason: String,
    },
}

/// The first lines of a compiler's or validator's message, joined to one: errors are one line.
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
