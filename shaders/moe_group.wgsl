// moe_group: sorts the items row * top_k + j by their expert and lists the tiles of the grouped
//            products: each has at most TILE_ITEMS items, all of one expert
//
//   ids     [n_rows, top_k]  u32   output of norm_route
//   groups  u32: [0] n_tiles, then from 4 on [max_tiles][4]: expert, first, count, 0;
//                then from params.items_at on the items, sorted by expert, in order of item
//
// One workgroup. Each lane counts and lists the items of its own experts, so no atomics are needed and
// the order is fixed. All lanes read the n_rows * top_k ids twice, the same address at a time.
// Exact. Source: group by expert as in ggml's mul_mat_id. Twin: reference/moe_group.rs

struct Params {
    top_k: u32,
    items_at: u32,
}

@group(1) @binding(N) var<storage, read> ids: array<u32>;
@group(1) @binding(N) var<storage, read_write> groups: array<u32>;

var<workgroup> counts: array<u32, EXPERTS>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    let n = n_rows() * params.top_k;
    for (var e = lane; e < EXPERTS; e += WG) {
        var count = 0u;
        for (var i = 0u; i < n; i++) { count += select(0u, 1u, ids[i] == e); }
        counts[e] = count;
    }
    workgroupBarrier();
    for (var e = lane; e < EXPERTS; e += WG) {
        var first = 0u;
        var tile = 0u;
        for (var before = 0u; before < e; before++) {
            first += counts[before];
            tile += (counts[before] + TILE_ITEMS - 1u) / TILE_ITEMS;
        }
        let count = counts[e];
        for (var done = 0u; done < count; done += TILE_ITEMS) {
            let at = 4u + (tile * 4u);
            groups[at] = e;
            groups[at + 1u] = first + done;
            groups[at + 2u] = min(TILE_ITEMS, count - done);
            groups[at + 3u] = 0u;
            tile++;
        }
        var to = params.items_at + first;
        for (var i = 0u; i < n; i++) {
            if (ids[i] == e) {
                groups[to] = i;
                to++;
            }
        }
        if (e == EXPERTS - 1u) { groups[0] = tile; }
    }
}
