//! Columns of the tables: the drivers' numbers, and those counted in the machine code.

use crate::assembly::Stream;
use crate::driver::{Report, Vendor};

/// A column.
pub struct Column {
    pub title: &'static str,
    source: Source,
}

enum Source {
    /// Lanes of a wave.
    Wave,
    /// The sum of the driver's numbers of these names.
    Driver(&'static [&'static str]),
    /// Instructions in the machine code whose names begin with one of these.
    Code(&'static [&'static str]),
    /// Vector instructions of a lane for a byte of weights.
    PerByte,
    /// Bytes of weights that the vector instructions allow, in thousands of millions a second.
    Speed,
}

const fn driver(title: &'static str, names: &'static [&'static str]) -> Column {
    Column { title, source: Source::Driver(names) }
}

const AMD: &[Column] = &[
    Column { title: "wave", source: Source::Wave },
    driver("VGPR", &["VGPRs"]),
    driver("need", &["Pre-Sched VGPRs"]),
    driver("spill", &["Spilled VGPRs", "Spilled SGPRs"]),
    driver("waves", &["Subgroups per SIMD"]),
    driver("LDS", &["LDS size"]),
    driver("instr", &["Instructions"]),
    driver("VALU", &["VALU"]),
    driver("VMEM", &["VMEM"]),
    driver("latency", &["Latency"]),
    driver("inv.thr", &["Inverse Throughput"]),
    Column { title: "VALU/B", source: Source::PerByte },
    Column { title: "GB/s", source: Source::Speed },
];

const INTEL: &[Column] = &[
    Column { title: "SIMD", source: Source::Wave },
    driver("live", &["Max live registers"]),
    driver("spill", &["Spill Count"]),
    driver("fill", &["Fill Count"]),
    driver("SLM", &["Workgroup Memory Size"]),
    driver("instr", &["Instruction Count"]),
    driver("SEND", &["SEND Count"]),
    driver("cycles", &["Cycle Count"]),
];

const NVIDIA: &[Column] = &[
    driver("GPRs", &["Number of GPRs"]),
    driver("local", &["SLM Size"]),
    driver("instr", &["Instruction count"]),
    Column { title: "conv", source: Source::Code(&["i2f", "f2i", "frnd"]) },
];

impl Vendor {
    /// The columns of its tables, before the variant.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Amd => AMD,
            Self::Intel => INTEL,
            Self::Nvidia => NVIDIA,
        }
    }
}

impl Column {
    /// The column's text for a kernel. `speed`: the loops that load weights, and the cycles of all SIMDs.
    pub fn cell(&self, report: &Report, speed: Option<(Stream, f64)>) -> String {
        match (&self.source, speed) {
            (Source::Wave, _) => report.wave.to_string(),
            (Source::Driver(names), _) => {
                let of = |name: &&str| report.numbers.get(*name).copied().unwrap_or(f64::NAN);
                names.iter().map(of).sum::<f64>().to_string()
            }
            (Source::Code(names), _) => {
                // NAK writes `r1 = i2f.f32.u32 r2`.
                let results = report.assembly.split("= ").skip(1);
                let counted = |code: &&str| names.iter().any(|name| code.starts_with(name));
                results.filter(counted).count().to_string()
            }
            (Source::PerByte, Some((s, _))) => {
                let unknown = if s.unknown { "+" } else { "" };
                format!("{:.2}{unknown}", f64::from(s.valu * report.wave) / s.bytes)
            }
            (Source::Speed, Some((s, ghz))) => {
                format!("{:.0}", s.bytes / f64::from(s.cycles) * ghz)
            }
            (_, None) => String::new(),
        }
    }
}
