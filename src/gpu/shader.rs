//! Assembles a kernel's WGSL: constants, prelude, and the kernel's text with its imports resolved.
//!
//! `#import reduce` is replaced by the part of that import that the [`Variant`] chooses, and
//! `#import nibbles=f32` by the part of that label. Parts are sections of the files in `shaders/lib/`:
//! each begins with the line `#part LABEL` and ends at the next one. Text before the first of a file is
//! a comment on the file; in `lib/prelude.wgsl` it is the prelude. Parts may import in turn, and each is included once. `@binding(N)` is numbered
//! in order of appearance. No shader contains `enable`: naga rejects `enable subgroups;`, which browsers
//! require, so the assembler writes it.

use std::fmt;

/// The compiler that a text is for.
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

/// Optional features that a part's text uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Needs {
    /// Native half precision.
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Cooperative matrices of f16, which browsers do not have.
    pub coop: bool,
}

/// A choice among the parts of one import: its label is `IMPORT=part_name`.
pub trait ShaderPart {
    /// Name of the import: kernels say `#import IMPORT`.
    const IMPORT: &'static str;

    /// Name of the part.
    fn part_name(&self) -> &'static str;

    /// Optional features that it uses.
    fn needs(&self) -> Needs {
        Needs::default()
    }
}

/// One specialisation of a kernel: the parts of its imports, and its constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Stem of the kernel's file in `shaders/`.
    pub kernel: &'static str,
    /// `(import, part)` for every import that is a choice.
    imports: Vec<(&'static str, &'static str)>,
    /// Constants of the prelude.
    consts: Vec<(&'static str, Const)>,
    needs: Needs,
}

impl Variant {
    /// A variant of `kernel` without imports or constants.
    #[must_use]
    pub fn new(kernel: &'static str) -> Self {
        Self { kernel, imports: Vec::new(), consts: Vec::new(), needs: Needs::default() }
    }

    /// Chooses the part of an import.
    #[must_use]
    pub fn import<P: ShaderPart>(mut self, part: P) -> Self {
        self.imports.push((P::IMPORT, part.part_name()));
        let needs = part.needs();
        self.needs.f16 |= needs.f16 || needs.coop;
        self.needs.subgroups |= needs.subgroups || needs.coop;
        self.needs.coop |= needs.coop;
        self
    }

    /// Adds `const name = value;` to the prelude.
    #[must_use]
    pub fn int(mut self, name: &'static str, value: u32) -> Self {
        self.consts.push((name, Const::Int(value)));
        self
    }

