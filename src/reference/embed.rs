//! Twin of `shaders/embed.wgsl`.

use super::{Sequence, rows};

/// `x[r, :] = embedding[token of row r, :]`; the token goes to `history[slot, position]`.
///
/// `embedding` is `[vocab, hidden_size]`, decoded. If `tokens[r]` is `None`, the row takes
/// `next_token[slot]`, the slot's last sampled token. `history` is `[n_slots, context]`. Source: LFM2
/// `embed_tokens`.
#[must_use]
pub fn embed(
    sequences: &[Sequence],
    tokens: &[Option<u32>],
    next_token: &[u32],
    (embedding, hidden_size): (&[f32], usize),
    (history, context): (&mut [u32], usize),
) -> Vec<f32> {
    let mut x = Vec::with_capacity(tokens.len() * hidden_size);
    for (row, sequence, position) in rows(sequences) {
        let token = tokens[row].unwrap_or(next_token[sequence.slot]);
        history[sequence.slot * context + position] = token;
        x.extend(&embedding[token as usize * hidden_size..][..hidden_size]);
    }
    x
}
