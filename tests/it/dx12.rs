//! The HLSL of the variants (of all when tests run whole) compiles with Microsoft's compilers for DX12: DXC, and FXC,
//! which wgpu takes where there is no DXC. Both refuse programs that naga writes: FXC has to see that all lanes reach a
//! barrier, and DXC wants a semantic for every input.
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

/// Subgroups as those of Intel's GPUs, and of others.
fn dxc_caps() -> [Caps; 2] {
    let large = Caps { coop_side: 0, ..Caps::everything() };
    [Caps { min_subgroup: 8, ..large }, large]
}

/// The variants of devices. Unless tests run whole, other weights than Q4 get one variant for each kernel and product:
/// the rest of a kernel does not depend on them. Operations on the result (bias, adapters, epilogue) get one variant for
/// each kernel and kind of items, not each in all combinations with the other parts.
fn variants(devices: &[Caps]) -> Vec<Variant> {
    let mut all: Vec<Variant> = Vec::new();
    let mut products = HashSet::new();
    let mut rests = HashSet::new();
    let mut results = HashSet::new();
    for variant in devices.iter().flat_map(|caps| KERNELS.iter().flat_map(|k| (k.variants)(caps))) {
        let parts = variant.parts().unwrap();
        let of = |import| parts.iter().copied().find(|p| p.starts_with(import));
        let product = (variant.kernel, of("weights="), of("product="));
        let others = !matches!(product.1, None | Some("weights=q4" | "weights=q4_pairs"));
        if variant.needs().coop
            || all.contains(&variant)
            || (others && !products.insert(product) && !run_all())
        {
            continue;
        }
        let name = variant.to_string();
        let on_result = |word: &&str| {
            ["bias=", "lora=", "epilogue="].iter().any(|import| word.starts_with(import))
        };
        let (result, rest): (Vec<_>, Vec<_>) = name.split(' ').partition(on_result);
        let items = of("items=").unwrap_or_default();
        let result = format!("{} {items} {}", variant.kernel, result.join(" "));
        if rests.insert(rest.join(" ")) | results.insert(result) || run_all() {
            all.push(variant);
        }
    }
    all
}

/// The text of a release build. Only the numbers of bindings are not those of wgpu.
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

/// A folder with the texts for FXC and for DXC.
fn folder(texts: [Vec<String>; 2]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (compiler, texts) in ["fxc", "dxc"].iter().zip(texts) {
        let of_compiler = dir.path().join(compiler);
        std::fs::create_dir(&of_compiler).unwrap();
        for (i, text) in texts.iter().enumerate() {
            std::fs::write(of_compiler.join(format!("{i:04}.hlsl")), text).unwrap();
        }
    }
    dir
}

/// Whether all texts of a folder compile, and the output.
fn compile(script: &Path, folder: &Path) -> (bool, String) {
    let output = Command::new(script).arg(folder).output().unwrap();
    let said = [output.stdout, output.stderr].map(|s| String::from_utf8_lossy(&s).into_owned());
    (output.status.success(), said.concat())
}

/// Files of FXC and of DXC, and how many of them failed.
fn counts(said: &str) -> [(usize, usize); 2] {
    ["fxc: ", "dxc: "].map(|compiler| {
        let mut sum = (0, 0);
        for line in said.lines().filter_map(|line| line.strip_prefix(compiler)) {
            let words: Vec<_> = line.split_whitespace().collect();
            if let [files, "files,", failed, "failed"] = words[..] {
                sum.0 += files.parse::<usize>().unwrap();
                sum.1 += failed.parse::<usize>().unwrap();
            }
        }
        sum
    })
}

/// A barrier that lanes reach differently often, which FXC refuses.
const VARYING: &str = "// varying
RWByteAddressBuffer b;
groupshared uint g[64];
[numthreads(64, 1, 1)]
void main(uint i : SV_GroupIndex) {
    for (uint k = 0; k < b.Load(4 * i); k++) {
        g[i] = k;
        GroupMemoryBarrierWithGroupSync();
        b.Store(4 * i, g[63 - i]);
    }
}
";

/// An input without a semantic, which DXC refuses.
const NAMELESS: &str = "// nameless
[numthreads(64, 1, 1)]
void main(uint lane) {}
";

#[test]
fn variants_compile_for_dx12() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/dx12/compile.sh");
    if !Command::new(&script).arg("--available").status().is_ok_and(|status| status.success()) {
        let required = std::env::var("LFM2_REQUIRE_DX12").is_ok_and(|v| v == "1");
        assert!(!required, "DX12's compilers are not installed: tools/setup.sh --dev");
        eprintln!("skipped: no Wine or no compiler for Windows programs (tools/dx12/compile.sh)");
        return;
    }
    let wrong = folder([vec![VARYING.to_owned()], vec![NAMELESS.to_owned()]]);
    let (ok, said) = compile(&script, wrong.path());
    assert!(!ok && counts(&said) == [(1, 1), (1, 1)], "{said}");

    let fxc = (vec![fxc_caps()], hlsl::ShaderModel::V5_1);
    let dxc = (dxc_caps().into(), hlsl::ShaderModel::V6_6);
    let texts = [fxc, dxc].map(|(devices, model)| {
        variants(&devices).iter().map(|variant| hlsl(variant, model)).collect::<Vec<_>>()
    });
    assert!(texts.iter().all(|texts| texts.len() > 100));
    let want = texts.each_ref().map(|texts| (texts.len(), 0));
    let (ok, said) = compile(&script, folder(texts).path());
    assert!(ok && counts(&said) == want, "{said}");
    println!("{said}");
}
