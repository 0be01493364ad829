//! A device and its queue, requested by the engine or adopted from a host application.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;

use super::caps::{WANTED_FEATURES, experimental, wanted_limits};
use super::error::first_lines;
use super::pipeline::{Layouts, Pipeline};
use super::pipeline_cache::PipelineCache;
use super::tensor::{Ledger, Memory};
use super::{AdapterReport, Caps, Element, GpuError, Tensor, Variant, memory};

/// Choice of the adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// A discrete GPU if there is one, else an integrated one, else any adapter.
    #[default]
    Best,
    /// By index in [`adapters`], or by a case-insensitive part of its name.
    Named(String),
}

/// Limits and features to request of the adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitsChoice {
    /// All limits and features of the adapter that the engine can use.
    #[default]
    Adapter,
    /// WebGPU's defaults and no optional feature, as in any browser.
    Default,
}

/// Options of [`Device::request`].
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// The adapter.
    pub adapter: AdapterChoice,
    /// Limits and features.
    pub limits: LimitsChoice,
    /// A directory for compiled pipelines, so that a later start does not compile them again. Only used
    /// on Vulkan. Drivers trust its content, so only the user should be able to write there.
    pub pipeline_cache: Option<PathBuf>,
}

fn instance() -> wgpu::Instance {
    let mut desc = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    desc.backends &= wgpu::Backends::PRIMARY;
    wgpu::Instance::new(desc)
}

/// Every adapter of the machine that can compute.
pub async fn adapters() -> Vec<AdapterReport> {
    adapters_of(&instance()).await
}

/// As [`adapters`], with the caller's instance.
pub async fn adapters_of(instance: &wgpu::Instance) -> Vec<AdapterReport> {
    reports(&instance.enumerate_adapters(wgpu::Backends::PRIMARY).await)
}

/// Work that the engine has requested of the GPU since the device was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Compute dispatches.
    pub dispatches: u64,
    /// Queue submissions that carried work.
    pub submissions: u64,
    /// Bytes copied back to the CPU.
    pub readback_bytes: u64,
    /// Nanoseconds that the host took to encode submissions and to hand them to the driver.
    pub host_nanoseconds: u64,
    /// Bytes of the engine's GPU buffers that exist now.
    pub allocated_bytes: u64,
    /// Most bytes of them that existed at one time.
    pub peak_allocated_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub caps: Caps,
    pub layouts: Layouts,
    pub pipelines: Mutex<HashMap<Variant, Pipeline>>,
    pub pipeline_cache: Option<PipelineCache>,
    pub dispatches: AtomicU64,
    pub submissions: AtomicU64,
    pub readback_bytes: AtomicU64,
    pub host_nanoseconds: AtomicU64,
    pub ledger: Arc<Ledger>,
    report: AdapterReport,
    /// The options of [`Device::request`], which can make another device like this one.
    requested: Option<DeviceOptions>,
    /// Reason of the device's loss, or the first error that no call was waiting for.
    fault: Arc<Mutex<Option<GpuError>>>,
}

/// A GPU device and the engine's data for it: layouts, pipelines, counters.
///
/// Clones share the device. Natively it is `Send + Sync`.
#[derive(Clone, Debug)]
pub struct Device {
    pub(super) inner: Arc<Inner>,
    /// For a device that only records plans: the capabilities that kernels are chosen by.
    planned_for: Option<Caps>,
}

impl Device {
    /// Requests an adapter and a device.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`], [`GpuError::AdapterNotFound`] or [`GpuError::NoDevice`].
    pub async fn request(options: &DeviceOptions) -> Result<Self, GpuError> {
        Self::made(&instance(), options, Some(options.clone())).await
    }

    /// Whether [`Device::request`] made it, so that it can be replaced.
    pub(crate) fn is_own(&self) -> bool {
        self.inner.requested.is_some()
    }

    /// Another device like this one, after it was lost. Drivers need some seconds after a reset, so it tries again
    /// for a while.
    ///
    /// # Errors
    /// As [`Device::request`].
    pub(crate) async fn request_again(&self) -> Result<Self, GpuError> {
        let options = self.inner.requested.clone().unwrap_or_default();
        #[cfg(not(target_arch = "wasm32"))]
        for wait in [0, 1, 2, 4] {
            std::thread::sleep(std::time::Duration::from_secs(wait));
            if let Ok(device) = Self::request(&options).await {
                return Ok(device);
            }
        }
        Self::request(&options).await
    }

