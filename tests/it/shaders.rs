//! Checks of every variant of every kernel: naga accepts it and translates it to SPIR-V, MSL and HLSL,
//! its parameters have the layout of the Rust side, and it stays within WebGPU's default limits.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lfm2_wgpu::gpu::{Caps, SHADERS, Target, Variant, shader_parts};
use lfm2_wgpu::kernels::{KERNELS, PRELUDE_CONSTANTS};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

/// All capabilities that an adapter may have.
fn full() -> Caps {
    Caps { max_workgroup_memory: 32 << 10, min_subgroup: 8, ..Caps::everything() }
}

/// The same with larger subgroups only.
fn large_subgroups() -> Caps {
    Caps { min_subgroup: 32, ..full() }
}

/// The same with the cooperative matrices of Metal.
fn small_matrices() -> Caps {
    Caps { coop_side: 8, ..full() }
}

/// The same with workgroup memory for two buffers of operands.
fn two_buffers() -> Caps {
    Caps { max_workgroup_memory: 48 << 10, ..full() }
}

/// Every variant at default limits and with all optional features.
pub fn all_variants() -> Vec<Variant> {
    let mut all: Vec<Variant> = Vec::new();
    for kernel in KERNELS {
        for caps in [Caps::core(), full(), large_subgroups(), small_matrices(), two_buffers()] {
            for v in (kernel.variants)(&caps) {
                assert_eq!(v.kernel, kernel.name);
                if !all.contains(&v) {
                    all.push(v);
                }
            }
        }
    }
    all
}

pub fn validate(variant: &Variant) -> (naga::Module, ModuleInfo) {
    let text = variant.assemble(Target::Native).unwrap_or_else(|e| panic!("{variant}: {e}"));
    let module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|e| panic!("{variant}:\n{}", e.emit_to_string(&text)));
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if variant.needs().f16 {
        capabilities |= Capabilities::SHADER_FLOAT16;
    }
    if variant.needs().subgroups {
        capabilities |= Capabilities::SUBGROUP;
    }
    if variant.needs().coop {
        capabilities |= Capabilities::COOPERATIVE_MATRIX;
    }
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|e| panic!("{variant}:\n{}", e.emit_to_string(&text)));
    (module, info)
}

#[test]
fn every_variant_validates_and_translates() {
    let variants = all_variants();
    assert!(variants.len() > 100, "only {} variants", variants.len());
    for variant in &variants {
        let (module, info) = validate(variant);
        let translated = catch_unwind(AssertUnwindSafe(|| translate(variant, &module, &info)));
        match translated {
            Ok(Ok(())) => {}
            Ok(Err(e)) => panic!("{variant}: {e}"),
            Err(_) => panic!("{variant}: naga panicked while translating"),
        }
    }
}

fn translate(variant: &Variant, module: &naga::Module, info: &ModuleInfo) -> Result<(), String> {
    use naga::back::{hlsl, msl, spv};
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    let words = spv::write_vec(module, info, &options, None).map_err(|e| format!("SPIR-V: {e}"))?;
    if words.is_empty() {
        return Err("SPIR-V: empty".to_owned());
    }
    let options =
        msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
    msl::write_string(module, info, &options, &msl::PipelineOptions::default())
        .map_err(|e| format!("MSL: {e}"))?;
    if variant.needs().coop {
        // DX12 has no cooperative matrices.
        return Ok(());
    }
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_4,
        fake_missing_bindings: true,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions::default();
    let mut out = String::new();
    hlsl::Writer::new(&mut out, &options, &pipeline)
        .write(module, info, None)
        .map_err(|e| format!("HLSL: {e}"))?;
    Ok(())
}

/// The rounding of `pack2x16float` is the driver's, and AMD's driver of Mesa truncates.
#[test]
fn halves_are_packed_by_the_function_that_rounds_them() {
    let packs = |text: &str| {
        text.matches("pack2x16float(").count() - text.matches("unpack2x16float(").count()
    };
    for file in SHADERS {
        let rounding =
            file.text.split("fn nearest_halves").nth(1).and_then(|t| t.split("\n}").next());
        assert_eq!(packs(file.text), rounding.map_or(0, packs), "{}", file.name);
    }
    assert!(SHADERS.iter().any(|file| packs(file.text) == 2));
}

