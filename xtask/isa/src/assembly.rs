//! Counts instructions for a byte of weights in ACO's text of the machine code (RDNA).
//!
//! A buffer's descriptor takes 16 bytes in its descriptor set. `s_load_b128 s[8:11], s[2:3], 0x10` loads the second
//! one of the set whose address is in s2. Addresses of sets arrive in scalar registers, from s2 on in order of the
//! sets. So the descriptor of each `buffer_load` leads to the shader's name of the buffer.

use std::collections::{BTreeMap, BTreeSet};

use crate::spirv::Spirv;

/// Work of the loops that load weights, in one round of each, by one wave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stream {
    /// Vector instructions.
    pub valu: u32,
    /// Bytes of weights. A byte that two lanes load counts twice.
    pub bytes: u32,
    /// Whether the loops contain a loop whose rounds are not known; it counts as one round.
    pub unknown: bool,
}

struct Line<'a> {
    opcode: &'a str,
    operands: Vec<&'a str>,
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

/// First and last register of `s[8:11]` or `s8`.
fn scalars(operand: &str) -> Option<(u32, u32)> {
    let name = operand.split_whitespace().next()?.strip_prefix('s')?;
    let (first, last) = match name.strip_prefix('[') {
        Some(range) => range.strip_suffix(']')?.split_once(':')?,
        None => (name, name),
    };
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn number(operand: &str) -> Option<u32> {
    match operand.split_whitespace().next()? {
        "null" => Some(0),
        word => match word.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => word.parse().ok(),
        },
    }
}

/// Dwords of `..._b128`, `..._dwordx4`.
fn dwords(opcode: &str) -> u32 {
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

/// Buffer, by group and binding, of each vector load, by its line.
fn sources(code: &[Line<'_>], spirv: &Spirv) -> BTreeMap<usize, (u32, u32)> {
    // The register that holds a copy of an address that arrived in another.
    let mut origin: BTreeMap<u32, u32> = (0..128).map(|r| (r, r)).collect();
    let mut descriptors: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
    let mut addresses = BTreeSet::new();
    let mut found = Vec::new();
    for (i, line) in code.iter().enumerate() {
        let op = |n: usize| line.operands.get(n).copied().unwrap_or_default();
        if line.opcode.starts_with("buffer_load") {
            if let Some(d) = scalars(op(2)).and_then(|(first, _)| descriptors.get(&first)) {
                found.push((i, *d));
            }
            continue;
        }
        let Some((first, last)) = scalars(op(0)) else { continue };
        if !line.opcode.starts_with("s_") || line.opcode.starts_with("s_cmp") {
            continue;
        }
        let from = scalars(op(1)).map(|(from, _)| (from, origin.get(&from).copied()));
        for r in first..=last {
            origin.remove(&r);
            descriptors.retain(|d, _| !(*d..*d + 4).contains(&r));
        }
        match (line.opcode, from) {
            (o, Some((_, Some(address)))) if o.starts_with("s_load_") => {
                addresses.insert(address);
                let at = number(op(2)).unwrap_or_default();
                for n in 0..dwords(o) / 4 {
                    descriptors.insert(first + 4 * n, (address, at / 16 + n));
                }
            }
            ("s_mov_b32", Some((_, Some(address)))) => {
                origin.insert(first, address);
            }
            ("s_mov_b64", Some((from, Some(address)))) => {
                origin.insert(first, address);
                let high = origin.get(&(from + 1)).copied();
                origin.extend(high.map(|high| (first + 1, high)));
            }
            _ => {}
        }
    }
    let groups = spirv.groups();
    // Parameters, which have a dynamic offset, take no place in a set and come by an address of their own, the last.
    let group = |address| {
        let place = addresses.iter().position(|a| *a == address)?;
        groups.get(place).copied()
    };
    found
        .into_iter()
        .filter_map(|(line, (address, place))| {
            let group = group(address)?;
            Some((line, (group, spirv.binding(group, place as usize)?)))
        })
        .collect()
}

impl Stream {
    /// The loops of `assembly` that load weights; without such loops, the whole kernel. `None` if it loads none.
    pub fn of(assembly: &str, spirv: &Spirv, wave: u32) -> Option<Self> {
        let (code, labels) = lines(assembly);
        let weights: Vec<usize> = sources(&code, spirv)
            .into_iter()
            .filter(|(_, (group, binding))| spirv.is_weight(*group, *binding))
            .map(|(line, _)| line)
            .collect();
        if weights.is_empty() {
            return None;
        }
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
            weights.iter().filter_map(|load| innermost(*load)).collect();
        // A loop around another one that loads weights loads what the inner one reuses: the outer one counts.
        let all = streaming.clone();
        streaming.retain(|(start, end)| {
            !all.iter().any(|(s, e)| (s, e) != (start, end) && s <= start && end <= e)
        });
        if streaming.is_empty() {
            streaming.insert((0, code.len() - 1));
        }
        // How often a line runs in one round of the loop that begins at `outer`.
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
                }
            }
            let loads = weights.iter().filter(|load| (start..=end).contains(load));
            stream.bytes += loads.map(|load| wave * loaded(code[*load].opcode)).sum::<u32>();
        }
        Some(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spirv::{Binding, Kind};

    /// A loop that loads 16 bytes of weights a lane, and in it a loop of 8 rounds.
    const LOOPS: &str = "\
BB0:
\ts_mov_b32 s0, s3                ; be800003
\tv_mov_b32_e32 v1, 0             ; 7e0c0280
BB1:
\ts_load_b128 s[16:19], s[0:1], 0x10 ; f4080406
\tbuffer_load_b128 v[24:27], v15, s[16:19], 0 offen ; e05c0000
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
            let used = (name, kind) == ("weight", Kind::Storage);
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
        };
        let stream = Stream { valu: 9, bytes: 16 * 64, unknown: false };
        assert_eq!(Stream::of(LOOPS, &spirv, 64), Some(stream));
        let endless = LOOPS.replace("s9, 8 ", "s9, s4");
        let stream = Stream { valu: 2, unknown: true, ..stream };
        assert_eq!(Stream::of(&endless, &spirv, 64), Some(stream));
    }
}