    /// As [`Device::request`], with the caller's instance.
    ///
    /// # Errors
    /// The same.
    pub async fn request_of(
        instance: &wgpu::Instance,
        options: &DeviceOptions,
    ) -> Result<Self, GpuError> {
        Self::made(instance, options, None).await
    }

    async fn made(
        instance: &wgpu::Instance,
        options: &DeviceOptions,
        requested: Option<DeviceOptions>,
    ) -> Result<Self, GpuError> {
        let (index, adapter) = choose(instance, &options.adapter).await?;
        let info = adapter.get_info();
        let mut limits = wgpu::Limits::defaults();
        let mut features = wgpu::Features::empty();
        if options.limits == LimitsChoice::Adapter {
            features = adapter.features() & WANTED_FEATURES;
            limits = wanted_limits(&adapter.limits());
        }
        // A large value costs memory on DX12; the engine binds a few thousand buffers.
        limits.max_non_sampler_bindings = 100_000;
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("lfm2-wgpu"),
                required_features: features,
                required_limits: limits,
                // Small memory blocks, so that each large tensor gets memory of its own. The default
                // blocks, of 128 MiB and more, left a fifth unused with LFM2-8B: 0.8 GB.
                experimental_features: experimental(features),
                memory_hints: wgpu::MemoryHints::MemoryUsage,
                ..Default::default()
            })
            .await
            .map_err(|e| GpuError::NoDevice {
                adapter: info.name.clone(),
                reason: first_lines(&e.to_string()),
            })?;
        let fault = Arc::new(Mutex::new(None));
        let sink = fault.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            log::error!("uncaptured GPU error: {e}");
            note(&sink, from_wgpu(&e, "a command", 0));
        }));
        let sink = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            let reason = format!("{reason:?}: {}", first_lines(&message));
            note(&sink, GpuError::DeviceLost { reason });
        });
        let mut caps = Caps::of_device(&device);
        if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            caps = caps.with_cooperative_matrices(&adapter);
        }
        let memory = memory::of_adapter(&adapter);
        // A browser's adapter does not report everything that its device may have.
        let told = if cfg!(target_arch = "wasm32") { caps } else { Caps::of_adapter(&adapter) };
        let report = AdapterReport::new(index, &info, told, memory);
        let kept = match &options.pipeline_cache {
            Some(directory) => PipelineCache::open(&device, directory).await,
            None => None,
        };
        Ok(Self::assemble(device, queue, caps, kept, report, requested, fault))
    }

    /// Adopts a host application's device. Its error and device-lost handlers stay in place. Kernels are
    /// chosen by the features and limits that it was made with.
    #[must_use]
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let caps = Caps::of_device(&device);
        let report = AdapterReport::new(0, &device.adapter_info(), caps, None);
        Self::assemble(device, queue, caps, None, report, None, Arc::new(Mutex::new(None)))
    }

    fn assemble(
        device: wgpu::Device,
        queue: wgpu::Queue,
        caps: Caps,
        pipeline_cache: Option<PipelineCache>,
        report: AdapterReport,
        requested: Option<DeviceOptions>,
        fault: Arc<Mutex<Option<GpuError>>>,
    ) -> Self {
        let layouts = Layouts::new(&device);
        Self {
            inner: Arc::new(Inner {
                device,
                queue,
                caps,
                layouts,
                pipelines: Mutex::new(HashMap::new()),
                pipeline_cache,
                dispatches: AtomicU64::new(0),
                submissions: AtomicU64::new(0),
                readback_bytes: AtomicU64::new(0),
                host_nanoseconds: AtomicU64::new(0),
                ledger: Arc::default(),
                report,
                requested,
                fault,
            }),
            planned_for: None,
        }
    }

    /// The same device for recording plans that are never replayed: its tensors have a length and no
    /// memory, writes to them do nothing, and kernels are chosen by `caps`.
    pub(crate) fn for_planning(&self, caps: Caps) -> Self {
        Self { inner: self.inner.clone(), planned_for: Some(caps) }
    }

    /// Whether tensors have memory.
    pub(super) fn has_memory(&self) -> bool {
        self.planned_for.is_none()
    }

    /// The features and limits that kernels may use.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        self.planned_for.as_ref().unwrap_or(&self.inner.caps)
    }

    /// The adapter behind the device.
    #[must_use]
    pub fn adapter(&self) -> &AdapterReport {
        &self.inner.report
    }

    /// wgpu's device, for work of the host application's own.
    #[must_use]
    pub fn wgpu_device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// wgpu's queue, for work of the host application's own.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// Work requested of the GPU so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let get = |a: &AtomicU64| a.load(Ordering::Relaxed);
        Counters {
            dispatches: get(&self.inner.dispatches),
            submissions: get(&self.inner.submissions),
            readback_bytes: get(&self.inner.readback_bytes),
            host_nanoseconds: get(&self.inner.host_nanoseconds),
            allocated_bytes: self.inner.ledger.alive(),
            peak_allocated_bytes: self.inner.ledger.peak(),
        }
    }

    /// Reports the device's fault, if it had one: its loss, or an error that no call was waiting for.
    ///
    /// # Errors
    /// That fault.
    pub fn check(&self) -> Result<(), GpuError> {
        match &*self.inner.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    }

    /// Makes a zeroed tensor of `len` elements.
    ///
    /// # Errors
    /// [`GpuError::Limit`] if it fits no buffer or binding, [`GpuError::OutOfMemory`].
    pub async fn tensor<T: Element>(&self, label: &str, len: usize) -> Result<Tensor<T>, GpuError> {
        // A binding of zero bytes is not allowed.
        let bytes = (len.max(1) * size_of::<T>()) as u64;
        let caps = self.caps();
        for (limit, have) in [("buffer", caps.max_buffer), ("storage binding", caps.max_binding)] {
            if bytes > have {
                return Err(GpuError::Limit { what: label.to_owned(), limit, need: bytes, have });
            }
        }
        let buffer = self
            .guard(label, bytes, || {
                self.inner.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size: if self.has_memory() { bytes } else { 4 },
                    usage: wgpu::BufferUsages::STORAGE
                        | wgpu::BufferUsages::COPY_DST
                        | wgpu::BufferUsages::COPY_SRC,
                    mapped_at_creation: false,
                })
            })
            .await?;
        Ok(Tensor::new(Memory::new(buffer, &self.inner.ledger), len))
    }

    /// Makes a tensor that holds `data`.
    ///
    /// # Errors
    /// As [`Device::tensor`].
    pub async fn tensor_of<T: Element>(
        &self,
        label: &str,
        data: &[T],
    ) -> Result<Tensor<T>, GpuError> {
        let tensor = self.tensor(label, data.len()).await?;
        self.write(&tensor, 0, data);
        Ok(tensor)
    }

    /// Runs `f`, which calls the device, at once. The future returns the error that the device reported.
    pub(super) fn guard<'a, R, F: FnOnce() -> R>(
        &'a self,
        what: &str,
        bytes: u64,
        f: F,
    ) -> impl Future<Output = Result<R, GpuError>> + use<'a, R, F> {
        let (result, reported) = self.scoped(f);
        let what = what.to_owned();
        async move {
            let Some(e) = reported.await else { return Ok(result) };
            self.check()?;
            Err(from_wgpu(&e, &what, bytes))
        }
    }

    /// As [`Device::guard`] where nothing can wait. The next [`Device::check`] returns an error that the
    /// device reported at once; natively all errors are.
    pub(super) fn guard_now<R>(&self, what: &str, f: impl FnOnce() -> R) -> R {
        let (result, reported) = self.scoped(f);
        if let Some(Some(e)) = reported.now_or_never() {
            note(&self.inner.fault, self.loss_or(from_wgpu(&e, what, 0)));
        }
        result
    }

    /// The error of a call that only fails on a lost device, since all its buffers were made without error.
    /// A lost device reports no errors of its own; it makes invalid objects, and their use is reported.
    /// The callback of our own device knows the reason once the device has been polled. A host's device
    /// has the host's callback.
    pub(super) fn loss_or(&self, e: GpuError) -> GpuError {
        // On the web the callback comes by itself.
        let _ = self.inner.device.poll(wgpu::PollType::Poll);
        match (self.check(), e) {
            (Err(GpuError::DeviceLost { reason }), _) => GpuError::DeviceLost { reason },
            (_, GpuError::Validation { reason, .. }) if reason.contains("is invalid") => {
                GpuError::DeviceLost { reason }
            }
            (_, e) => e,
        }
    }

    /// Runs `f` within error scopes. They need no handler, so they work on a host's device too. Scopes are a
    /// stack of the thread, so they are popped before the first await.
    fn scoped<R, F: FnOnce() -> R>(
        &self,
        f: F,
    ) -> (R, impl Future<Output = Option<wgpu::Error>> + use<R, F>) {
        let device = &self.inner.device;
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let result = f();
        // The innermost first.
        let (memory, validation, internal) = (memory.pop(), validation.pop(), internal.pop());
        let reported = async move {
            let (memory, validation) = (memory.await, validation.await);
            memory.or(validation).or(internal.await)
        };
        (result, reported)
    }
}