    /// Optional features that this variant uses.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Labels of all parts that the text includes, in order.
    ///
    /// # Errors
    /// As [`assemble`](Self::assemble).
    pub fn parts(&self) -> Result<Vec<&'static str>, String> {
        let mut included = Vec::new();
        self.append(file(self.kernel)?, &mut included, &mut String::new())?;
        Ok(included)
    }

    /// The complete WGSL text for `target`.
    ///
    /// # Errors
    /// A sentence naming the missing kernel, import or part: a defect of the kernel's Rust side.
    pub fn assemble(&self, target: Target) -> Result<String, String> {
        let mut text = String::new();
        if self.needs.f16 {
            text.push_str("enable f16;\n");
        }
        if self.needs.coop {
            text.push_str("enable wgpu_cooperative_matrix;\n");
        }
        if self.needs.subgroups && target == Target::Web {
            text.push_str("enable subgroups;\n");
        }
        for (name, Const::Int(value)) in &self.consts {
            text.push_str(&format!("const {name} = {value};\n"));
        }
        text.extend(file("lib/prelude")?.split("\n#part ").next());
        text.push('\n');
        let mut body = String::new();
        self.append(file(self.kernel)?, &mut Vec::new(), &mut body)?;
        if self.needs.subgroups && !self.needs.coop && target == Target::Native {
            // naga 30 sees the subgroup's builtins within a struct only if one is an argument of its own. Its HLSL
            // would otherwise give them no semantics, and DX12's compiler (DXC) would refuse the kernel.
            body =
                body.replacen("fn main(", "fn main(@builtin(subgroup_id) own_subgroup: u32, ", 1);
        }
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

    /// Appends `text` to `out`, its imports replaced by parts that are not in `included` yet.
    fn append(
        &self,
        text: &str,
        included: &mut Vec<&'static str>,
        out: &mut String,
    ) -> Result<(), String> {
        for line in text.lines() {
            let Some(import) = line.strip_prefix("#import ") else {
                out.push_str(line);
                out.push('\n');
                continue;
            };
            let (label, text) = self.part(import.trim())?;
            if !included.contains(&label) {
                included.push(label);
                self.append(text, included, out)?;
            }
        }
        Ok(())
    }

    /// The label and text of the part for an import, or of the label that the import names itself.
    fn part(&self, import: &str) -> Result<(&'static str, &'static str), String> {
        let chosen = self.imports.iter().find(|(name, _)| *name == import);
        let label = match chosen {
            Some((name, part)) => format!("{name}={part}"),
            None if import.contains('=') => import.to_owned(),
            None => return Err(format!("`{self}` chooses no part for #import {import}")),
        };
        let found = shader_parts().find(|(known, _)| *known == label);
        found.ok_or_else(|| format!("no file in shaders/lib has #part {label}"))
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kernel)?;
        for (import, part) in &self.imports {
            write!(f, " {import}={part}")?;
        }
        for (name, Const::Int(value)) in &self.consts {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// Label and text of every part of the files in `shaders/lib/`.
pub fn shader_parts() -> impl Iterator<Item = (&'static str, &'static str)> {
    SHADERS
        .iter()
        .flat_map(|file| file.text.split("\n#part ").skip(1))
        .filter_map(|section| section.split_once('\n'))
        // A checkout on Windows may end lines with CRLF.
        .map(|(label, text)| (label.trim_end(), text))
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

#[cfg(not(target_arch = "wasm32"))]
macro_rules! shader_text {
    ($path:expr) => {
        include_str!($path)
    };
}

/// Without comments, which are a third of the shaders and 24 kB of what a browser downloads, gzipped.
#[cfg(target_arch = "wasm32")]
macro_rules! shader_text {
    ($path:expr) => {{
        const TEXT: &str = include_str!($path);
        const CODE: [u8; without_comments::<0>(TEXT).1] = without_comments(TEXT).0;
        match std::str::from_utf8(&CODE) {
            Ok(code) => code,
            Err(_) => TEXT,
        }
    }};
}

/// The first `N` bytes of a shader without its comments and the blanks before these, and the number of all. Lines keep
/// their numbers.
#[cfg(any(target_arch = "wasm32", test))]
const fn without_comments<const N: usize>(text: &str) -> ([u8; N], usize) {
    let text = text.as_bytes();
    let (mut code, mut len, mut at) = ([0; N], 0, 0);
    while at < text.len() {
        // Behind the line's code.
        let mut end = at;
        let mut last = at;
        while last < text.len() && text[last] != b'\n' {
            if text[last] == b'/' && last + 1 < text.len() && text[last + 1] == b'/' {
                break;
            }
            last += 1;
            if text[last - 1] != b' ' {
                end = last;
            }
        }
        while at < end {
            if len < N {
                code[len] = text[at];
            }
            (len, at) = (len + 1, at + 1);
        }
        while at < text.len() && text[at] != b'\n' {
            at += 1;
        }
        if at < text.len() {
            if len < N {
                code[len] = b'\n';
            }
            (len, at) = (len + 1, at + 1);
        }
    }
    (code, len)
}

macro_rules! shaders {
    ($($name:literal),* ; native: $($native:literal),*) => {
        /// Every shader file, compiled into the library.
        pub const SHADERS: &[ShaderFile] = &[
            $(ShaderFile { name: $name, text: shader_text!(concat!("../../shaders/", $name, ".wgsl")) },)*
            $(
                #[cfg(not(target_arch = "wasm32"))]
                ShaderFile { name: $native, text: include_str!(concat!("../../shaders/", $native, ".wgsl")) },
            )*
        ];
    };
}

// Browsers have no cooperative matrices. Without these kernels, a browser downloads 2.5 kB less, gzipped.
shaders![
    "lib/prelude",
    "lib/kv",
    "lib/linear",
    "lib/matmul",
    "lib/sample",
    "lib/weights/float",
    "lib/weights/q4",
    "lib/weights/q4k_q5k",
    "lib/weights/q6k",
    "lib/weights/q8",
    "attention",
    "attention_combine",
    "embed",
    "flash_attention",
    "in_proj_conv",
    "logprobs",
    "logprobs_spans",
    "lora_shrink",
    "matmul",
    "matvec",
    "moe_combine",
    "moe_group",
    "route",
    "qk_norm_rope_append",
    "rms_norm",
    "sample_draw",
    "sample_histogram",
    "sample_prepare",
    "sample_select",
    "short_conv";
    native: "lib/coop", "flash_attention_coop", "matmul_coop"
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shaders_lose_their_comments_and_nothing_else() {
        const TEXT: &str = "// a\n#import b\n  let x = y / z; // c // d\n\n  // e\n}// f";
        const CODE: [u8; without_comments::<0>(TEXT).1] = without_comments(TEXT).0;
        assert_eq!(std::str::from_utf8(&CODE), Ok("\n#import b\n  let x = y / z;\n\n\n}"));
        for ShaderFile { name, text } in SHADERS {
            let lines = text.lines().map(|line| line.split("//").next().unwrap().trim_end());
            let expected: String = lines.map(|line| format!("{line}\n")).collect();
            let (code, len) = without_comments::<100_000>(text);
            assert_eq!(std::str::from_utf8(&code[..len]), Ok(expected.as_str()), "{name}");
        }
    }
}
