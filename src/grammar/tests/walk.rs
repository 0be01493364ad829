//! Random walks through a grammar.

use crate::grammar::{Grammar, Grammars};

/// A generator of pseudo-random numbers (PCG's first step: a multiplication and an addition).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

/// The tokens of a set.
pub fn tokens(mask: &[u32]) -> Vec<u32> {
    let ids = 0..mask.len() as u32 * 32;
    ids.filter(|id| mask[*id as usize / 32] >> (id % 32) & 1 != 0).collect()
}

/// Draws tokens that the grammar allows until it ends. Draws that end a part become more likely with the length.
/// `goals` are texts that end a part. `None` if the answer is still incomplete after `most` tokens.
pub fn walk(
    grammars: &Grammars,
    grammar: &Grammar,
    random: &mut Random,
    (most, goals): (usize, &[&str]),
) -> Option<Vec<u32>> {
    let ends = &grammars.ends();
    let mut matcher = grammar.matcher();
    let mut answer: Vec<u32> = Vec::new();
    while answer.len() < most {
        let mask = matcher.mask_after(&answer).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
        let allowed = tokens(&mask);
        assert!(!allowed.is_empty());
        let can_end = ends.iter().all(|end| allowed.contains(end));
        assert!(can_end || !ends.iter().any(|end| allowed.contains(end)), "some ends only");
        let hurry = random.below(most) < 2 * answer.len() + 20;
        if can_end && (hurry || allowed.len() == ends.len()) {
            return Some(answer);
        }
        let inside: Vec<u32> = allowed.iter().copied().filter(|id| !ends.contains(id)).collect();
        let close = hurry.then(|| closing(grammars, &answer, &inside, goals)).flatten();
        answer.push(close.unwrap_or_else(|| inside[random.below(inside.len())]));
    }
    None
}

/// An allowed token that brings a part of the answer nearer to its end.
fn closing(grammars: &Grammars, answer: &[u32], allowed: &[u32], goals: &[&str]) -> Option<u32> {
    let tokenizer = grammars.tokenizer();
    let bytes = |id: &u32| tokenizer.token_bytes(*id).unwrap_or_default();
    let written: Vec<u8> = answer.iter().flat_map(|id| bytes(id).to_vec()).collect();
    let thought = String::from_utf8_lossy(&written).contains("</think>");
    for goal in goals.iter().filter(|goal| !(thought && **goal == "</think>")) {
        for done in (0..goal.len()).rev() {
            let (begun, rest) = goal.as_bytes().split_at(done);
            let fits = |id: &&u32| !bytes(id).is_empty() && rest.starts_with(bytes(id));
            if written.ends_with(begun)
                && let Some(next) = allowed.iter().filter(fits).max_by_key(|id| bytes(id).len())
            {
                return Some(*next);
            }
        }
    }
    let special = allowed.iter().find(|id| tokenizer.is_special(**id));
    let of = |text: &str| tokenizer.token_id(text).filter(|id| allowed.contains(id));
    special.copied().or_else(|| ["}", "]", ")", "0"].into_iter().find_map(of))
}

/// Whether a grammar accepts a text as a whole, in the tokens that the tokenizer gives it.
pub fn accepts(grammars: &Grammars, grammar: &Grammar, text: &str) -> bool {
    let mut ids = grammars.tokenizer().encode(text, false).unwrap();
    ids.push(grammars.ends()[0]);
    accepts_tokens(grammar, &ids)
}

/// Whether a grammar allows each of these tokens.
pub fn accepts_tokens(grammar: &Grammar, ids: &[u32]) -> bool {
    let mut matcher = grammar.matcher();
    (0..ids.len()).all(|at| {
        let mask = matcher.mask_after(&ids[..at]).unwrap();
        tokens(&mask).contains(&ids[at])
    })
}