/// Keeps the first fault; the loss of the device replaces it, as it explains all others.
fn note(fault: &Mutex<Option<GpuError>>, error: GpuError) {
    let mut known = fault.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_none() || matches!(error, GpuError::DeviceLost { .. }) {
        *known = Some(error);
    }
}

fn from_wgpu(error: &wgpu::Error, what: &str, bytes: u64) -> GpuError {
    match error {
        wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory { what: what.to_owned(), bytes },
        other => {
            let text = other.to_string();
            GpuError::Validation { what: what.to_owned(), reason: first_lines(&text) }
        }
    }
}

async fn choose(
    instance: &wgpu::Instance,
    choice: &AdapterChoice,
) -> Result<(usize, wgpu::Adapter), GpuError> {
    // The browser has one adapter for each power preference and does not list them.
    #[cfg(target_arch = "wasm32")]
    let mut found = {
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        match instance.request_adapter(&options).await {
            Ok(adapter) => vec![adapter],
            Err(e) => return Err(GpuError::NoAdapter { reason: first_lines(&e.to_string()) }),
        }
    };
    #[cfg(not(target_arch = "wasm32"))]
    let mut found = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
    let index = choose_adapter(&reports(&found), choice)?;
    Ok((index, found.swap_remove(index)))
}

fn reports(found: &[wgpu::Adapter]) -> Vec<AdapterReport> {
    let report = |(i, a): (usize, &wgpu::Adapter)| {
        AdapterReport::new(i, &a.get_info(), Caps::of_adapter(a), memory::of_adapter(a))
    };
    found.iter().enumerate().map(report).collect()
}

