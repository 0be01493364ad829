// Prelude of every kernel: its parameters, the batch table and functions that read it. The parts are the sums over lanes
// (reduce), integers as floats (integers), and products of unpacked weights (columns).
//
// batch: the batch table, a small buffer that the host writes before each step (Rust twin:
// src/kernels/batch.rs). It is read-only, so loop bounds taken from it are uniform. A 16-word header,
// BATCH_* below, gives counts and first words of the sections:
//   rows       [n_rows][6]    token (or FROM_SLOT), sequence, position, positions of a split of its context, place
//                             of the first split in the partial results of attention, column of the
//                             snapshots (or NO_SNAPSHOT): ROW_* below
//   seqs       [n_seqs][16]   slot, rows and sampling options of a sequence: SEQ_* below
//   logit_rows [n_logit_rows][5]  a row whose logits are wanted, its mask of tokens, and the log-probabilities
//                             that are wanted of it: LOGIT_* below
//   tiles      [n_tiles][3]   sequence and first row of a tile of query rows for flash_attention, and the index of
//                             a split that begins within the tile's context: TILE_* below
//   pages      [n_seqs][max_pages]  page of the KV pool that holds positions 64 i .. 64 i + 63
//   biases     [][2]          token and its logit bias; those of a sequence are consecutive
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> batch: array<u32>;

// In place of a token: the slot's last sampled token.
const FROM_SLOT = 0xffffffffu;
// In place of a column of the snapshots: the row's convolution inputs are not kept there.
const NO_SNAPSHOT = 0xffffffffu;
// In place of a slot of the adapters: the sequence has none.
const NO_LORA = 0xffffffffu;
// Positions in a page of the KV pool.
const PAGE = 64u;

// Words of the header.
const BATCH_N_ROWS = 0u;
const BATCH_N_SEQS = 1u;
const BATCH_N_LOGIT_ROWS = 2u;
const BATCH_N_TILES = 3u;
const BATCH_ROWS_AT = 4u;
const BATCH_SEQS_AT = 5u;
const BATCH_LOGIT_ROWS_AT = 6u;
const BATCH_TILES_AT = 7u;
const BATCH_PAGES_AT = 8u;
const BATCH_MAX_PAGES = 9u;
const BATCH_BIASES_AT = 10u;
// Most rows of a sequence that attention computes; flash_attention computes longer ones.
const BATCH_ATTENTION_ROWS = 11u;
const BATCH_ZERO = 15u;

// Words of a row.
const ROW_WORDS = 6u;
const ROW_TOKEN = 0u;
const ROW_SEQ = 1u;
const ROW_POSITION = 2u;
const ROW_SPLIT = 3u;
const ROW_PLACE = 4u;
const ROW_SNAPSHOT = 5u;

// Words of a logit row: index of its row; row of the masks of tokens; the token whose log-probability is
// wanted, or DRAWN for the one that is drawn; the distribution of the log-probabilities (0: none are wanted, else
// LOGPROBS_RAW or LOGPROBS_PROCESSED); number of the most probable tokens.
const LOGIT_WORDS = 5u;
const LOGIT_ROW = 0u;
const LOGIT_ALLOWED = 1u;
const LOGIT_TOKEN = 2u;
const LOGIT_LOGPROBS = 3u;
const LOGIT_TOP = 4u;
const DRAWN = 0xffffffffu;
const LOGPROBS_RAW = 1u;
const LOGPROBS_PROCESSED = 2u;

// Words of a sequence. Options in floats are stored as bits.
const SEQ_WORDS = 16u;
const SEQ_SLOT = 0u;
const SEQ_FIRST_ROW = 1u;
const SEQ_N_ROWS = 2u;
// First generated position.
const SEQ_GENERATED_FROM = 3u;
const SEQ_SEED = 4u;
// Slot of the sequence's LoRA adapter, or NO_LORA, and the factor of its addition.
const SEQ_LORA = 5u;
const SEQ_TOP_K = 6u;
const SEQ_TEMPERATURE = 7u;
const SEQ_TOP_P = 8u;
const SEQ_MIN_P = 9u;
const SEQ_REPETITION_PENALTY = 10u;
const SEQ_PRESENCE_PENALTY = 11u;
const SEQ_FREQUENCY_PENALTY = 12u;
// Index of the sequence's first bias, and their number.
const SEQ_FIRST_BIAS = 13u;
const SEQ_N_BIASES = 14u;
const SEQ_LORA_SCALE = 15u;

