// embed: x[r, :] = E[token of row r, :], and history[slot, position] = that token
//
//   weight      [part rows, hidden_size]  format of import weights; one part of embed_tokens
//   next_token  [n_slots]                 u32   each slot's last sampled token
//   x           [n_rows, hidden_size]     f32
//   history     [n_slots, context]        u32   tokens by position, for penalties
//
// One workgroup of WG lanes for each row. One dispatch for each part of E; it skips rows whose token
// is in another part. A row with token FROM_SLOT takes its slot's last sampled token.
// Exact: decoding a weight does not round. Source: LFM2 embed_tokens. Twin: reference/embed.rs
#import weights

struct Params {
    // First row and number of rows of this part; columns; positions of a slot.
    first_row: u32,
    rows: u32,
    hidden_size: u32,
    context: u32,
    // First words of planes 1, 2 and 3 of the weights.
    plane1: u32,
    plane2: u32,
    plane3: u32,
}

@group(1) @binding(N) var<storage, read> next_token: array<u32>;
@group(1) @binding(N) var<storage, read_write> x: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read_write> history: array<u32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x;
    if (row >= n_rows()) { return; }
    let slot = seq_slot(row_seq(row));
    var token = row_token(row);
    if (token == FROM_SLOT) { token = next_token[slot]; }
    if (token < params.first_row || token >= params.first_row + params.rows) { return; }
    let width = params.hidden_size / 4u;
    for (var i = lane; i < width; i += WG) {
        x[(row * width) + i] = weight4(((token - params.first_row) * width) + i);
    }
    if (lane == 0u) { history[(slot * params.context) + row_position(row)] = token; }
}
