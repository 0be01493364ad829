//! `cargo xtask isa`: what AMD's compiler makes of the kernels, for a GPU that is not there.

mod assembly;
mod driver;
mod sources;
mod spirv;
mod variants;

use std::error::Error;
use std::io::Read;
use std::process::ExitCode;

use assembly::Stream;
use driver::{Driver, Report};
use lfm2_wgpu::kernels::Format;
use spirv::Spirv;

const USAGE: &str = "\
usage: cargo xtask isa [OPTION]... [WORD]...

Compiles every kernel variant that a model uses and that has all WORDs in its name, for an AMD GPU that is not there.
  --gpu NAME     gfx1150 (Radeon 890M, the default), gfx1100 (Radeon RX 7900) or navi21 (Radeon RX 6900)
  --shape NAME   a published model's shape (lfm2-8b-a1b)
  --all          every variant of every kernel, whether the model uses it or not
  --wgsl FILE    the kernels of a file in place of the model's, as `lfm2 info --kernel` prints them; - is stdin
  --asm          print the machine code too
  --markdown     print Markdown tables, as in docs/performance.md, which explains the columns
";

/// A GPU that the driver can compile for.
#[derive(Clone, Copy)]
struct Gpu {
    name: &'static str,
    /// The driver's name for it.
    family: &'static str,
    simds: f64,
    ghz: f64,
    /// Whether it has matrix units. The driver aborts if a kernel uses some that do not exist.
    matrix_units: bool,
}

const GPUS: [Gpu; 3] = [
    Gpu { name: "gfx1150", family: "gfx1150", simds: 32.0, ghz: 2.9, matrix_units: true },
    Gpu { name: "gfx1100", family: "navi31", simds: 192.0, ghz: 2.5, matrix_units: true },
    Gpu { name: "navi21", family: "navi21", simds: 160.0, ghz: 2.25, matrix_units: false },
];

/// A kernel to compile.
struct Kernel {
    name: String,
    wgsl: String,
}

/// Kernels of one table.
struct Section {
    title: String,
    kernels: Vec<Kernel>,
}

struct Options {
    gpu: Gpu,
    shape: String,
    all: bool,
    wgsl: Vec<String>,
    asm: bool,
    markdown: bool,
    words: Vec<String>,
}

fn main() -> ExitCode {
    match parse().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("isa: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        gpu: GPUS[0],
        shape: "lfm2-8b-a1b".to_owned(),
        all: false,
        wgsl: Vec::new(),
        asm: false,
        markdown: false,
        words: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--gpu" => {
                let name = value()?;
                let known = GPUS.into_iter().find(|gpu| gpu.name == name);
                options.gpu = known.ok_or_else(|| format!("--gpu {name}\n{USAGE}"))?;
            }
            "--shape" => options.shape = value()?,
            "--wgsl" => options.wgsl.push(value()?),
            "--all" => options.all = true,
            "--asm" => options.asm = true,
            "--markdown" => options.markdown = true,
            "-h" | "--help" => {
                print!("{USAGE}");
                std::process::exit(0);
            }
            option if option.starts_with("--") => return Err(format!("{option}\n{USAGE}").into()),
            _ => options.words.push(arg),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let gpu = options.gpu;
    // SAFETY: no other thread runs yet. The driver reads the variable when it is loaded.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var("RADV_FORCE_FAMILY", gpu.family);
    }
    let mut sections = Vec::new();
    if options.wgsl.is_empty() {
        sections = variants::of_model(&options.shape, options.all, gpu.matrix_units)?;
    }
    for file in &options.wgsl {
        let mut text = String::new();
        match file.as_str() {
            "-" => std::io::stdin().read_to_string(&mut text)?,
            path => std::fs::File::open(path)
                .map_err(|e| format!("{path}: {e}"))?
                .read_to_string(&mut text)?,
        };
        sections.push(Section { title: file.clone(), kernels: variants::of_text(file, &text) });
    }
    let driver = Driver::open()?;
    println!("{}", driver.name);
    for Section { title, kernels } in sections {
        let wanted = |k: &Kernel| options.words.iter().all(|word| k.name.contains(word));
        let kernels: Vec<Kernel> = kernels.into_iter().filter(wanted).collect();
        if kernels.is_empty() {
            continue;
        }
        println!("\n{title}\n");
        println!("{}", line(&HEADER.map(str::to_owned), options.markdown));
        if options.markdown {
            println!("|{}---|", "---:|".repeat(HEADER.len() - 1));
        }
        for kernel in kernels {
            if kernel.wgsl.contains("enable wgpu_cooperative_matrix") && !gpu.matrix_units {
                eprintln!("{}: this GPU has no matrix units", kernel.name);
                continue;
            }
            match Spirv::of(&kernel.wgsl).and_then(|s| Ok((driver.compile(&s)?, s))) {
                Ok((report, spirv)) => {
                    let stream =
                        Stream::of(&report.assembly, &spirv, report.wave, planes(&kernel.name));
                    let row = row(&report, stream, gpu.simds * gpu.ghz, kernel.name);
                    println!("{}", line(&row, options.markdown));
                    if options.asm {
                        println!("{}", report.assembly);
                    }
                }
                Err(problem) => eprintln!("{}: {problem}", kernel.name),
            }
        }
    }
    Ok(())
}

