//! Counts instructions for a byte of weights in ACO's text of the machine code (RDNA).

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{Load, loads};
use crate::spirv::Spirv;

/// Work of the loops that load weights, in one round of each, by one wave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stream {
    /// Vector instructions.
    pub valu: u32,
    /// Cycles of a SIMD that these take.
    pub cycles: u32,
    /// Bytes of weights.
    pub bytes: f64,
    /// Whether the loops contain a loop whose rounds are not known; it counts as one round.
    pub unknown: bool,
}

/// An instruction.
pub struct Line<'a> {
    pub opcode: &'a str,
    pub operands: Vec<&'a str>,
}

fn lines(assembly: &str) -> (Vec<Line<'_>>, BTreeMap<&str, usize>) {
    let (mut all, mut labels) = (Vec::new(), BTreeMap::new());
    for line in assembly.lines() {
        let code = line.split(';').next().unwrap_or_default().trim();
        if let Some(label) = code.strip_suffix(':') {
            labels.insert(label, all.len());
        } else if let Some(opcode) = code.split_whitespace().next() {
            let operands = code[opcode.len()..].split(',').map(str::trim).collect();
            all.push(Line { opcode, operands });
        }
    }
    (all, labels)
}

/// A number as an operand: `null` is no offset.
pub fn number(operand: &str) -> Option<u32> {
    match operand.split_whitespace().next()? {
        "null" => Some(0),
        word => match word.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => word.parse().ok(),
        },
    }
}

/// Dwords of `..._b128`, `..._dwordx4`.
pub fn dwords(opcode: &str) -> u32 {
    let end = opcode.rsplit('_').next().unwrap_or_default();
    match end {
        "b64" | "dwordx2" => 2,
        "b96" | "dwordx3" => 3,
        "b128" | "dwordx4" => 4,
        "b256" | "dwordx8" => 8,
        "b512" | "dwordx16" => 16,
        _ => 1,
    }
}

