//! Compiles SPIR-V with a Vulkan driver and reads its report on the machine code.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::CStr;

use ash::{khr, vk};

use crate::spirv::{Kind, Spirv};

/// The maker of a GPU.
#[derive(Clone, Copy)]
pub enum Vendor {
    Amd,
    Intel,
    Nvidia,
}

/// A Vulkan device that only compiles. It is never destroyed: the program ends with it.
pub struct Driver {
    device: ash::Device,
    reports: khr::pipeline_executable_properties::Device,
    /// The GPU's name.
    pub name: String,
    /// The entry and the instance, which must outlive the device.
    _held: (ash::Entry, ash::Instance),
}

/// The driver's report on a kernel.
pub struct Report {
    /// Its numbers by their names.
    pub numbers: BTreeMap<String, f64>,
    /// Lanes of a wave.
    pub wave: u32,
    /// The machine code as text.
    pub assembly: String,
}

impl Driver {
    /// Makes a device of the first GPU with `wanted` in its name, which the driver only pretends to have.
    #[allow(unsafe_code)]
    pub fn open(wanted: &str) -> Result<Self, Box<dyn Error>> {
        // SAFETY: the structures are made by ash's builders and live until each call returns.
        unsafe {
            let entry = ash::Entry::load()?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let made = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&made, None)?;
            let name = |gpu| {
                let properties = instance.get_physical_device_properties(gpu);
                text(&properties.device_name)
            };
            let gpus = instance.enumerate_physical_devices()?;
            let Some(gpu) = gpus.iter().copied().find(|gpu| name(*gpu).contains(wanted)) else {
                let found: Vec<String> = gpus.into_iter().map(name).collect();
                return Err(format!(
                    "no `{wanted}` among the Vulkan devices ({}); start the program by `cargo xtask isa`",
                    found.join(", ")
                )
                .into());
            };
            // All features that the driver has. Of robustness2 only robust buffer access, as wgpu asks: null
            // descriptors change the code.
            let mut robust =
                vk::PhysicalDeviceRobustness2FeaturesEXT::default().robust_buffer_access2(true);
            let mut report = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
            let mut matrices = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default();
            let mut v11 = vk::PhysicalDeviceVulkan11Features::default();
            let mut v12 = vk::PhysicalDeviceVulkan12Features::default();
            let mut v13 = vk::PhysicalDeviceVulkan13Features::default();
            let extensions = instance.enumerate_device_extension_properties(gpu)?;
            let has = |wanted: &CStr| {
                extensions.iter().any(|e| e.extension_name_as_c_str() == Ok(wanted))
            };
            let mut wanted =
                vec![khr::pipeline_executable_properties::NAME, ash::ext::robustness2::NAME];
            let mut features = vk::PhysicalDeviceFeatures2::default()
                .push_next(&mut v11)
                .push_next(&mut v12)
                .push_next(&mut v13)
                .push_next(&mut report);
            // GPUs before RDNA 3 have no matrix units.
            if has(khr::cooperative_matrix::NAME) {
                wanted.push(khr::cooperative_matrix::NAME);
                features = features.push_next(&mut matrices);
            }
            instance.get_physical_device_features2(gpu, &mut features);
            features = features.push_next(&mut robust);
            let wanted: Vec<_> = wanted.into_iter().map(CStr::as_ptr).collect();
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let made = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&wanted)
                .push_next(&mut features);
            let device = instance.create_device(gpu, &made, None)?;
            let reports = khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Self { name: name(gpu), device, reports, _held: (entry, instance) })
        }
    }

    /// Compiles a kernel and reads the report on it.
    #[allow(unsafe_code)]
    pub fn compile(&self, spirv: &Spirv) -> Result<Report, Box<dyn Error>> {
        // SAFETY: as above. naga has validated the module whose SPIR-V this is.
        unsafe {
            let module = vk::ShaderModuleCreateInfo::default().code(&spirv.words);
            let module = self.device.create_shader_module(&module, None)?;
            let mut sets = Vec::new();
            for group in 0..=1 {
                let bindings: Vec<_> = spirv
                    .bindings
                    .iter()
                    .filter(|b| b.group == group)
                    .map(|b| {
                        vk::DescriptorSetLayoutBinding::default()
                            .binding(b.binding)
                            .descriptor_type(match b.kind {
                                Kind::Uniform => vk::DescriptorType::UNIFORM_BUFFER_DYNAMIC,
                                Kind::Storage => vk::DescriptorType::STORAGE_BUFFER,
                            })
                            .descriptor_count(1)
                            .stage_flags(vk::ShaderStageFlags::COMPUTE)
                    })
                    .collect();
                let layout = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
                sets.push(self.device.create_descriptor_set_layout(&layout, None)?);
            }
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = self.device.create_pipeline_layout(&layout, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let made =
                vk::ComputePipelineCreateInfo::default().flags(flags).stage(stage).layout(layout);
            let made = self
                .device
                .create_compute_pipelines(vk::PipelineCache::null(), &[made], None)
                .map_err(|(_, error)| error)?;
            let report = self.report(made[0])?;
            self.device.destroy_pipeline(made[0], None);
            self.device.destroy_pipeline_layout(layout, None);
            for set in sets {
                self.device.destroy_descriptor_set_layout(set, None);
            }
            self.device.destroy_shader_module(module, None);
            Ok(report)
        }
    }

    #[allow(unsafe_code)]
    unsafe fn report(&self, pipeline: vk::Pipeline) -> Result<Report, Box<dyn Error>> {
        use vk::PipelineExecutableStatisticFormatKHR as Format;
        // SAFETY: the pipeline is alive and was made with both flags.
        unsafe {
            let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
            let parts = self.reports.get_pipeline_executable_properties(&info)?;
            let wave = parts.first().ok_or("the driver reports nothing")?.subgroup_size;
            let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
            let mut numbers = BTreeMap::new();
            for number in self.reports.get_pipeline_executable_statistics(&info)? {
                let value = match number.format {
                    Format::BOOL32 => f64::from(number.value.b32),
                    Format::INT64 => number.value.i64 as f64,
                    Format::UINT64 => number.value.u64 as f64,
                    _ => number.value.f64,
                };
                numbers.insert(text(&number.name), value);
            }
            let mut assembly = String::new();
            let mut texts = self.reports.get_pipeline_executable_internal_representations(&info)?;
            let mut memory: Vec<Vec<u8>> = texts.iter().map(|t| vec![0; t.data_size]).collect();
            for (text, memory) in texts.iter_mut().zip(&mut memory) {
                text.p_data = memory.as_mut_ptr().cast();
            }
            let mut count = texts.len() as u32;
            (self.reports.fp().get_pipeline_executable_internal_representations_khr)(
                self.reports.device(),
                &info,
                &mut count,
                texts.as_mut_ptr(),
            )
            .result()?;
            for (representation, memory) in texts.iter().zip(&memory) {
                if text(&representation.name).to_lowercase().contains("assembly") {
                    let end = memory.iter().position(|b| *b == 0).unwrap_or(memory.len());
                    assembly = String::from_utf8_lossy(&memory[..end]).into_owned();
                }
            }
            Ok(Report { numbers, wave, assembly })
        }
    }
}

/// A text of fixed length that ends at its first zero.
fn text(chars: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
