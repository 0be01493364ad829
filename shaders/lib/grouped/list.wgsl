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