/// Rounds of the loop of `code`, if it counts to a constant in a scalar register.
fn rounds(code: &[Line<'_>]) -> Option<u32> {
    let step = |register: &str| {
        let adds = code.iter().filter(|l| l.opcode.starts_with("s_add"));
        let mut own = adds.filter(|l| l.operands.len() == 3 && l.operands[..2] == [register; 2]);
        own.next_back().and_then(|l| number(l.operands[2]))
    };
    let compared = code.iter().filter(|l| l.opcode.starts_with("s_cmp"));
    let ends = compared.filter_map(|l| match l.operands[..] {
        [register, end] => Some(number(end)?.div_ceil(step(register).filter(|s| *s > 0)?)),
        _ => None,
    });
    ends.max()
}

/// Bytes of a lane of a vector load.
fn loaded(opcode: &str) -> u32 {
    match opcode {
        o if o.ends_with("_u8") || o.contains("_ubyte") || o.contains("_sbyte") => 1,
        o if o.ends_with("_u16") || o.contains("_short") || o.contains("d16") => 2,
        o => 4 * dwords(o),
    }
}

/// The instructions with floats of [`executes_64_lanes`], without their types.
const ARITHMETIC: [&str; 10] = [
    "v_fma", "v_fmac", "v_fmaak", "v_fmamk", "v_mul", "v_add", "v_sub", "v_subrev", "v_max",
    "v_min",
];

/// Whether RDNA 3 executes both halves of a wave of 64 lanes at once, by ACO's list (`is_dual_issue_capable` in Mesa's
/// aco_statistics.cpp), without the few `v_fma_mix_f32` and 16-bit integers that are in it.
fn executes_64_lanes(opcode: &str) -> bool {
    let name = opcode.trim_end_matches("_e32").trim_end_matches("_e64");
    let arithmetic = name.strip_suffix("_f32").or_else(|| name.strip_suffix("_f16"));
    match arithmetic {
        Some(of) => ARITHMETIC.contains(&of),
        None => matches!(name, "v_mov_b32" | "v_cndmask_b32"),
    }
}

/// The machine that executes a wave: a SIMD of 32 lanes.
#[derive(Clone, Copy)]
pub struct Simd {
    /// Lanes of the wave.
    pub wave: u32,
    /// Whether some instructions execute 64 lanes in a cycle.
    pub double: bool,
}

impl Simd {
    fn cycles(self, opcode: &str) -> u32 {
        if self.double && executes_64_lanes(opcode) { 1 } else { self.wave.div_ceil(32) }
    }
}

impl Stream {
    /// The loops of `assembly` that load weights; without such loops, the whole kernel. `None` if it loads none.
    /// `planes`: bits of the format's planes. Of a format with several, the loads from plane 0 count, times the
    /// others' share, since lanes load scales that others load too.
    pub fn of(assembly: &str, spirv: &Spirv, simd: Simd, planes: &[usize]) -> Option<Self> {
        let (code, labels) = lines(assembly);
        let mut weights = loads(&code, spirv);
        weights.retain(|load| spirv.is_weight(load.tensor));
        if weights.is_empty() {
            return None;
        }
        let all_planes = planes.iter().sum::<usize>() as f64;
        let share = planes.first().map_or(1.0, |first| all_planes / *first as f64);
        let bytes = |load: &Load| match (load.later_plane, planes.len() > 1) {
            (true, true) => 0.0,
            _ => share * f64::from(simd.wave * loaded(code[load.line].opcode)),
        };
        // A loop is what lies between a label and the last jump back to it.
        let mut loops: BTreeMap<usize, usize> = BTreeMap::new();
        for (i, line) in code.iter().enumerate() {
            if !line.opcode.starts_with("s_cbranch") && line.opcode != "s_branch" {
                continue;
            }
            let target = line.operands.first().and_then(|label| labels.get(label));
            if let Some(start) = target.filter(|start| **start <= i) {
                loops.insert(*start, i);
            }
        }
        let innermost = |load: usize| {
            let around = loops.iter().filter(|(start, end)| (**start..=**end).contains(&load));
            around.min_by_key(|(start, end)| *end - *start).map(|(start, end)| (*start, *end))
        };
        let mut streaming: BTreeSet<(usize, usize)> =
            weights.iter().filter_map(|load| innermost(load.line)).collect();
        // Of a loop and one inside it, both of which load weights, the outer counts if it is known how often the
        // inner runs. Else the inner counts: the outer one has loads of its first round.
        let all = streaming.clone();
        let inside = |inner: &(usize, usize), outer: &(usize, usize)| {
            inner != outer && outer.0 <= inner.0 && inner.1 <= outer.1
        };
        let known = |(start, end): &(usize, usize)| rounds(&code[*start..=*end]).is_some();
        streaming.retain(|l| {
            let within_outer = all.iter().any(|outer| inside(l, outer)) && known(l);
            !within_outer && !all.iter().any(|inner| inside(inner, l) && !known(inner))
        });
        if streaming.is_empty() {
            streaming.insert((0, code.len() - 1));
        }
        // Times that a line runs in one round of the loop that begins at `outer`.
        let times = |line: usize, outer: usize, last: usize| {
            let inner = loops.iter().filter(|(start, end)| {
                (outer..=last).contains(*start)
                    && **end <= last
                    && (**start, **end) != (outer, last)
            });
            let around = inner.filter(|(start, end)| (**start..=**end).contains(&line));
            around
                .map(|(start, end)| rounds(&code[*start..=*end]))
                .try_fold(1, |product, n| n.map(|n| product * n))
        };
        let mut stream = Self::default();
        for (start, end) in streaming {
            for (i, line) in code.iter().enumerate().take(end + 1).skip(start) {
                if line.opcode.starts_with("v_") {
                    let n = times(i, start, end);
                    stream.unknown |= n.is_none();
                    stream.valu += n.unwrap_or(1);
                    stream.cycles += n.unwrap_or(1) * simd.cycles(line.opcode);
                }
            }
            let loads = weights.iter().filter(|load| (start..=end).contains(&load.line));
            stream.bytes += loads.map(bytes).sum::<f64>();
        }
        (stream.bytes > 0.0).then_some(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spirv::{Binding, Kind};

    /// A loop that loads 16 bytes of weights and 4 of their scales a lane, and in it a loop of 8 rounds.
    const LOOPS: &str = "\
BB0:
\ts_mov_b32 s0, s3                ; be800003
\ts_load_b128 s[12:15], s[4:5], null ; f4080302
\ts_buffer_load_b64 s[6:7], s[12:15], 0x4 ; f4200007
\tv_mov_b32_e32 v1, 0             ; 7e0c0280
BB1:
\ts_load_b128 s[16:19], s[0:1], 0x10 ; f4080406
\tv_add_lshl_u32 v16, s7, v15, 2  ; d6470016
\tbuffer_load_b128 v[24:27], v15, s[16:19], 0 offen ; e05c0000
\tbuffer_load_b32 v28, v16, s[16:19], 0 offen ; e0500000
\ts_mov_b32 s9, 0                 ; be890080
BB2:
\tv_add_f32_e32 v1, v1, v24       ; 06020103
\ts_add_u32 s9, s9, 1             ; 80098109
\ts_cmp_ge_u32 s9, 8              ; bf098809
\ts_cbranch_scc0 BB2              ; bfa1febf
BB3:
\tv_add_nc_u32_e32 v15, 1, v15    ; 4a060081
\ts_cbranch_scc1 BB1              ; bfa20000
";

    #[test]
    fn loops_around_loads_of_weights_are_counted() {
        let binding = |name: &str, group, binding, kind| {
            let used = name != "batch";
            Binding { name: name.to_owned(), group, binding, kind, used }
        };
        let spirv = Spirv {
            words: Vec::new(),
            bindings: vec![
                binding("params", 0, 0, Kind::Uniform),
                binding("batch", 0, 1, Kind::Storage),
                binding("x", 1, 0, Kind::Storage),
                binding("weight", 1, 1, Kind::Storage),
            ],
            planes: vec![8],
        };
        let of = |text: &str, planes: &[usize]| {
            Stream::of(text, &spirv, Simd { wave: 64, double: true }, planes).unwrap()
        };
        // Two additions of integers, and eight of floats.
        let q4 = Stream { valu: 10, cycles: 12, bytes: 18.0 * 64.0, unknown: false };
        assert_eq!(of(LOOPS, &[128, 16]), q4);
        assert_eq!(of(LOOPS, &[32]), Stream { bytes: 20.0 * 64.0, ..q4 });
        // A loop whose end is not a constant counts once.
        let endless = LOOPS.replace("s9, 8 ", "s9, s4");
        assert_eq!(of(&endless, &[128, 16]), Stream { valu: 3, cycles: 5, unknown: true, ..q4 });
    }
}