#[test]
fn every_variant_stays_within_default_limits() {
    let core = Caps::core();
    for variant in all_variants() {
        let (module, _) = validate(&variant);
        let mut storage = 0;
        let mut workgroup = 0;
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        for (_, global) in module.global_variables.iter() {
            match global.space {
                naga::AddressSpace::Storage { .. } => storage += 1,
                naga::AddressSpace::WorkGroup => {
                    let layout = layouter[global.ty];
                    workgroup += layout.alignment.round_up(layout.size);
                }
                _ => {}
            }
        }
        // Every kernel has the batch table, even if it does not read it.
        let reads_batch =
            module.global_variables.iter().any(|(_, g)| g.name.as_deref() == Some("batch"));
        assert!(reads_batch, "{variant}: no batch table");
        let parts = variant.parts().unwrap();
        // With adapters, products of a single row may need one more; others serve devices that have fewer.
        let adapted = parts.contains(&"lora=added");
        let most =
            if adapted { Caps::everything().max_storage_buffers } else { core.max_storage_buffers };
        assert!(storage <= most, "{variant}: {storage} storage buffers");
        let most = match parts {
            parts if parts.contains(&"buffers=two") => two_buffers(),
            _ if variant.needs().coop => full(),
            _ => core,
        };
        let most = most.max_workgroup_memory;
        assert!(workgroup <= most, "{variant}: {workgroup} bytes of workgroup memory");
        let entry = &module.entry_points[0];
        let lanes: u32 = entry.workgroup_size.iter().product();
        assert!(lanes <= core.max_invocations, "{variant}: {lanes} invocations");
    }
}

/// `Params` may hold only 32-bit scalars, for which WGSL aligns like `#[repr(C)]`.
#[test]
fn params_hold_32_bit_scalars_in_order() {
    for variant in all_variants() {
        let (module, _) = validate(&variant);
        let (_, params) = module
            .types
            .iter()
            .find(|(_, t)| t.name.as_deref() == Some("Params"))
            .unwrap_or_else(|| panic!("{variant}: no Params"));
        let naga::TypeInner::Struct { members, span } = &params.inner else { panic!("{variant}") };
        for (i, member) in members.iter().enumerate() {
            assert_eq!(member.offset as usize, i * 4, "{variant}: {:?}", member.name);
        }
        assert!(*span <= 256, "{variant}");
    }
}

/// A reader follows a Q4 product through four files: the kernel, the prelude and two with its parts.
#[test]
fn a_q4_product_takes_at_most_four_files() {
    let of = |part: &str| {
        let line = format!("#part {part}\n");
        SHADERS.iter().find(|file| file.text.contains(&line)).unwrap().name
    };
    let mut checked = 0;
    for variant in all_variants().iter().filter(|v| v.kernel == "matvec") {
        let parts = variant.parts().unwrap();
        if parts.contains(&"weights=q4") || parts.contains(&"weights=q4_pairs") {
            let mut files: HashSet<&str> = parts.into_iter().map(of).collect();
            files.extend(["matvec", "lib/prelude"]);
            assert!(files.len() <= 4, "{variant}: {files:?}");
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} variants");
}

/// The batch table's constants in the prelude are those of `src/kernels/batch.rs`.
#[test]
fn the_prelude_has_the_constants_of_the_batch_table() {
    let (module, _) = validate(&all_variants()[0]);
    let known: HashMap<&str, u32> = PRELUDE_CONSTANTS.iter().copied().collect();
    let mut found = 0;
    for (_, constant) in module.constants.iter() {
        let Some(name) = constant.name.as_deref() else { continue };
        let Some(want) = known.get(name) else {
            let ours = name.starts_with("BATCH_") || name.starts_with("SEQ_");
            assert!(!ours, "{name} is not in PRELUDE_CONSTANTS");
            continue;
        };
        let naga::Expression::Literal(naga::Literal::U32(got)) =
            module.global_expressions[constant.init]
        else {
            panic!("{name} is no u32")
        };
        assert_eq!(got, *want, "{name}");
        found += 1;
    }
    assert_eq!(found, known.len());
}

#[test]
fn every_shader_file_and_every_part_is_used() {
    let variants = all_variants();
    for file in SHADERS {
        let used = match file.name.strip_prefix("lib/") {
            Some("prelude") => true,
            Some(_) => file.text.lines().any(|line| line.starts_with("#part ")),
            None => variants.iter().any(|v| v.kernel == file.name),
        };
        assert!(used, "shaders/{}.wgsl has no part and is no kernel", file.name);
    }
    let included: HashSet<&str> = variants.iter().flat_map(|v| v.parts().unwrap()).collect();
    let mut labels = HashSet::new();
    for (label, _) in shader_parts() {
        assert!(included.contains(label), "#part {label} is imported by no kernel");
        assert!(labels.insert(label), "#part {label} is there twice");
    }
}
