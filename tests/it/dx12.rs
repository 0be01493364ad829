//! The HLSL of every variant compiles with Microsoft's compilers for DX12: DXC, and FXC, which wgpu takes where there
//! is no DXC. Both refuse programs that naga writes: FXC has to see that all lanes reach a barrier, and DXC wants a
//! semantic for every input.
//!
//! The test needs Wine, a compiler for Windows programs, and the compilers' libraries, which come with the npm package
//! `webgpu`. Without them it is skipped with a note, or fails if `LFM2_REQUIRE_DX12=1`.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use lfm2_wgpu::gpu::{Caps, Variant};
use lfm2_wgpu::kernels::KERNELS;
use naga::back::hlsl;

use crate::gpu::run_all;
use crate::shaders::validate;

/// With FXC a device has neither subgroups nor f16.
fn fxc_caps() -> Caps {
    let lanes = Caps { subgroups: false, min_subgroup: 0, max_subgroup: 0, ..Caps::everything() };
    Caps { f16: false, coop_side: 0, ..lanes }
}

fn dxc_caps() -> Caps {
    Caps { min_subgroup: 8, coop_side: 0, ..Caps::everything() }
}

/// The variants of a device. Unless tests run whole, other weights than Q4 get one variant for each kernel and product:
/// the rest of a kernel does not depend on them.
fn variants(caps: &Caps) -> Vec<Variant> {
    let mut all: Vec<Variant> = Vec::new();
    let mut products = HashSet::new();
    for variant in KERNELS.iter().flat_map(|kernel| (kernel.variants)(caps)) {
        let parts = variant.parts().unwrap();
        let of = |import| parts.iter().copied().find(|p| p.starts_with(import));
        let product = (variant.kernel, of("weights="), of("product="));
        let others = !matches!(product.1, None | Some("weights=q4"));
        if !variant.needs().coop
            && !all.contains(&variant)
            && (products.insert(product.clone()) || !others || run_all())
        {
            all.push(variant);
        }
    }
    all
}

/// The text that wgpu's release builds give to the compiler.
fn hlsl(variant: &Variant, shader_model: hlsl::ShaderModel) -> String {
    let (module, info) = validate(variant);
    let options = hlsl::Options {
        shader_model,
        fake_missing_bindings: true,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let entry_point = Some((naga::ShaderStage::Compute, "main".to_owned()));
    let pipeline = hlsl::PipelineOptions { entry_point };
    let mut out = String::new();
    hlsl::Writer::new(&mut out, &options, &pipeline).write(&module, &info, None).unwrap();
    format!("// {variant}\n{out}")
}

#[test]
fn every_variant_compiles_for_dx12() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("tools/dx12/compile.sh");
    if !Command::new(&script).arg("--available").status().unwrap().success() {
        let required = std::env::var("LFM2_REQUIRE_DX12").is_ok_and(|v| v == "1");
        assert!(!required, "DX12's compilers are not installed: tools/setup.sh --dev");
        eprintln!(
            "skipped: no Wine or no compiler for Windows (tools/setup.sh --dev installs them)"
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (compiler, caps, model) in
        [("fxc", fxc_caps(), hlsl::ShaderModel::V5_1), ("dxc", dxc_caps(), hlsl::ShaderModel::V6_6)]
    {
        let of_compiler = dir.path().join(compiler);
        std::fs::create_dir(&of_compiler).unwrap();
        for (i, variant) in variants(&caps).iter().enumerate() {
            let file = of_compiler.join(format!("{i:04}-{}.hlsl", variant.kernel));
            std::fs::write(file, hlsl(variant, model)).unwrap();
        }
    }
    let output = Command::new(script).arg(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
}
