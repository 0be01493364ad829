// moe_group: sorts the items row * top_k + j by their expert and lists the tiles of the grouped
//            products: each has at most TILE_ITEMS items, all of one expert
//
//   ids     [n_rows, top_k]  u32   output of route
//   groups  u32: [0] n_tiles, then from 4 on [max_tiles][4]: expert, first, count, 0;
//                then from params.items_at on the items, sorted by expert, in order of item
//
// One workgroup, a stable counting sort. The items are cut into CHUNKS chunks, and all lanes count each chunk's items
// of each expert. An item's place is the sum of the items of earlier experts, those of its expert in earlier
// chunks, and those before it in its own chunk, which its lane counts. Atomics only count, so the result does not
// depend on their order. Workgroup memory: 4 * CHUNKS * EXPERTS + 4 * EXPERTS bytes.
// Exact. Source: group by expert as in ggml's mul_mat_id. Twin: reference/moe_group.rs

struct Params {
    top_k: u32,
    items_at: u32,
}

@group(1) @binding(N) var<storage, read> ids: array<u32>;
@group(1) @binding(N) var<storage, read_write> groups: array<u32>;

// Items of an expert in a chunk, later in all chunks before it: [CHUNKS][EXPERTS].
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
        // All chunks' items of this expert come after those of earlier experts.
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
