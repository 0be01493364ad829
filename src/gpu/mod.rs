//! Devices, tensors, shaders, pipelines and recorded plans. Only this module names wgpu. It does not
//! know models, file formats or tokens.

mod caps;
mod compile;
mod device;
mod encoder;
mod error;
mod memory;
mod pipeline;
mod pipeline_cache;
mod plan;
mod profile;
mod report;
mod shader;
mod speed;
mod tensor;
mod transfer;

pub use caps::Caps;
pub use compile::OnCompiled;
pub use device::{
    AdapterChoice, Counters, Device, DeviceOptions, LimitsChoice, adapters, adapters_of,
    choose_adapter,
};
pub use encoder::Encoder;
pub use error::GpuError;
#[cfg(feature = "cli")]
pub(crate) use error::NO_ADAPTER;
pub(crate) use error::size;
pub use plan::{Dispatch, Extent, Grid, Plan, Reads, Recorder, StepShape};
pub use profile::{KernelTime, Profile};
pub use report::AdapterReport;
pub use shader::{Const, Needs, SHADERS, ShaderFile, ShaderPart, Target, Variant, shader_parts};
pub use tensor::{Binding, Element, Tensor};
pub use transfer::{Readback, Submission};