// Words of a tile.
const TILE_WORDS = 3u;
const TILE_SEQ = 0u;
const TILE_FIRST_ROW = 1u;
const TILE_SPLIT = 2u;

fn n_rows() -> u32 { return batch[BATCH_N_ROWS]; }
fn n_seqs() -> u32 { return batch[BATCH_N_SEQS]; }
fn n_logit_rows() -> u32 { return batch[BATCH_N_LOGIT_ROWS]; }
fn n_tiles() -> u32 { return batch[BATCH_N_TILES]; }
fn row_word(row: u32, word: u32) -> u32 {
    return batch[batch[BATCH_ROWS_AT] + (row * ROW_WORDS) + word];
}
fn row_token(row: u32) -> u32 { return row_word(row, ROW_TOKEN); }
fn row_seq(row: u32) -> u32 { return row_word(row, ROW_SEQ); }
fn row_position(row: u32) -> u32 { return row_word(row, ROW_POSITION); }
fn row_split(row: u32) -> u32 { return row_word(row, ROW_SPLIT); }
fn row_place(row: u32) -> u32 { return row_word(row, ROW_PLACE); }
fn row_snapshot(row: u32) -> u32 { return row_word(row, ROW_SNAPSHOT); }
fn seq_word(seq: u32, word: u32) -> u32 {
    return batch[batch[BATCH_SEQS_AT] + (seq * SEQ_WORDS) + word];
}
fn seq_slot(seq: u32) -> u32 { return seq_word(seq, SEQ_SLOT); }
fn seq_first_row(seq: u32) -> u32 { return seq_word(seq, SEQ_FIRST_ROW); }
fn seq_n_rows(seq: u32) -> u32 { return seq_word(seq, SEQ_N_ROWS); }
fn row_lora(row: u32) -> u32 { return seq_word(row_seq(row), SEQ_LORA); }
fn row_lora_scale(row: u32) -> f32 { return bitcast<f32>(seq_word(row_seq(row), SEQ_LORA_SCALE)); }
fn logit_word(i: u32, word: u32) -> u32 {
    return batch[batch[BATCH_LOGIT_ROWS_AT] + (i * LOGIT_WORDS) + word];
}
fn logit_row(i: u32) -> u32 { return logit_word(i, LOGIT_ROW); }
fn tile_word(tile: u32, word: u32) -> u32 {
    return batch[batch[BATCH_TILES_AT] + (tile * TILE_WORDS) + word];
}
fn tile_seq(tile: u32) -> u32 { return tile_word(tile, TILE_SEQ); }
fn tile_first_row(tile: u32) -> u32 { return tile_word(tile, TILE_FIRST_ROW); }
fn tile_split(tile: u32) -> u32 { return tile_word(tile, TILE_SPLIT); }
// Whether flash_attention computes the sequence.
fn is_tiled(seq: u32) -> bool { return seq_n_rows(seq) > batch[BATCH_ATTENTION_ROWS]; }

// Row of the partial results of attention, [splits of all rows, n_heads], for a head and split of a row.
fn partial_row(row: u32, split: u32, head: u32, n_heads: u32) -> u32 {
    return ((row_place(row) + split) * n_heads) + head;
}

// Row of the KV pool that holds `position` of `seq`.
fn kv_row(seq: u32, position: u32) -> u32 {
    let page = batch[batch[BATCH_PAGES_AT] + (seq * batch[BATCH_MAX_PAGES]) + (position / PAGE)];
    return (page * PAGE) + (position % PAGE);
}

// A loop's end that is taken from params. lavapipe (Mesa 22.2 to 22.3 at least) reads uniforms that end
// a loop before it draws, compiles the kernel anew for their values at every dispatch and keeps the
// result: 1 MB and several ms for each dispatch. A word of the batch that is always 0 hides them.
fn bound(n: u32) -> u32 { return n | batch[BATCH_ZERO]; }

