//! WGSL to SPIR-V as wgpu's Vulkan backend does it in a release build.

use std::error::Error;

use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, GlobalVariable, Handle, Module, StructMember, TypeInner};

/// A kernel for the driver.
pub struct Spirv {
    /// Its words.
    pub words: Vec<u32>,
    /// Its buffers.
    pub bindings: Vec<Binding>,
    /// Bytes in the parameters at which the first words of the weights' planes are.
    pub planes: Vec<u32>,
}

/// A buffer of a kernel.
pub struct Binding {
    /// The shader's name for it.
    pub name: String,
    /// `@group`.
    pub group: u32,
    /// `@binding`.
    pub binding: u32,
    /// Its kind.
    pub kind: Kind,
    /// Whether the kernel uses it.
    pub used: bool,
}

/// Kinds of buffers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Parameters.
    Uniform,
    /// A tensor.
    Storage,
}

impl Spirv {
    /// Translates a kernel.
    pub fn of(wgsl: &str) -> Result<Self, Box<dyn Error>> {
        // Directives that only browsers demand and only naga refuses.
        let wgsl = wgsl.replace("enable subgroups;\n", "\n");
        let module = naga::front::wgsl::parse_str(&wgsl).map_err(|e| e.emit_to_string(&wgsl))?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::all())
            .validate(&module)
            .map_err(|e| e.emit_to_string(&wgsl))?;
        let options = spv::Options {
            lang_version: (1, 6),
            flags: spv::WriterFlags::LABEL_VARYINGS,
            bounds_check_policies: BoundsCheckPolicies {
                index: BoundsCheckPolicy::Restrict,
                // The hardware checks buffers.
                buffer: BoundsCheckPolicy::Unchecked,
                ..BoundsCheckPolicies::default()
            },
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: false,
            ..spv::Options::default()
        };
        let words = spv::write_vec(&module, &info, &options, None)?;
        Ok(Self { words, bindings: bindings(&module, &info), planes: planes(&module) })
    }

    /// The groups whose tensors the kernel uses.
    pub fn groups(&self) -> Vec<u32> {
        let used = |group: &u32| {
            self.bindings.iter().any(|b| b.group == *group && b.used && b.kind == Kind::Storage)
        };
        (0..=1).filter(used).collect()
    }

    /// The binding at `place` among a group's tensors, which alone take a place in its descriptor set.
    pub fn binding(&self, group: u32, place: usize) -> Option<u32> {
        let own = |b: &&Binding| b.group == group && b.kind == Kind::Storage;
        let mut bindings: Vec<u32> = self.bindings.iter().filter(own).map(|b| b.binding).collect();
        bindings.sort_unstable();
        bindings.get(place).copied()
    }

    /// Whether a binding has what a kernel reads most of: weights, or keys and values.
    pub fn is_weight(&self, tensor: (u32, u32)) -> bool {
        let streamed =
            |name: &str| name.starts_with("weight") || ["keys", "values", "router"].contains(&name);
        let at = |b: &&Binding| (b.group, b.binding) == tensor;
        self.bindings.iter().find(at).is_some_and(|b| streamed(&b.name))
    }
}

fn bindings(module: &Module, info: &ModuleInfo) -> Vec<Binding> {
    let main = info.get_entry_point(0);
    let buffer = |handle: Handle<GlobalVariable>, v: &GlobalVariable| {
        let at = v.binding?;
        let kind = match v.space {
            AddressSpace::Uniform => Kind::Uniform,
            _ => Kind::Storage,
        };
        let name = v.name.clone().unwrap_or_default();
        let used = !main[handle].is_empty();
        Some(Binding { name, group: at.group, binding: at.binding, kind, used })
    };
    module.global_variables.iter().filter_map(|(handle, v)| buffer(handle, v)).collect()
}

/// Offsets of the members `plane1`, `plane2`, ... of the parameters.
fn planes(module: &Module) -> Vec<u32> {
    let mut params =
        module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::Uniform);
    let Some((_, params)) = params.next() else { return Vec::new() };
    match &module.types[params.ty].inner {
        TypeInner::Struct { members, .. } => {
            let plane = |m: &&StructMember| m.name.as_ref().is_some_and(|n| n.starts_with("plane"));
            members.iter().filter(plane).map(|m| m.offset).collect()
        }
        _ => Vec::new(),
    }
}
