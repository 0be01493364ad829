// One product an item: every row, or every row whose logits are wanted, through the same matrix.
fn n_items() -> u32 { return select(n_rows(), n_logit_rows(), params.logit_rows != 0u); }
// Where the items that share a weight read end; where an item's product goes.
fn items_end(first: u32) -> u32 { return n_items(); }
fn output_of(item: u32) -> u32 { return item; }
fn n_jobs() -> u32 { return 1u; }
fn job_expert(item: u32, job: u32) -> u32 { return 0u; }
fn job_input(item: u32, job: u32) -> u32 { return item; }
fn job_scale(item: u32, job: u32) -> f32 { return 1.0; }

// For matmul: a tile of TILE_ITEMS consecutive items.
fn tiles() -> u32 { return (n_items() + TILE_ITEMS - 1u) / TILE_ITEMS; }
fn tile_expert(tile: u32) -> u32 { return 0u; }
fn tile_len(tile: u32) -> u32 { return min(TILE_ITEMS, n_items() - (tile * TILE_ITEMS)); }
fn tile_input(tile: u32, i: u32) -> u32 { return (tile * TILE_ITEMS) + i; }
fn tile_output(tile: u32, i: u32) -> u32 { return (tile * TILE_ITEMS) + i; }