// The lowest finite f32.
const LOWEST = -3.4028234e38;

// Sums and maxima over the lanes that share a row (import reduce). A lane is one invocation.
//   LANES                 lanes that share a row: all WG of the workgroup, or 1
//   Lane                  builtins of an invocation
//   lane_in_row(lane)     index of the lane among those of its row
//   row_in_group(lane)    index of the lane's row among those of the workgroup
//   reduce_sum4, reduce_max   the result for the row, returned in each of its lanes
//   reduce_sum4_of(value, lanes, lane)   the sum over this lane's group of `lanes` consecutive lanes, a power
//                         of two; a subgroup must not be larger

#part reduce=tree
// A tree in workgroup memory. The order is fixed, so a result depends only on WG.
const LANES = WG;

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

fn lane_in_row(lane: Lane) -> u32 { return lane.index; }
fn row_in_group(lane: Lane) -> u32 { return 0u; }

var<workgroup> reduce_scratch: array<vec4<f32>, WG>;

fn reduce_sum4_of(value: vec4<f32>, lanes: u32, lane: Lane) -> vec4<f32> {
    reduce_scratch[lane.index] = value;
    workgroupBarrier();
    for (var half = lanes / 2u; half > 0u; half = half / 2u) {
        if (lane.index % lanes < half) {
            reduce_scratch[lane.index] += reduce_scratch[lane.index + half];
        }
        workgroupBarrier();
    }
    let total = reduce_scratch[lane.index - (lane.index % lanes)];
    workgroupBarrier();
    return total;
}

fn reduce_sum4(value: vec4<f32>, lane: Lane) -> vec4<f32> {
    return reduce_sum4_of(value, WG, lane);
}

fn reduce_max(value: f32, lane: Lane) -> f32 {
    reduce_scratch[lane.index].x = value;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half = half / 2u) {
        if (lane.index < half) {
            reduce_scratch[lane.index].x =
                max(reduce_scratch[lane.index].x, reduce_scratch[lane.index + half].x);
        }
        workgroupBarrier();
    }
    let total = reduce_scratch[0].x;
    workgroupBarrier();
    return total;
}

#part reduce=subgroup
// Subgroup operations within each subgroup, then a loop over the subgroups' results in workgroup
// memory. Correct for subgroups of 4 lanes or more.
const LANES = WG;

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
    @builtin(subgroup_size) subgroup_size: u32,
}

fn lane_in_row(lane: Lane) -> u32 { return lane.index; }
fn row_in_group(lane: Lane) -> u32 { return 0u; }

var<workgroup> reduce_scratch: array<vec4<f32>, WG / 4u>;

fn reduce_sum4_of(value: vec4<f32>, lanes: u32, lane: Lane) -> vec4<f32> {
    let part = subgroupAdd(value);
    if (lane.subgroup_lane == 0u) {
        reduce_scratch[lane.index / lane.subgroup_size] = part;
    }
    workgroupBarrier();
    var total = vec4<f32>(0.0);
    let first = (lane.index - (lane.index % lanes)) / lane.subgroup_size;
    let parts = (lanes + lane.subgroup_size - 1u) / lane.subgroup_size;
    for (var i = 0u; i < parts; i++) {
        total += reduce_scratch[first + i];
    }
    workgroupBarrier();
    return total;
}

fn reduce_sum4(value: vec4<f32>, lane: Lane) -> vec4<f32> {
    return reduce_sum4_of(value, WG, lane);
}

fn reduce_max(value: f32, lane: Lane) -> f32 {
    let part = subgroupMax(value);
    if (lane.subgroup_lane == 0u) {
        reduce_scratch[lane.index / lane.subgroup_size].x = part;
    }
    workgroupBarrier();
    var total = LOWEST;
    let parts = (WG + lane.subgroup_size - 1u) / lane.subgroup_size;
    for (var i = 0u; i < parts; i++) {
        total = max(total, reduce_scratch[i].x);
    }
    workgroupBarrier();
    return total;
}

#part reduce=serial
// Every lane owns whole rows, so nothing is shared and no barrier is needed: fastest on CPU drivers.
const LANES = 1u;

