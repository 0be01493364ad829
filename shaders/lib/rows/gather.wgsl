// Item row * top_k + j is row's j-th expert: its matrix is chosen by the router, on the GPU.
//   ids [n_rows, top_k]
@group(1) @binding(N) var<storage, read> ids: array<u32>;

fn n_items() -> u32 { return n_rows() * params.top_k; }
// Where the items that share a weight read end; where an item's product goes.
fn items_end(first: u32) -> u32 { return n_items(); }
fn output_of(item: u32) -> u32 { return item; }
fn n_jobs() -> u32 { return 1u; }
fn job_expert(item: u32, job: u32) -> u32 { return ids[item]; }
fn job_input(item: u32, job: u32) -> u32 { return item / params.top_k; }
fn job_scale(item: u32, job: u32) -> f32 { return 1.0; }
