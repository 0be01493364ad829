//! Buffers that vector loads read, by following registers through ACO's text of the machine code (RDNA).
//!
//! A buffer's descriptor takes 16 bytes in its descriptor set. `s_load_b128 s[8:11], s[2:3], 0x10` loads the second
//! one of the set whose address is in s2. Addresses of sets arrive in scalar registers in order of the sets, that of
//! the parameters last. So the descriptor of each `buffer_load` leads to the shader's name of the buffer. Registers
//! are followed from line to line and not along jumps, which has sufficed so far.

use std::collections::{BTreeMap, BTreeSet};

use crate::assembly::{Line, dwords, number};
use crate::spirv::Spirv;

/// A vector load from a tensor.
pub struct Load {
    /// Index of its line.
    pub line: usize,
    /// `@group` and `@binding` of the tensor.
    pub tensor: (u32, u32),
    /// Whether its address depends on the first word of a plane, other than plane 0.
    pub later_plane: bool,
}

/// A register: `s` or `v`, and its number.
type Register = (char, u32);

/// The registers of `s[8:11]`, `v7` or `-v7`.
pub fn registers(operand: &str) -> Vec<Register> {
    let name = operand.trim_start_matches(['-', '|']).split_whitespace().next();
    let name = name.unwrap_or_default().trim_end_matches('|');
    let Some(kind) = name.chars().next().filter(|c| "sv".contains(*c)) else { return Vec::new() };
    let numbers = match name[1..].strip_prefix('[') {
        Some(range) => range.strip_suffix(']').and_then(|range| range.split_once(':')),
        None => Some((&name[1..], &name[1..])),
    };
    let parsed = numbers.and_then(|(a, b)| Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?)));
    parsed.map_or_else(Vec::new, |(first, last)| (first..=last).map(|n| (kind, n)).collect())
}

/// Known contents of registers at a line.
struct Trace {
    /// The register in which an address arrived.
    arrived: BTreeMap<Register, u32>,
    /// Descriptors by their first register: the set's address, and the place in the set.
    descriptors: BTreeMap<u32, (u32, u32)>,
    /// Registers whose value depends on the first word of a later plane.
    planes: BTreeSet<Register>,
}

impl Trace {
    fn new() -> Self {
        let arrived = (0..128).map(|n| (('s', n), n)).collect();
        Self { arrived, descriptors: BTreeMap::new(), planes: BTreeSet::new() }
    }

    /// The descriptor that begins at an operand's first register.
    fn descriptor(&self, operand: &str) -> Option<(u32, u32)> {
        self.descriptors.get(&registers(operand).first()?.1).copied()
    }

    /// Follows a line. `parameters`: the address of the parameters' descriptor; `planes`: their bytes that are
    /// first words of planes.
    fn follow(&mut self, line: &Line<'_>, parameters: Option<u32>, planes: &[u32]) {
        let operand = |n: usize| line.operands.get(n).copied().unwrap_or_default();
        let opcode = line.opcode;
        if opcode.contains("store")
            || opcode.starts_with("s_cmp")
            || opcode.starts_with("s_cbranch")
        {
            return;
        }
        let targets = registers(operand(0));
        let sources: Vec<Register> =
            line.operands.iter().skip(1).flat_map(|o| registers(o)).collect();
        let loads = opcode.contains("_load");
        let depends = !loads && sources.iter().any(|source| self.planes.contains(source));
        let described = self.descriptor(operand(1)).map(|(address, _)| address);
        let arrived: Vec<Option<u32>> =
            sources.iter().map(|source| self.arrived.get(source).copied()).collect();
        for target in &targets {
            self.arrived.remove(target);
            self.planes.remove(target);
            if target.0 == 's' {
                self.descriptors.retain(|first, _| !(*first..*first + 4).contains(&target.1));
            }
        }
        if depends {
            self.planes.extend(&targets);
        }
        let at = number(operand(2));
        if opcode.starts_with("s_load_") {
            if let (Some(Some(address)), Some(('s', first))) = (arrived.first(), targets.first()) {
                for n in 0..dwords(opcode) / 4 {
                    let place = at.unwrap_or_default() / 16 + n;
                    self.descriptors.insert(first + 4 * n, (*address, place));
                }
            }
        } else if opcode.starts_with("s_buffer_load_")
            && described.is_some()
            && described == parameters
        {
            let words = (0u32..)
                .zip(&targets)
                .filter(|(n, _)| at.is_some_and(|at| planes.contains(&(at + 4 * n))));
            self.planes.extend(words.map(|(_, target)| target));
        } else if opcode.starts_with("s_mov_b") {
            self.arrived
                .extend(targets.iter().zip(arrived).filter_map(|(to, from)| Some((*to, from?))));
        }
    }
}

/// The vector loads from tensors.
pub fn loads(code: &[Line<'_>], spirv: &Spirv) -> Vec<Load> {
    // Once for the addresses of the sets, once with them.
    let mut addresses = BTreeSet::new();
    let mut trace = Trace::new();
    for line in code {
        trace.follow(line, None, &[]);
        addresses.extend(trace.descriptors.values().map(|(address, _)| *address));
    }
    let groups = spirv.groups();
    let address = |place: usize| addresses.iter().nth(place).copied();
    let parameters = address(groups.len());
    let mut trace = Trace::new();
    let mut found = Vec::new();
    for (i, line) in code.iter().enumerate() {
        let descriptor = line.operands.get(2).and_then(|operand| trace.descriptor(operand));
        if let (true, Some((from, place))) = (line.opcode.starts_with("buffer_load"), descriptor) {
            let group = (0..groups.len()).find(|n| address(*n) == Some(from)).map(|n| groups[n]);
            let tensor = group.and_then(|g| Some((g, spirv.binding(g, place as usize)?)));
            let mut offsets = [1, 3].into_iter().filter_map(|n| line.operands.get(n));
            let later_plane =
                offsets.any(|o| registers(o).iter().any(|r| trace.planes.contains(r)));
            found.extend(tensor.map(|tensor| Load { line: i, tensor, later_plane }));
        }
        trace.follow(line, parameters, &spirv.planes);
    }
    found
}
