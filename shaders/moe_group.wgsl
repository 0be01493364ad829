// moe_group: sorts the items row * top_k + j by expert and cuts them into tiles for the grouped products. A tile has
//            at most TILE_ITEMS items, all of one expert
//
//   ids     [n_rows, top_k]  u32   output of route: the expert of item row * top_k + j
//   groups  u32. Word 0: n_tiles, the number of tiles. Words from 4 on, [max_tiles][4]: expert of the tile; place of
//           its first item in the sorted list; number of its items; 0. Words from params.items_at on: the sorted
//           list, the items ordered by expert, then by item
//
// One workgroup, a stable counting sort. The items are cut into CHUNKS chunks, and the lanes count the items of each
// expert in each chunk. The place of an item is the sum of three counts: the items of earlier experts, those of its
// expert in earlier chunks, and those of its expert before it in its own chunk. The lane of the item makes the last
// count. Atomics only count, so the result does not depend on their order.
// Workgroup memory: 4 * CHUNKS * EXPERTS + 4 * EXPERTS bytes.
// Exact. Source: group by expert as in ggml's mul_mat_id. Twin: reference/moe_group.rs

struct Params {
    top_k: u32,
    items_at: u32,
}

@group(1) @binding(N) var<storage, read> ids: array<u32>;
@group(1) @binding(N) var<storage, read_write> groups: array<u32>;

// [CHUNKS][EXPERTS]: first the number of the expert's items in the chunk, then the place of the first of them.
var<workgroup> counts: array<atomic<u32>, CHUNKS * EXPERTS>;
var<workgroup> totals: array<u32, EXPERTS>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    let n = n_rows() * params.top_k;
    let chunk = (n + CHUNKS - 1u) / CHUNKS;
    for (var i = lane; i < CHUNKS * EXPERTS; i += WG) { atomicStore(&counts[i], 0u); }
    workgroupBarrier();
    for (var i = lane; i < n; i += WG) {
        atomicAdd(&counts[((i / chunk) * EXPERTS) + min(ids[i], EXPERTS - 1u)], 1u);
    }
    workgroupBarrier();
    for (var e = lane; e < EXPERTS; e += WG) {
        var before = 0u;
        for (var c = 0u; c < CHUNKS; c++) {
            let count = atomicLoad(&counts[(c * EXPERTS) + e]);
            atomicStore(&counts[(c * EXPERTS) + e], before);
            before += count;
        }
        totals[e] = before;
    }
    workgroupBarrier();
    for (var e = lane; e < EXPERTS; e += WG) {
        var first = 0u;
        var tile = 0u;
        for (var before = 0u; before < e; before++) {
            first += totals[before];
            tile += (totals[before] + TILE_ITEMS - 1u) / TILE_ITEMS;
        }
        for (var done = 0u; done < totals[e]; done += TILE_ITEMS) {
            let at = 4u + (tile * 4u);
            groups[at] = e;
            groups[at + 1u] = first + done;
            groups[at + 2u] = min(TILE_ITEMS, totals[e] - done);
            groups[at + 3u] = 0u;
            tile++;
        }
        // The items of this expert, in all chunks, come after those of earlier experts.
        for (var c = 0u; c < CHUNKS; c++) { atomicAdd(&counts[(c * EXPERTS) + e], first); }
        if (e == EXPERTS - 1u) { groups[0] = tile; }
    }
    workgroupBarrier();
    for (var i = lane; i < n; i += WG) {
        let e = min(ids[i], EXPERTS - 1u);
        var to = atomicLoad(&counts[((i / chunk) * EXPERTS) + e]);
        for (var other = (i / chunk) * chunk; other < i; other++) {
            to += select(0u, 1u, ids[other] == e);
        }
        groups[params.items_at + to] = i;
    }
}