/// Index of the adapter among `found` that the engine uses.
///
/// # Errors
/// [`GpuError::NoAdapter`] if there is none, [`GpuError::AdapterNotFound`] if none has that index
/// or name.
pub fn choose_adapter(found: &[AdapterReport], choice: &AdapterChoice) -> Result<usize, GpuError> {
    let index = match choice {
        AdapterChoice::Best => {
            let rank = |a: &AdapterReport| match a.kind {
                "discrete" => 0,
                "integrated" => 1,
                "virtual" => 2,
                "other" => 3,
                _ => 4,
            };
            (0..found.len()).min_by_key(|&i| rank(&found[i]))
        }
        AdapterChoice::Named(wanted) => {
            let by_index = wanted.parse::<usize>().ok().filter(|i| *i < found.len());
            let lower = wanted.to_lowercase();
            by_index.or_else(|| found.iter().position(|a| a.name.to_lowercase().contains(&lower)))
        }
    };
    index.ok_or_else(|| match choice {
        AdapterChoice::Named(wanted) if !found.is_empty() => GpuError::AdapterNotFound {
            wanted: wanted.clone(),
            available: found
                .iter()
                .map(|a| format!("{}: {} ({})", a.index, a.name, a.backend))
                .collect::<Vec<_>>()
                .join(", "),
        },
        _ => GpuError::NoAdapter { reason: "no adapter can compute".to_owned() },
    })
}
