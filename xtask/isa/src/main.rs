//! `cargo xtask isa`: the machine code that Mesa's compilers make of the kernels, for a GPU that is not there.

mod assembly;
mod columns;
mod driver;
mod sources;
mod spirv;
mod variants;

use std::error::Error;
use std::io::Read;
use std::process::ExitCode;

use assembly::{Simd, Stream};
use columns::Column;
use driver::{Driver, Vendor};
use lfm2_wgpu::kernels::Format;
use spirv::Spirv;

const USAGE: &str = "\
usage: cargo xtask isa [OPTION]... [WORD]...

Compiles every kernel variant that a model uses and that has all WORDs in its name, for a GPU that is not there.
  --gpu NAME     AMD: gfx1150 (Radeon 890M, the default), gfx1100 (Radeon RX 7900), navi21 (Radeon RX 6900);
                 Intel: tgl (Iris Xe of Tiger Lake), lnl (Arc of Lunar Lake); NVIDIA: ga102 (GeForce RTX 3090)
  --shape NAME   a published model's shape (lfm2-8b-a1b)
  --all          every variant of every kernel, whether the model uses it or not
  --wgsl FILE    the kernels of a file in place of the model's, as `lfm2 info --kernel` prints them; - is stdin
  --asm          print the machine code too (AMD and Intel)
  --markdown     print Markdown tables, as in docs/performance.md, which explains the columns
";

/// A GPU that a driver can compile for; `cargo xtask isa` starts this program with the driver.
#[derive(Clone, Copy)]
struct Gpu {
    name: &'static str,
    vendor: Vendor,
    /// A part of the name that the driver gives it.
    device: &'static str,
    /// Cycles of all SIMDs together, in thousands of millions a second; 0 if the code is not counted.
    ghz: f64,
    /// Whether a SIMD executes some instructions for 64 lanes in a cycle (RDNA 3).
    double: bool,
    /// Whether kernels with matrix units are compiled. The driver aborts if a kernel uses some that do not exist.
    matrix_units: bool,
}

const GPUS: [Gpu; 6] = [
    amd("gfx1150", 32.0 * 2.9, true),
    amd("gfx1100", 192.0 * 2.5, true),
    amd("navi21", 160.0 * 2.25, false),
    other("tgl", Vendor::Intel, "(TGL"),
    other("lnl", Vendor::Intel, "(LNL"),
    other("ga102", Vendor::Nvidia, "NVK"),
];

/// `rdna3`: it has matrix units, and executes some instructions for 64 lanes at once.
const fn amd(name: &'static str, ghz: f64, rdna3: bool) -> Gpu {
    let device = "Null hardware";
    Gpu { name, vendor: Vendor::Amd, device, ghz, double: rdna3, matrix_units: rdna3 }
}

/// wgpu offers square matrices only, and Intel's are 8 x 16. Mesa 25 has none for NVIDIA.
const fn other(name: &'static str, vendor: Vendor, device: &'static str) -> Gpu {
    Gpu { name, vendor, device, ghz: 0.0, double: false, matrix_units: false }
}

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
    let driver = Driver::open(gpu.device)?;
    let columns = gpu.vendor.columns();
    println!("{}", driver.name);
    for Section { title, kernels } in sections {
        let wanted = |k: &Kernel| options.words.iter().all(|word| k.name.contains(word));
        let kernels: Vec<Kernel> = kernels.into_iter().filter(wanted).collect();
        if kernels.is_empty() {
            continue;
        }
        println!("\n{title}\n");
        let header = columns.iter().map(|column| column.title.to_owned());
        println!("{}", line(header.collect(), "variant", columns, options.markdown));
        if options.markdown {
            println!("|{}---|", "---:|".repeat(columns.len()));
        }
        for kernel in kernels {
            if kernel.wgsl.contains("enable wgpu_cooperative_matrix") && !gpu.matrix_units {
                eprintln!("{}: no matrix units that the kernel could use", kernel.name);
                continue;
            }
            match Spirv::of(&kernel.wgsl).and_then(|s| Ok((driver.compile(&s)?, s))) {
                Ok((report, spirv)) => {
                    let stream = (gpu.ghz > 0.0).then(|| {
                        let simd = Simd { wave: report.wave, double: gpu.double };
                        Stream::of(&report.assembly, &spirv, simd, planes(&kernel.name))
                    });
                    let speed = stream.flatten().map(|stream| (stream, gpu.ghz));
                    let cells = columns.iter().map(|column| column.cell(&report, speed));
                    println!("{}", line(cells.collect(), &kernel.name, columns, options.markdown));
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

/// A line of a table. The variant comes last.
fn line(cells: Vec<String>, variant: &str, columns: &[Column], markdown: bool) -> String {
    if markdown {
        return format!("| {} | {variant} |", cells.join(" | "));
    }
    let aligned =
        |(cell, column): (String, &Column)| format!("{cell:>0$} ", column.title.len().max(5));
    cells.into_iter().zip(columns).map(aligned).collect::<String>() + variant
}
