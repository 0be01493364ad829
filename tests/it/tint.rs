//! The browser's text of every variant compiles with Tint, Chromium's compiler.
//!
//! naga does not check uniformity and knows other directives, so a browser may refuse a shader that naga
//! accepts. The test needs Node and `npm ci --ignore-scripts --prefix web`. Without them it is
//! skipped with a note, or fails if `LFM2_REQUIRE_TINT=1`.

use std::path::Path;
use std::process::Command;

use lfm2_wgpu::gpu::Target;

use crate::shaders::all_variants;

#[test]
fn every_variant_compiles_with_tint() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join("web/node_modules/webgpu").is_dir() {
        let required = std::env::var("LFM2_REQUIRE_TINT").is_ok_and(|v| v == "1");
        assert!(!required, "Tint is not installed: npm ci --ignore-scripts --prefix web");
        eprintln!("skipped: no web/node_modules/webgpu (tools/setup.sh --dev installs it)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Browsers have no cooperative matrices.
    let web = all_variants().into_iter().filter(|v| !v.needs().coop);
    for (i, variant) in web.enumerate() {
        let text = variant.assemble(Target::Web).unwrap();
        let file = dir.path().join(format!("{:03}-{}.wgsl", i, variant.kernel));
        std::fs::write(file, format!("// {variant}\n{text}")).unwrap();
    }
    let output = Command::new("node")
        .arg(root.join("tools/tint/check.mjs"))
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{}", String::from_utf8_lossy(&output.stdout));
}
