//! Compiles compute pipelines, once for each variant.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::PoisonError;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::first_lines;
use super::pipeline::Pipeline;
use super::shader::{Target, declared_bindings};
use super::{Device, GpuError, Variant};

/// Called from any thread with the number of compiled kernels and of all kernels to compile.
#[cfg(not(target_arch = "wasm32"))]
pub type OnCompiled<'a> = &'a (dyn Fn(usize, usize) + Sync);
/// Called with the number of compiled kernels and of all kernels to compile.
#[cfg(target_arch = "wasm32")]
pub type OnCompiled<'a> = &'a dyn Fn(usize, usize);

impl Device {
    /// Compiles the variants that are not compiled yet, natively on all cores. `on_compiled` is called before the
    /// first one and after each.
    ///
    /// # Errors
    /// [`GpuError::Pipeline`] if the driver refuses one.
    pub async fn compile(
        &self,
        variants: impl IntoIterator<Item = &Variant>,
        on_compiled: OnCompiled<'_>,
    ) -> Result<(), GpuError> {
        let mut missing: Vec<&Variant> = Vec::new();
        {
            let known = self.lock_pipelines();
            let mut seen = HashSet::new();
            missing.extend(
                variants.into_iter().filter(|v| !known.contains_key(*v) && seen.insert(*v)),
            );
        }
        if missing.is_empty() {
            return Ok(());
        }
        on_compiled(0, missing.len());
        for (variant, pipeline) in self.compile_all(&missing, on_compiled).await? {
            self.lock_pipelines().insert(variant, pipeline);
        }
        Ok(())
    }

    /// Writes the pipelines compiled so far to the directory of [`DeviceOptions::pipeline_cache`].
    ///
    /// [`DeviceOptions::pipeline_cache`]: super::DeviceOptions::pipeline_cache
    pub(crate) fn keep_pipelines(&self) {
        if let Some(kept) = &self.inner.pipeline_cache {
            kept.keep();
        }
    }

    pub(super) fn pipeline(&self, variant: &Variant) -> Option<Pipeline> {
        self.lock_pipelines().get(variant).cloned()
    }

    fn lock_pipelines(&self) -> std::sync::MutexGuard<'_, HashMap<Variant, Pipeline>> {
        self.inner.pipelines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each core takes the next variant when it has finished one, since some take a hundred times as long
    /// as others.
    #[cfg(not(target_arch = "wasm32"))]
    async fn compile_all(
        &self,
        missing: &[&Variant],
        on_compiled: OnCompiled<'_>,
    ) -> Result<Vec<(Variant, Pipeline)>, GpuError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let worker = || {
            let mut made = Vec::new();
            while let Some(variant) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                made.push(((*variant).clone(), pollster::block_on(self.begin(variant))?));
                on_compiled(done.fetch_add(1, Ordering::Relaxed) + 1, missing.len());
            }
            Ok::<_, GpuError>(made)
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..cores.min(missing.len())).map(|_| scope.spawn(worker)).collect();
            let mut all = Vec::new();
            for worker in workers {
                all.extend(worker.join().map_err(|_| GpuError::Pipeline {
                    kernel: "(unknown)".to_owned(),
                    reason: "the compiler panicked".to_owned(),
                })??);
            }
            Ok(all)
        })
    }

    #[cfg(target_arch = "wasm32")]
    async fn compile_all(
        &self,
        missing: &[&Variant],
        on_compiled: OnCompiled<'_>,
    ) -> Result<Vec<(Variant, Pipeline)>, GpuError> {
        // All are started before the first await, so that the browser compiles them in parallel.
        let begun: Vec<_> = missing.iter().map(|v| ((*v).clone(), self.begin(v))).collect();
        let mut done = Vec::new();
        for (variant, pipeline) in begun {
            done.push((variant, pipeline.await?));
            on_compiled(done.len(), missing.len());
        }
        Ok(done)
    }

    /// Starts to compile a variant. The future returns the pipeline or the compiler's error.
    fn begin<'a>(
        &'a self,
        variant: &Variant,
    ) -> impl Future<Output = Result<Pipeline, GpuError>> + use<'a> {
        let label = variant.to_string();
        let target = if cfg!(target_arch = "wasm32") { Target::Web } else { Target::Native };
        let begun = variant.assemble(target).map(|text| {
            let declared = declared_bindings(&text);
            let group1 = self.inner.layouts.group1(&self.inner.device, &declared);
            let (name, group) = (label.clone(), group1.clone());
            let make = move || self.compute_pipeline(&name, text, &group);
            (self.guard(&label, 0, make), group1, declared)
        });
        async move {
            let failed = |reason: String| GpuError::Pipeline { kernel: label, reason };
            let (made, group1, declared) = match begun {
                Ok(begun) => begun,
                Err(reason) => return Err(failed(reason)),
            };
            match made.await {
                Ok(pipeline) => Ok(Pipeline { pipeline, group1, declared }),
                Err(GpuError::Validation { reason, .. }) => Err(failed(first_lines(&reason))),
                Err(other) => Err(other),
            }
        }
    }

    fn compute_pipeline(
        &self,
        label: &str,
        text: String,
        group1: &wgpu::BindGroupLayout,
    ) -> wgpu::ComputePipeline {
        let device = &self.inner.device;
        let module = self.shader_module(label, text);
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(label),
            bind_group_layouts: &[Some(&self.inner.layouts.group0), Some(group1)],
            immediate_size: 0,
        });
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[],
                // Not needed: every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
            },
            cache: self.inner.pipeline_cache.as_ref().map(|kept| &kept.cache),
        })
    }

    /// Debug builds keep every run-time check. Release builds drop only the counter that bounds each loop,
    /// which takes 10 % of a matvec on lavapipe: all loops of the kernels have bounds.
    fn shader_module(&self, label: &str, text: String) -> wgpu::ShaderModule {
        let desc = wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        };
        if cfg!(debug_assertions) {
            return self.inner.device.create_shader_module(desc);
        }
        let checks = wgpu::ShaderRuntimeChecks {
            force_loop_bounding: false,
            ..wgpu::ShaderRuntimeChecks::checked()
        };
        // SAFETY: the contract is that no loop of the shader is infinite. Loop bounds are constants,
        // params, words of the batch table, positions below the context length, and numbers of candidates,
        // which `sample_draw` counts up to the vocabulary's size.
        #[allow(unsafe_code)]
        unsafe {
            self.inner.device.create_shader_module_trusted(desc, checks)
        }
    }
}
