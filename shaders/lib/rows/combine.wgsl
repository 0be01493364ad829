// One item a row: the sum over its top_k experts, each product weighted by its gate, in the
// router's order. One lane adds them all, so the order is fixed and no atomics are needed.
//   ids, gates [n_rows, top_k]
@group(1) @binding(N) var<storage, read> ids: array<u32>;
@group(1) @binding(N) var<storage, read> gates: array<f32>;

fn n_items() -> u32 { return n_rows(); }
// Where the items that share a weight read end; where an item's product goes.
fn items_end(first: u32) -> u32 { return n_items(); }
fn output_of(item: u32) -> u32 { return item; }
fn n_jobs() -> u32 { return bound(params.top_k); }
fn job_expert(item: u32, job: u32) -> u32 { return ids[(item * params.top_k) + job]; }
fn job_input(item: u32, job: u32) -> u32 { return (item * params.top_k) + job; }
fn job_scale(item: u32, job: u32) -> f32 { return gates[(item * params.top_k) + job]; }
