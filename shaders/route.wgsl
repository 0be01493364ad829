// route: s = sigmoid(logits), ids = the TOP_K experts of largest s + expert_bias,
//        gates = their s, divided by (their sum + 1e-6) if NORM_TOPK, times routed_scaling
//
//   logits       [n_rows, EXPERTS]  f32        output of the router
//   expert_bias  [EXPERTS]          f32        affects the choice only; zeros if the model has none
//   ids, gates   [n_rows, TOP_K]    u32, f32   in descending order of s + bias; equal ones by id
//
// A lane computes one row. Products of single rows make the same choice themselves (lib/linear.wgsl).
// f32. Source: transformers Lfm2MoeSparseMoeBlock.route_tokens_to_experts. Twin: reference/route.rs
#import experts=score

struct Params {
    routed_scaling: f32,
}

@group(1) @binding(N) var<storage, read> logits: array<f32>;
@group(1) @binding(N) var<storage, read> expert_bias: array<f32>;
@group(1) @binding(N) var<storage, read_write> ids: array<u32>;
@group(1) @binding(N) var<storage, read_write> gates: array<f32>;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if (row >= n_rows()) { return; }
    // The best experts so far, best first.
    var best_id: array<u32, TOP_K>;
    var best_key: array<f32, TOP_K>;
    var best_score: array<f32, TOP_K>;
    for (var j = 0u; j < TOP_K; j++) {
        best_id[j] = EXPERTS;
        best_key[j] = LOWEST;
        best_score[j] = 0.0;
    }
    for (var expert = 0u; expert < EXPERTS; expert++) {
        var own = expert;
        var score = expert_score(logits[(row * EXPERTS) + expert]);
        var key = expert_key(score, expert_bias[expert]);
        // Insertion: among equal keys the lower id stays in front, so a displaced entry goes before the
        // entries that follow it, even equal ones.
        var placed = false;
        for (var j = 0u; j < TOP_K; j++) {
            if (placed || key > best_key[j] || best_id[j] == EXPERTS) {
                placed = true;
                let old_id = best_id[j];
                let old_key = best_key[j];
                let old_score = best_score[j];
                best_id[j] = own;
                best_key[j] = key;
                best_score[j] = score;
                own = old_id;
                key = old_key;
                score = old_score;
            }
        }
    }
    var norm = 1.0;
    if (NORM_TOPK != 0u) {
        norm = 1e-6;
        for (var j = 0u; j < TOP_K; j++) { norm += best_score[j]; }
    }
    for (var j = 0u; j < TOP_K; j++) {
        ids[(row * TOP_K) + j] = best_id[j];
        gates[(row * TOP_K) + j] = (best_score[j] / norm) * params.routed_scaling;
    }
}
