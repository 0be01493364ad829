//! Assembles a kernel's WGSL: prelude, imported parts, kernel text.
//!
//! `#import slot` in a kernel is answered by `shaders/lib/<slot>/<choice>.wgsl`; parts may import
//! in turn. `@binding(N)` is numbered in order of appearance. There is no other directive, and no
//! shader contains `enable`: naga rejects `enable subgroups;` and browsers demand it.

use std::fmt;

/// Who compiles the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// naga, in wgpu.
    Native,
    /// The browser's compiler.
    Web,
}

/// A value of the generated prelude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Const {
    /// `const NAME = 1;` without a suffix: fits `i32` and `u32`.
    Int(u32),
}

/// One specialisation of a kernel: which parts answer its imports, and its constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Stem of the kernel's file in `shaders/`.
    pub kernel: &'static str,
    /// `(slot, choice)` for every import of the kernel and its parts.
    pub imports: Vec<(&'static str, &'static str)>,
    /// Constants of the prelude.
    pub consts: Vec<(&'static str, Const)>,
}

impl Variant {
    /// A variant of `kernel` without imports or constants.
    #[must_use]
    pub fn new(kernel: &'static str) -> Self {
        Self { kernel, imports: Vec::new(), consts: Vec::new() }
    }

    /// Answers `#import slot` with `choice`.
    #[must_use]
    pub fn import(mut self, slot: &'static str, choice: &'static str) -> Self {
        self.imports.push((slot, choice));
        self
    }

    /// Adds `const name = value;` to the prelude.
    #[must_use]
    pub fn int(mut self, name: &'static str, value: u32) -> Self {
        self.consts.push((name, Const::Int(value)));
        self
    }

