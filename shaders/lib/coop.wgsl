// Parts of matmul_coop and flash_attention_coop: the cooperative matrices, and their operands in
// workgroup memory.

#part coop=side8
// Matrices of 8 x 8, of f16 with sums in f32. The adapter lists the size: lavapipe's, and Metal's, which wgpu 30 does
// not let us use yet (matmul_coop.rs). Operands are arrays of f16: naga's translation for Metal takes no others.
const SIDE = 8u;
alias coop_left = coop_mat8x8<f16, A>;
alias coop_right = coop_mat8x8<f16, B>;
alias coop_sums = coop_mat8x8<f32, C>;
// Elements of the arrays that hold a quad of columns.
const QUAD = 4u;

var<workgroup> weights_tile: array<f16, WEIGHT_QUADS * QUAD>;
var<workgroup> inputs_tile: array<f16, INPUT_QUADS * QUAD>;

fn store_weights(quad: u32, v: vec4<f16>) {
    weights_tile[quad * QUAD] = v.x;
    weights_tile[(quad * QUAD) + 1u] = v.y;
    weights_tile[(quad * QUAD) + 2u] = v.z;
    weights_tile[(quad * QUAD) + 3u] = v.w;
}

fn store_inputs(quad: u32, v: vec4<f16>) {
    inputs_tile[quad * QUAD] = v.x;
    inputs_tile[(quad * QUAD) + 1u] = v.y;
    inputs_tile[(quad * QUAD) + 2u] = v.z;
    inputs_tile[(quad * QUAD) + 3u] = v.w;
}

#part coop=side16
// Matrices of 16 x 16, of f16 with sums in f32. A quad of columns is stored at once.
const SIDE = 16u;
alias coop_left = coop_mat16x16<f16, A>;
alias coop_right = coop_mat16x16<f16, B>;
alias coop_sums = coop_mat16x16<f32, C>;
const QUAD = 1u;

var<workgroup> weights_tile: array<vec4<f16>, WEIGHT_QUADS>;
var<workgroup> inputs_tile: array<vec4<f16>, INPUT_QUADS>;

fn store_weights(quad: u32, v: vec4<f16>) { weights_tile[quad] = v; }
fn store_inputs(quad: u32, v: vec4<f16>) { inputs_tile[quad] = v; }

#part buffers=one
// One buffer for the operands: they may be stored when every subgroup has multiplied those before.
const BUFFERS = 1u;
fn before_store() { workgroupBarrier(); }

#part buffers=two
// Two buffers: while one is stored, subgroups multiply the other.
const BUFFERS = 2u;
fn before_store() {}
