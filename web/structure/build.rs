//! llguidance recurses into rules, brackets and schemas. With the usual stack of 1 MB, a grammar of 900 rules that each use
//! the next one ends the module.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={}", 8 << 20);
    }
    println!("cargo::rerun-if-changed=build.rs");
}
