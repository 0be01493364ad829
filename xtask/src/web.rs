//! Builds the web package (the engine as wasm32, its JavaScript, and the TypeScript around them), the demonstration
//! model's package, and the tests that are compiled to wasm.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

const TARGET: &str = "wasm32-unknown-unknown";
/// Files of assets/demo that belong to the model.
const DEMO: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];
/// The WebAssembly modules and their crates. A visitor loads the second one only for an answer of a given form.
const MODULES: [(&str, &str); 2] =
    [("lfm2", "lfm2-wgpu-web"), ("structure", "lfm2-wgpu-structure")];
/// The file of the second module.
const STRUCTURE: &str = "structure_bg.wasm";
/// Files of every package.
const LICENCES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];
/// wasm features that the compiler emits; every browser with WebGPU has them.
const WASM_FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
];
/// Maximum size of the wasm and JavaScript that every visitor loads, gzipped.
const MAX_GZIP: usize = 1_000_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Build profile of the wasm.
#[derive(Clone, Copy, PartialEq)]
pub enum Profile {
    /// Smallest size: linking everything as one takes minutes.
    Published,
    /// Fastest build, for tests: without wasm-opt and without a size limit.
    Dev,
}

impl Profile {
    /// Name in Cargo.toml.
    fn name(self) -> &'static str {
        match self {
            Self::Published => "web",
            Self::Dev => "web-dev",
        }
    }
}

/// Builds all of web/dist, and the demonstration model's package in web/demo.
pub fn build(profile: Profile) -> Outcome<()> {
    let root = root()?;
    let web = root.join("web");
    let bin = web.join("node_modules/.bin");
    if !bin.join("wasm-opt").exists() {
        return Err("no web/node_modules: run tools/setup.sh --dev".into());
    }
    if profile == Profile::Published {
        say("compiling; the last crate takes many minutes, because all crates are linked as one");
    }
    let mut compiled = Vec::new();
    for (name, package) in MODULES {
        compiled.push((name, compile(&root, package, profile)?));
    }

    let dist = web.join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    fs::create_dir_all(dist.join("wasm"))?;
    if profile == Profile::Published {
        say("optimising the wasm's size, which takes minutes");
    }
    for (name, compiled) in compiled {
        bind(&compiled, name, &dist.join("wasm"))?;
        if profile == Profile::Published {
            let wasm = dist.join(format!("wasm/{name}_bg.wasm"));
            run(Command::new(bin.join("wasm-opt"))
                .args(WASM_FEATURES)
                .arg("-Oz")
                .arg(&wasm)
                .arg("-o")
                .arg(&wasm))?;
        }
    }
    // By its path: `.bin/tsc` may be the older compiler that a test needs.
    let compiler = web.join("node_modules/typescript/bin/tsc");
    run(Command::new("node").arg(compiler).arg("--project").arg(&web))?;
    let model = web.join("demo");
    demo(&root.join("assets/demo"), &model.join("model"))?;
    for package in [&web, &model] {
        for licence in LICENCES {
            fs::copy(root.join(licence), package.join(licence))?;
        }
    }
    if profile == Profile::Published { sizes(&dist) } else { Ok(()) }
}

/// Builds the tests of kernels and goldens that web/tests/gpu.test.mjs runs in a browser.
pub fn build_tests(profile: Profile) -> Outcome<()> {
    let root = root()?;
    let compiled = compile(&root, "lfm2-wgpu-web-tests", profile)?;
    bind(&compiled, "tests", &root.join("target/web-tests"))
}

/// Prints the step that begins. Some steps are silent for minutes.
fn say(step: &str) {
    eprintln!("xtask: {step}");
}

fn root() -> Outcome<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?)
}

/// Compiles a crate to wasm, with rustup's target or Debian's compiler.
fn compile(root: &Path, package: &str, profile: Profile) -> Outcome<PathBuf> {
    // A separate folder, because profile and flags differ from those of native builds.
    let target = root.join("target/web");
    let folder = target.join(TARGET).join(profile.name());
    let compiled = folder.join(package.replace('-', "_") + ".wasm");
    let build = |cargo: &str| {
        let mut command = Command::new(cargo);
        command.current_dir(root).args(["build", "--locked", "--package", package]);
        command.args(["--profile", profile.name(), "--target", TARGET]);
        command.arg("--target-dir").arg(&target);
        command
    };
    let libraries =
        Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output()?;
    if Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).exists() {
        run(&mut build("cargo"))?;
        return Ok(compiled);
    }
    if !Path::new("/usr/share/doc/rustc-web").exists() {
        return Err(format!(
            "no compiler for {TARGET}: run `rustup target add {TARGET}`, or on Debian \
             `apt-get install rustc-web cargo-web rust-web-src lld-19`"
        )
        .into());
    }
    run(build("/usr/bin/cargo")
        .arg("-Zbuild-std=std,panic_abort")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", "/usr/bin/rustc")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld-19"))?;
    Ok(compiled)
}

/// Generates the JavaScript bindings of a compiled crate: an ES module of this name, and its wasm.
fn bind(compiled: &Path, name: &str, into: &Path) -> Outcome<()> {
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(compiled)
        .web(true)
        .map_err(|e| e.to_string())?
        // A trap leaves a module in an unknown state. TypeScript then calls this function, which starts a new one.
        .reset_state_function(name == "structure")
        .out_name(name)
        .typescript(true)
        .omit_default_module_path(false)
        .generate(into)
        .map_err(|e| e.to_string())?;
    Ok(())
}

fn run(command: &mut Command) -> Outcome<()> {
    let status = command.status().map_err(|e| format!("{command:?}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// Writes the demonstration model as a package: its files and their manifest (docs/weights.md).
fn demo(from: &Path, to: &Path) -> Outcome<()> {
    fs::create_dir_all(to)?;
    let mut files = Vec::new();
    for name in DEMO {
        let bytes = fs::read(from.join(name))?;
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        files.push(format!(
            "    {{ \"name\": \"{name}\", \"bytes\": {}, \"sha256\": \"{hash}\" }}",
            bytes.len()
        ));
        fs::write(to.join(name), bytes)?;
    }
    let manifest = format!(
        "{{\n  \"format\": \"lfm2-wgpu package\",\n  \"version\": 1,\n  \"source\": \"assets/demo\",\n  \
         \"recipe\": {{ \"weights\": \"bf16\" }},\n  \"files\": [\n{}\n  ]\n}}\n",
        files.join(",\n")
    );
    fs::write(to.join("manifest.json"), manifest)?;
    Ok(())
}

/// Prints the size of a visitor's download, and fails if it is too large.
fn sizes(dist: &Path) -> Outcome<()> {
    let mut total = 0;
    for path in scripts(dist)? {
        let gzip = Command::new("gzip").args(["-9", "--stdout"]).arg(&path).output()?.stdout.len();
        println!("{:>9} {gzip:>9}  {}", fs::metadata(&path)?.len(), path.display());
        if !path.ends_with(STRUCTURE) {
            total += gzip;
        }
    }
    println!("{total} bytes of wasm and JavaScript, gzipped file by file, without {STRUCTURE}");
    if total > MAX_GZIP {
        return Err(format!("more than {MAX_GZIP} bytes").into());
    }
    Ok(())
}

fn scripts(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension().and_then(|e| e.to_str()) {
            _ if path.is_dir() => found.extend(scripts(&path)?),
            Some("js" | "wasm") => found.push(path),
            _ => {}
        }
    }
    found.sort();
    Ok(found)
}
