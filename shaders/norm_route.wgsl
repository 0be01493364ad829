// norm_route: h = RMSNorm(x), s = sigmoid(router h), ids = the TOP_K experts of largest s + expert_bias,
//             gates = their s, divided by (their sum + 1e-6) if NORM_TOPK, times routed_scaling
//
//   x, h         [n_rows, hidden_size]     f32
//   scale        [hidden_size]             f32   ffn_norm
//   router       [EXPERTS, hidden_size]    f32   in every model
//   expert_bias  [EXPERTS]                 f32   affects the choice only; zeros if the model has none
//   ids, gates   [n_rows, TOP_K]           u32, f32   in descending order of s + bias; equal ones by id
//
// A workgroup of WG lanes computes one row, or with reduce=serial each lane one row.
// hidden_size % 4 == 0.
// f32 throughout. Source: transformers Lfm2MoeSparseMoeBlock.route_tokens_to_experts.
// Twin: reference/norm_route.rs
#import reduce

struct Params {
    hidden_size: u32,
    eps: f32,
    routed_scaling: f32,
}

@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> scale: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> router: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read> expert_bias: array<f32>;
@group(1) @binding(N) var<storage, read_write> h: array<vec4<f32>>;
@group(1) @binding(N) var<storage, read_write> ids: array<u32>;
@group(1) @binding(N) var<storage, read_write> gates: array<f32>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, lane: Lane) {
    let row = (group.x * (WG / LANES)) + row_in_group(lane);
    if (row >= n_rows()) { return; }
    let width = bound(params.hidden_size / 4u);
    let start = row * width;
    var squares = vec4<f32>(0.0);
    for (var i = lane_in_row(lane); i < width; i += LANES) {
        let v = x[start + i];
        squares += v * v;
    }
    let sum = reduce_sum4(squares, lane);
    let mean = (sum.x + sum.y + sum.z + sum.w) / f32(params.hidden_size);
    let factor = 1.0 / sqrt(mean + params.eps);
    for (var i = lane_in_row(lane); i < width; i += LANES) {
        h[start + i] = scale[i] * (x[start + i] * factor);
    }

    // The best TOP_K experts so far, best first. Every lane of the row keeps the same list.
    var best_id: array<u32, TOP_K>;
    var best_key: array<f32, TOP_K>;
    var best_score: array<f32, TOP_K>;
    for (var j = 0u; j < TOP_K; j++) {
        best_id[j] = 0u;
        best_key[j] = LOWEST;
        best_score[j] = 0.0;
    }
    for (var expert = 0u; expert < EXPERTS; expert += 4u) {
        let last = EXPERTS - 1u;
        let r0 = expert * width;
        let r1 = min(expert + 1u, last) * width;
        let r2 = min(expert + 2u, last) * width;
        let r3 = min(expert + 3u, last) * width;
        var products = vec4<f32>(0.0);
        for (var i = lane_in_row(lane); i < width; i += LANES) {
            let v = scale[i] * (x[start + i] * factor);
            products += vec4<f32>(
                dot(router[r0 + i], v), dot(router[r1 + i], v),
                dot(router[r2 + i], v), dot(router[r3 + i], v));
        }
        let logits = reduce_sum4(products, lane);
        for (var c = 0u; c < min(4u, EXPERTS - expert); c++) {
            var id = expert + c;
            var score = 1.0 / (1.0 + exp(-logits[c]));
            var key = score + expert_bias[id];
            // Insertion: among equal keys the lower id stays in front, so a displaced entry goes before
            // the entries that follow it, even equal ones.
            var placed = false;
            for (var j = 0u; j < TOP_K; j++) {
                if (placed || key > best_key[j]) {
                    placed = true;
                    let old_id = best_id[j];
                    let old_key = best_key[j];
                    let old_score = best_score[j];
                    best_id[j] = id;
                    best_key[j] = key;
                    best_score[j] = score;
                    id = old_id;
                    key = old_key;
                    score = old_score;
                }
            }
        }
    }
    var norm = 1.0;
    if (NORM_TOPK != 0u) {
        norm = 1e-6;
        for (var j = 0u; j < TOP_K; j++) { norm += best_score[j]; }
    }
    if (lane_in_row(lane) == 0u) {
        for (var j = 0u; j < TOP_K; j++) {
            ids[(row * TOP_K) + j] = best_id[j];
            gates[(row * TOP_K) + j] = (best_score[j] / norm) * params.routed_scaling;
        }
    }
}
