// The tile list of moe_group.
//   groups: [0] n_tiles, then from 4 on [max_tiles][4]: expert, first, count, 0;
//           then from params.items_at on the items sorted by expert
@group(1) @binding(N) var<storage, read> groups: array<u32>;

fn tiles() -> u32 { return groups[0]; }
fn tile_expert(tile: u32) -> u32 { return groups[4u + (tile * 4u)]; }
fn tile_len(tile: u32) -> u32 { return groups[4u + (tile * 4u) + 2u]; }
fn tile_output(tile: u32, i: u32) -> u32 {
    return groups[params.items_at + groups[4u + (tile * 4u) + 1u] + i];
}

// For matvec: item t * TILE_ITEMS + i is place i of tile t, where there may be none.
fn items_end(first: u32) -> u32 {
    let tile = first / TILE_ITEMS;
    if (tile >= tiles()) { return 0u; }
    return (tile * TILE_ITEMS) + tile_len(tile);
}
fn output_of(item: u32) -> u32 { return tile_output(item / TILE_ITEMS, item % TILE_ITEMS); }
fn n_jobs() -> u32 { return 1u; }
fn job_expert(item: u32, job: u32) -> u32 { return tile_expert(item / TILE_ITEMS); }
fn job_scale(item: u32, job: u32) -> f32 { return 1.0; }
