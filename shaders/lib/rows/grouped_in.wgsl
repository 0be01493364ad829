// Items grouped by expert (moe_group); item s = row * top_k + j reads row s / top_k.
#import grouped
fn tile_input(tile: u32, i: u32) -> u32 { return tile_output(tile, i) / params.top_k; }

fn job_input(item: u32, job: u32) -> u32 {
    return tile_input(item / TILE_ITEMS, item % TILE_ITEMS);
}
