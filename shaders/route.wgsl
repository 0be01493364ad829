// route: s = sigmoid(logits), ids = the TOP_K experts of largest s + expert_bias,
//        gates = their s, divided by (their sum + 1e-6) if NORM_TOPK, times routed_scaling
//
//   logits       [n_rows, EXPERTS]  f32        output of the router
//   expert_bias  [EXPERTS]          f32        affects the choice only; zeros if the model has none
//   ids, gates   [n_rows, TOP_K]    u32, f32   in descending order of s + bias; equal ones by id
//
// A lane computes one row. Products of single rows choose their experts themselves.
// f32. Source: transformers Lfm2MoeSparseMoeBlock.route_tokens_to_experts. Twin: reference/route.rs
#import experts=chosen

struct Params {
    routed_scaling: f32,
}

@group(1) @binding(N) var<storage, read_write> ids: array<u32>;
@group(1) @binding(N) var<storage, read_write> gates: array<f32>;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if (row >= n_rows()) { return; }
    choose_experts(row, id.x);
    for (var j = 0u; j < TOP_K; j++) {
        ids[(row * TOP_K) + j] = chosen_ids[j];
        gates[(row * TOP_K) + j] = chosen_gate(j);
    }
}