/// Bits of the planes of a variant's weights, a block each; none without weights.
fn planes(variant: &str) -> &'static [usize] {
    let name = variant.split(' ').find_map(|word| word.strip_prefix("weights="));
    let format = Format::ALL.into_iter().find(|format| {
        let known = format.name().to_lowercase().replace('_', "");
        name.is_some_and(|name| name == known || name.starts_with(&format!("{known}_")))
    });
    format.map_or(&[], |format| format.block().1)
}

const COLUMNS: usize = 14;
const HEADER: [&str; COLUMNS] = [
    "wave", "VGPR", "SGPR", "spill", "waves", "LDS", "instr", "VALU", "VMEM", "latency", "inv.thr",
    "VALU/B", "GB/s", "variant",
];
const WIDTHS: [usize; COLUMNS - 1] = [4, 4, 4, 5, 5, 5, 5, 5, 4, 7, 7, 7, 5];

/// A line of a table. The variant comes last.
fn line(cells: &[String; COLUMNS], markdown: bool) -> String {
    if markdown {
        return format!("| {} |", cells.join(" | "));
    }
    let numbers = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:>width$} "));
    numbers.collect::<String>() + &cells[COLUMNS - 1]
}

/// A row of the table. `ghz`: cycles of all SIMDs together, in thousands of millions a second.
fn row(report: &Report, stream: Option<Stream>, ghz: f64, variant: String) -> [String; COLUMNS] {
    let of = |name: &str| report.numbers.get(name).copied().unwrap_or(f64::NAN);
    let (per_byte, speed) = stream.map_or_else(Default::default, |s| {
        // A SIMD has 32 lanes.
        let cycles = f64::from(s.valu * report.wave.div_ceil(32));
        let per_byte = f64::from(s.valu * report.wave) / s.bytes;
        let unknown = if s.unknown { "+" } else { "" };
        (format!("{per_byte:.2}{unknown}"), format!("{:.0}", s.bytes / cycles * ghz))
    });
    [
        report.wave.to_string(),
        of("VGPRs").to_string(),
        of("Pre-Sched SGPRs").to_string(),
        (of("Spilled VGPRs") + of("Spilled SGPRs")).to_string(),
        of("Subgroups per SIMD").to_string(),
        of("LDS size").to_string(),
        of("Instructions").to_string(),
        of("VALU").to_string(),
        of("VMEM").to_string(),
        of("Latency").to_string(),
        of("Inverse Throughput").to_string(),
        per_byte,
        speed,
        variant,
    ]
}
