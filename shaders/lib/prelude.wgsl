// What every kernel sees: its parameters and the batch table.
//
// batch: one small buffer, written by the host before each step (kernels/batch.rs has the twin of
// this layout). All of it is read-only, so loop bounds taken from it are uniform.
//   [0] n_rows  [1] n_seqs  [2] n_logit_rows  [3] n_tiles
//   [4] rows_at  [5] seqs_at  [6] logit_rows_at  [7] tiles_at  [8] pages_at  [9] max_pages
//   [10] biases_at  [11] to [15] 0
//   rows  [n_rows][4]    token (or FROM_SLOT), seq, position, 0
//   seqs  [n_seqs][16]   slot, first_row, n_rows, generated_from, then the sampling options:
//                        seed, flags, top_k, temperature, top_p, min_p, repetition_penalty,
//                        presence_penalty, frequency_penalty, first_bias, n_biases, 0
//   logit_rows [n_logit_rows]  row whose logits are wanted
//   tiles [n_tiles][2]   seq, first row of a tile of query rows (flash_attention)
//   pages [n_seqs][max_pages]  page of the KV pool that holds positions 64 i .. 64 i + 63
//   biases [][2]         token, what is added to its logit: those of each sequence together
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> batch: array<u32>;

const FROM_SLOT = 0xffffffffu;
const PAGE = 64u;

fn n_rows() -> u32 { return batch[0]; }
fn n_seqs() -> u32 { return batch[1]; }
fn n_logit_rows() -> u32 { return batch[2]; }
fn n_tiles() -> u32 { return batch[3]; }
fn row_token(row: u32) -> u32 { return batch[batch[4] + (row * 4u)]; }
fn row_seq(row: u32) -> u32 { return batch[batch[4] + (row * 4u) + 1u]; }
fn row_position(row: u32) -> u32 { return batch[batch[4] + (row * 4u) + 2u]; }
fn seq_word(seq: u32, i: u32) -> u32 { return batch[batch[5] + (seq * 16u) + i]; }
fn seq_slot(seq: u32) -> u32 { return seq_word(seq, 0u); }
fn seq_first_row(seq: u32) -> u32 { return seq_word(seq, 1u); }
fn seq_n_rows(seq: u32) -> u32 { return seq_word(seq, 2u); }
fn logit_row(i: u32) -> u32 { return batch[batch[6] + i]; }
fn tile_seq(tile: u32) -> u32 { return batch[batch[7] + (tile * 2u)]; }
fn tile_first_row(tile: u32) -> u32 { return batch[batch[7] + (tile * 2u) + 1u]; }

// Row of the KV pool that holds `position` of `seq`.
fn kv_row(seq: u32, position: u32) -> u32 {
    let page = batch[batch[8] + (seq * batch[9]) + (position / PAGE)];
    return (page * PAGE) + (position % PAGE);
}

// A loop's end taken from params. lavapipe (Mesa 22.2 to 22.3 at least) reads uniforms that end a
// loop before it draws, compiles the kernel anew for their values at every dispatch and keeps what
// it compiled: 1 MB and several ms a dispatch. A word of the batch that is always 0 hides them.
fn bound(n: u32) -> u32 { return n | batch[15]; }

const LOWEST = -3.4028234e38;