    fn choice(&self, slot: &str) -> Option<&'static str> {
        self.imports.iter().find(|(s, _)| *s == slot).map(|(_, c)| *c)
    }

    /// Whether a part of this variant needs native half precision.
    #[must_use]
    pub fn needs_f16(&self) -> bool {
        self.needs_coop() || self.imports.iter().any(|(_, c)| c.ends_with("_native"))
    }

    /// Whether a part of this variant needs subgroup operations.
    #[must_use]
    pub fn needs_subgroups(&self) -> bool {
        let reduce = |(slot, c): &(&str, &str)| *slot == "reduce" && c.ends_with("subgroup");
        self.needs_coop() || self.imports.iter().any(reduce)
    }

    /// Whether this variant needs cooperative matrices, which browsers do not have.
    #[must_use]
    pub fn needs_coop(&self) -> bool {
        self.imports.iter().any(|(slot, _)| *slot == "coop")
    }

    /// The complete WGSL text for `target`.
    ///
    /// # Errors
    /// A sentence naming the missing kernel, import or part: a defect of the kernel's Rust side.
    pub fn assemble(&self, target: Target) -> Result<String, String> {
        let mut text = String::new();
        if self.needs_f16() {
            text.push_str("enable f16;\n");
        }
        if self.needs_coop() {
            text.push_str("enable wgpu_cooperative_matrix;\n");
        }
        if self.needs_subgroups() && target == Target::Web {
            text.push_str("enable subgroups;\n");
        }
        for (name, Const::Int(value)) in &self.consts {
            text.push_str(&format!("const {name} = {value};\n"));
        }
        text.push_str(file("lib/prelude")?);
        let mut imported = Vec::new();
        let mut body = String::new();
        self.append(self.kernel, &mut imported, &mut body)?;
        let mut binding = 0;
        for line in body.lines() {
            if let Some((before, after)) = line.split_once("@binding(N)") {
                text.push_str(&format!("{before}@binding({binding}){after}\n"));
                binding += 1;
            } else {
                text.push_str(line);
                text.push('\n');
            }
        }
        Ok(text)
    }

    fn append(
        &self,
        name: &str,
        imported: &mut Vec<&'static str>,
        out: &mut String,
    ) -> Result<(), String> {
        for line in file(name)?.lines() {
            let Some(slot) = line.strip_prefix("#import ") else {
                out.push_str(line);
                out.push('\n');
                continue;
            };
            let choice = self
                .choice(slot.trim())
                .ok_or_else(|| format!("{name}.wgsl imports {slot}, {self} does not answer it"))?;
            let part = format!("lib/{}/{choice}", slot.trim());
            let stem = SHADERS
                .iter()
                .find(|f| f.name == part)
                .ok_or_else(|| format!("there is no shaders/{part}.wgsl"))?
                .name;
            if !imported.contains(&stem) {
                imported.push(stem);
                self.append(stem, imported, out)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kernel)?;
        for (slot, choice) in &self.imports {
            write!(f, " {slot}={choice}")?;
        }
        for (name, Const::Int(value)) in &self.consts {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// A storage variable of a kernel, as its text declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    pub name: String,
    pub writable: bool,
}

/// The storage variables of group 1, in binding order.
pub(super) fn declared_bindings(wgsl: &str) -> Vec<Declared> {
    wgsl.lines()
        .filter(|l| l.starts_with("@group(1)"))
        .filter_map(|l| {
            let (access, rest) = l.split_once("var<storage,")?.1.split_once('>')?;
            let name = rest.trim().split_once(':')?.0.trim().to_owned();
            Some(Declared { name, writable: access.trim() == "read_write" })
        })
        .collect()
}

/// One file of `shaders/`.
#[derive(Clone, Copy, Debug)]
pub struct ShaderFile {
    /// Path below `shaders/`, without `.wgsl`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

fn file(name: &str) -> Result<&'static str, String> {
    SHADERS
        .iter()
        .find(|f| f.name == name)
        .map(|f| f.text)
        .ok_or_else(|| format!("there is no shaders/{name}.wgsl"))
}

macro_rules! shaders {
    ($($name:literal),* $(,)?) => {
        /// Every shader file, compiled into the library.
        pub const SHADERS: &[ShaderFile] = &[
            $(ShaderFile { name: $name, text: include_str!(concat!("../../shaders/", $name, ".wgsl")) }),*
        ];
    };
}

shaders![
    "lib/prelude",
    "lib/bias/none",
    "lib/bias/row",
    "lib/coop/side16",
    "lib/coop/side8",
    "lib/epilogue/add",
    "lib/epilogue/store",
    "lib/epilogue/swiglu",
    "lib/input/broadcast",
    "lib/input/f32",
    "lib/input/int8",
    "lib/kv/f16",
    "lib/kv/f32",
    "lib/kv/q8",
    "lib/kv_store/f16",
    "lib/kv_store/f32",
    "lib/kv_store/q8",
    "lib/nibbles/f32",
    "lib/nibbles/int8",
    "lib/params/matmul",
    "lib/product/q4",
    "lib/product/q4_int8",
    "lib/product/q4k",
    "lib/product/q4k_int8",
    "lib/product/q5k",
    "lib/product/q5k_int8",
    "lib/product/q6k",
    "lib/product/q6k_int8",
    "lib/product/q8",
    "lib/product/q8_int8",
    "lib/reduce/serial",
    "lib/reduce/serial_subgroup",
    "lib/reduce/subgroup",
    "lib/reduce/tree",
    "lib/rows/combine",
    "lib/rows/dense",
    "lib/rows/gather",
    "lib/rows/grouped_in",
    "lib/rows/grouped_out",
    "lib/grouped/list",
    "lib/units/float",
    "lib/units/q4",
    "lib/units/q4k",
    "lib/units/q5k",
    "lib/units/q6k",
    "lib/units/q8",
    "lib/weights/bf16",
    "lib/weights/f16",
    "lib/weights/f16_native",
    "lib/weights/f32",
    "lib/weights/q4",
    "lib/weights/q4k",
    "lib/weights/q5k",
    "lib/weights/q6k",
    "lib/weights/q8",
    "attention",
    "attention_combine",
    "embed",
    "flash_attention",
    "matmul",
    "matmul_coop",
    "matvec",
    "moe_combine",
    "moe_group",
    "norm_route",
    "qk_norm_rope_append",
    "rms_norm",
    "sample_draw",
    "sample_prepare",
    "sample_threshold",
    "short_conv",
];