struct Lane {
    @builtin(local_invocation_index) index: u32,
}

fn lane_in_row(lane: Lane) -> u32 { return 0u; }
fn row_in_group(lane: Lane) -> u32 { return lane.index; }
fn reduce_sum4(value: vec4<f32>, lane: Lane) -> vec4<f32> { return value; }
fn reduce_sum4_of(value: vec4<f32>, lanes: u32, lane: Lane) -> vec4<f32> { return value; }
fn reduce_max(value: f32, lane: Lane) -> f32 { return value; }

#part reduce=serial_subgroup
// As serial; lanes of a subgroup may also pass values to each other (input=broadcast).
const LANES = 1u;

struct Lane {
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
    @builtin(subgroup_size) subgroup_size: u32,
}

fn lane_in_row(lane: Lane) -> u32 { return 0u; }
fn row_in_group(lane: Lane) -> u32 { return lane.index; }
fn reduce_sum4(value: vec4<f32>, lane: Lane) -> vec4<f32> { return value; }
fn reduce_sum4_of(value: vec4<f32>, lanes: u32, lane: Lane) -> vec4<f32> { return value; }
fn reduce_max(value: f32, lane: Lane) -> f32 { return value; }

#part integers=fields
// The integers that `mask` selects in bits first .. of each word, minus `zero`. `first` plus the number of bits of `mask`
// is at most 23. A float with the exponent 23 - first has the value 1 in bit `first`. So the bits in their place, below this
// exponent, are 2^(23 - first) plus the integer, and the difference is exact. Conversion instructions are slow on NVIDIA's
// GPUs: docs/performance.md has the figures (Compilers of GPUs, A decoded token).
fn integers(words: vec4<u32>, first: vec4<u32>, mask: u32, zero: f32) -> vec4<f32> {
    // 2^(23 - first) as bits.
    let power = (vec4<u32>(150u) - first) << vec4<u32>(23u);
    let bits = (words & (vec4<u32>(mask) << first)) | power;
    return bitcast<vec4<f32>>(bits) - (bitcast<vec4<f32>>(power) + zero);
}

// The same bits of each word.
fn row_bits(words: vec4<u32>, first: u32, mask: u32, zero: f32) -> vec4<f32> {
    return integers(words, vec4<u32>(first), mask, zero);
}

// The four signed bytes of a word. With its sign bit inverted, a byte is 128 more.
fn signed_bytes(word: u32) -> vec4<f32> {
    let lower = word ^ 0x80808080u;
    let upper = lower >> 16u;
    return integers(
        vec4<u32>(lower, lower, upper, upper), vec4<u32>(0u, 8u, 0u, 8u), 255u, 128.0);
}

#part columns=eight
// Eight columns of four rows.
struct Columns {
    c0: vec4<f32>, c1: vec4<f32>, c2: vec4<f32>, c3: vec4<f32>,
    c4: vec4<f32>, c5: vec4<f32>, c6: vec4<f32>, c7: vec4<f32>,
}

// The dot products of the four rows with eight inputs: columns 0 .. 3 with a, the others with b.
fn columns_product(w: Columns, a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    var sum = w.c0 * a.x;
    sum += w.c1 * a.y;
    sum += w.c2 * a.z;
    sum += w.c3 * a.w;
    sum += w.c4 * b.x;
    sum += w.c5 * b.y;
    sum += w.c6 * b.z;
    sum += w.c7 * b.w;
    return sum;
}

#part columns=bytes
#import integers=fields
#import columns=eight

// Word r of `a` has the first four columns of row r, a byte of at most 7 bits each; word r of `b` the others.
fn columns_of(a: vec4<u32>, b: vec4<u32>, zero: f32) -> Columns {
    let byte = vec4<u32>(8u);
    return Columns(
        row_bits(a, 0u, 127u, zero), row_bits(a, 8u, 127u, zero),
        row_bits(a, 16u, 127u, zero), row_bits(a >> byte, 16u, 127u, zero),
        row_bits(b, 0u, 127u, zero), row_bits(b, 8u, 127u, zero),
        row_bits(b, 16u, 127u, zero), row_bits(b >> byte, 16u, 127u, zero));
}
