// matvec: y[item, r] = sum over jobs of scale * (sum_k W[expert, r, k] * x[input, k]) + bias[r]
//
//   weight  [experts, rows, cols]  in the format of import weights. A matrix that is too large for one binding is
//                                  cut into parts. A part has the same range of rows of every expert, and
//                                  `rows` is the number of these rows
//   x       [inputs, cols]         f32; with import norm=rms, RMSNorm is applied to its rows first
//   out     [items, rows]          f32, written by import epilogue: store; add (residual connection); or swiglu
//                                  (gate and up rows alternate, and out is half as wide)
//
// Matrix-vector products for few items. An item is a row of out: the sum of its jobs, plus the bias. A job is the
// product of one matrix with one row of x, multiplied by a scale. A workgroup computes ITEMS items, which have the same
// matrix, so each weight is loaded once for all of them. The import `items` (lib/linear.wgsl) defines the items and
// their jobs:
//   dense                    An item is a row of the batch. It has one job, with the only matrix.
//   gather                   An item is one expert of a row. It has one job, with the expert's matrix.
//   grouped_in, grouped_out  As gather, but moe_group has sorted the items by expert and cut them into tiles, each of
//                            one expert. Item t * ITEMS + i is the i-th item of tile t.
//   combine                  An item is a row. It has TOP_K jobs, one for each of the row's experts. The scale of a
//                            job is the expert's gate.
// The j-th expert of a row has the number s = row * top_k + j. Its job reads a row of x and writes a row of out:
//                            reads        writes
//   gather, grouped_in       s / top_k    s
//   grouped_out              s            s
//   combine                  s            s / top_k, where the jobs of a row are added up
//
// A lane is one invocation. LANES lanes share four rows of the matrix: all lanes of the workgroup, or a single lane
// with reduce=serial. A unit is 4 * UNIT4 columns of these four rows. Lane i takes units i, i + LANES, ..., so that
// loads are coalesced. With PAIRS, it loads two units before it multiplies them. It multiplies the UNIT_SLICES slices of
// a unit one after another, so that few weights are unpacked at a time. After the last unit, the sums of the lanes are
// added up.
// JOBS is the number of jobs of an item that a workgroup computes side by side. It is 1 except with items=combine. Each
// of these jobs has JOB_LANES = LANES / JOBS lanes, which divide its units among them as described above. The products
// of an item's jobs are added in the order of the jobs, so that the rounding is always the same.
// The import `product` (lib/weights/) defines:
//   load_unit(at)                             loads a unit. The units of the matrix part are numbered row by row,
//                                             and at[i] is the number of the unit in the i-th of the four rows
//   unpacked(unit, slice)                     the weights of one of its slices, as unit_product takes them: unpacked
//                                             once for all items, or still packed
//   unit_product(weights, row_at, index, lane) a Product: four dot products, each of the slice's rows times the same
//                                             columns of the input row that begins at x[row_at], and the squares of
//                                             these inputs. `index` is the number of the slice within its row
//   row_squares(own, lane)                    the sums of squares of four input rows, by the lane's shares
// cols is a multiple of the format's block and of 4 * UNIT4; rows may be any number.
// Grid: x has ceil(items / ITEMS) workgroups. For grouped items it has max_tiles, the largest possible number of tiles.
// The rows of the matrix are divided into groups, one for each workgroup. y and z together number these groups, because
// one dimension has at most 65,535 workgroups. x varies fastest: workgroups that read the same weights run one after
// another, so the later ones find the weights in a cache.
// Sums are in f32. The error is at most about cols / JOB_LANES ulp of sum |W x|. The import input=int8
// (lib/linear.wgsl) adds the rounding of x.
// Source: torch.nn.functional.linear. Twin: reference/matvec.rs
#import reduce
#import items
#import weights
#import norm
#import product
#import bias
#import lora
#import epilogue

struct Params {
    // Number of rows of each expert in this part of the matrix.
    rows: u32,
    // Index of the part's first row in the matrix.
    first_row: u32,
    // Columns of the matrix.
    cols: u32,
    // Number of groups of rows in the grid.
    row_groups: u32,
    // Elements from one item of out to the next.
    out_stride: u32,
    // Number of experts of a row; 1 with items=dense.
    top_k: u32,
    // With items=dense. 0: the items are all rows of the batch. 1: the items are the logit rows (those whose logits are
    // wanted), and x has only their inputs. 2: the items are the logit rows, and x has the inputs of all rows.
    only_logit_rows: u32,
    // First word of the sorted items in moe_group's buffer (items=grouped_in, grouped_out).
    items_at: u32,
    // First words of planes 1, 2 and 3 of the weights (lib/weights/).
    plane1: u32,
    plane2: u32,
    plane3: u32,
    // Added to the mean square (norm=rms).
    eps: f32,
    // Factor of the gates (items=combine).
    routed_scaling: f32,
    // Sizes and offsets of the LoRA factors, in vec4s (lib/linear.wgsl, import lora).
    lora_rank4: u32,
    lora_slot4: u32,
    lora_b4: u32,
    lora_v4: u32,
    lora_rows: u32,
}

@group(1) @binding(N) var<storage, read> x: array<vec4<f32>>;

const JOB_LANES = LANES / JOBS;
// Whether a lane loads two units together: with 64 lanes and units of 16 columns, all of a row of 2,048. With four items
// it would take 168 registers instead of 128 on gfx1150 (Q6_K), with units of 32 columns 256 (int8 inputs). A single lane
// for four rows, as on llvmpipe, took a tenth more time when it loaded ahead.
const PAIRS = LANES > 1u && ITEMS < 4u && UNIT4 <= 4u;

// The first vec4 of the row that a job of an item reads.
fn input_at(item: u32, job: u32) -> u32 { return job_input(item, job) * (params.cols / 4u); }

var<workgroup> job_products: array<vec4<f32>, JOBS>;

// Adds the products of an item's jobs `done` .. `done` + JOBS - 1 to its sum, in this order. `y` is the product of the
// job that this lane computes.
fn add_jobs(sum: vec4<f32>, y: vec4<f32>, item: u32, done: u32, lane: Lane) -> vec4<f32> {
    if (JOBS == 1u) { return sum + (y * job_scale(item, done)); }
    if (lane_in_row(lane) % JOB_LANES == 0u) {
        job_products[lane_in_row(lane) / JOB_LANES] = y;
    }
    workgroupBarrier();
    var all = sum;
    for (var j = 0u; j < min(JOBS, n_jobs() - done); j++) {
        all += job_products[j] * job_scale(item, done + j);
    }
    workgroupBarrier();
    return all;
}

// Values of items. Compilers keep an array in registers if all its indices are constant once loops are unrolled, and they
// leave loops with long bodies as they are: Mesa's for NVIDIA moved the products and sums of four items to memory. So
// such loops use item_of, and four items are written out.
const ROOM = max(ITEMS, 4u);
alias Vectors = array<vec4<f32>, ROOM>;
alias Scalars = array<f32, ROOM>;

// values[i]
fn item_of(values: Vectors, i: u32) -> vec4<f32> {
    var value = values[0];
    for (var n = 1u; n < ITEMS; n++) { value = select(value, values[n], n == i); }
    return value;
}

// Adds p to the product and the squares of item n, if the lane has the unit. It selects a sum, not a summand: compilers
// then fuse each multiply-add as they do where `exists` is true, and a row has the same bits in all variants.
fn add_product(
    products: ptr<function, Vectors>, squares: ptr<function, Scalars>,
    n: u32, p: Product, exists: bool,
) {
    (*products)[n] = select((*products)[n], (*products)[n] + p.y, exists);
    (*squares)[n] = select((*squares)[n], (*squares)[n] + p.squares, exists);
}

// Adds the products of a slice of unit k with the inputs of items n .. n + 3, and the squares of these inputs. The first
// `items` items exist, item n among them; a tile of grouped items often has fewer than ITEMS.
fn add_slice(
    products: ptr<function, Vectors>, squares: ptr<function, Scalars>, inputs: array<u32, ROOM>,
    n: u32, items: u32, unit: Unit, k: u32, exists: bool, slice: u32, lane: Lane,
) {
    let weights = unpacked(unit, slice);
    let index = (k * UNIT_SLICES) + slice;
    // Without a condition, so that weights which unit_product unpacks are unpacked once for all four.
    add_product(products, squares, n, unit_product(weights, inputs[n], index, lane), exists);
    if (ITEMS > 1u && n + 1u < items) {
        add_product(products, squares, n + 1u, unit_product(weights, inputs[n + 1u], index, lane), exists);
    }
    if (ITEMS > 2u && n + 2u < items) {
        add_product(products, squares, n + 2u, unit_product(weights, inputs[n + 2u], index, lane), exists);
    }
    if (ITEMS > 3u && n + 3u < items) {
        add_product(products, squares, n + 3u, unit_product(weights, inputs[n + 3u], index, lane), exists);
    }
}

// Adds those of all slices and items. No loops over them: llvmpipe's compiler does not remove a loop of one round.
fn add_unit(
    products: ptr<function, Vectors>, squares: ptr<function, Scalars>, inputs: array<u32, ROOM>,
    items: u32, unit: Unit, k: u32, exists: bool, lane: Lane,
) {
    add_slice(products, squares, inputs, 0u, items, unit, k, exists, 0u, lane);
    if (ITEMS > 4u && items > 4u) {
        add_slice(products, squares, inputs, 4u, items, unit, k, exists, 0u, lane);
    }
    if (UNIT_SLICES == 2u) {
        add_slice(products, squares, inputs, 0u, items, unit, k, exists, 1u, lane);
    }
    if (UNIT_SLICES == 2u && ITEMS > 4u && items > 4u) {
        add_slice(products, squares, inputs, 4u, items, unit, k, exists, 1u, lane);
    }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    lane: Lane,
) {
    let index = (group.z * n_groups.y) + group.y;
    if (index >= params.row_groups) { return; }
    let row = ((index * (WG / LANES)) + row_in_group(lane)) * 4u;
    let first = group.x * ITEMS;
    let end = items_end(first);
    if (first >= end) { return; }
    begin_items(first, lane.index);
    let units = bound(params.cols / (4u * UNIT4));
    // Rows beyond the end repeat the last row, and their results are dropped.
    let last = params.rows - 1u;
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(last));

    var sums: Vectors;
    for (var i = 0u; i < ITEMS; i++) { sums[i] = vec4<f32>(0.0); }
    var squares: Scalars;
    for (var i = 0u; i < ROOM; i++) { squares[i] = 0.0; }
    for (var done = 0u; done < n_jobs(); done += JOBS) {
        let job = min(done + (lane_in_row(lane) / JOB_LANES), n_jobs() - 1u);
        let base = job_expert(first, job) * params.rows;
        let at = (vec4<u32>(base) + r) * units;
        var products: Vectors;
        var inputs: array<u32, ROOM>;
        for (var i = 0u; i < ITEMS; i++) {
            products[i] = vec4<f32>(0.0);
            inputs[i] = input_at(min(first + i, end - 1u), job);
        }
        let start = lane_in_row(lane) % JOB_LANES;
        let n_items = end - first;
        if (PAIRS && units > JOB_LANES) {
            for (var k = start; k < units; k += 2u * JOB_LANES) {
                // Beyond the end the last unit, without a branch, so that compilers load both units together.
                let next = min(k + JOB_LANES, units - 1u);
                let unit = load_unit(at + vec4<u32>(k));
                let other = load_unit(at + vec4<u32>(next));
                let exists = k + JOB_LANES < units;
                add_unit(&products, &squares, inputs, n_items, unit, k, true, lane);
                add_unit(&products, &squares, inputs, n_items, other, next, exists, lane);
            }
        } else {
            for (var k = start; k < units; k += JOB_LANES) {
                let unit = load_unit(at + vec4<u32>(k));
                add_unit(&products, &squares, inputs, n_items, unit, k, true, lane);
            }
        }
        let lora_row = (job_expert(first, job) * params.lora_rows) + params.first_row;
        for (var i = 0u; i < ITEMS; i++) {
            let item = min(first + i, end - 1u);
            let s = job_product(item, job);
            let sum = add_lora(
                item_of(products, i), s / params.top_k, s, vec4<u32>(lora_row) + r, start, JOB_LANES);
            let y = reduce_sum4_of(sum, JOB_LANES, lane);
            let all = add_jobs(item_of(sums, i), y, item, done, lane);
            for (var n = 0u; n < ITEMS; n++) { sums[n] = select(sums[n], all, n == i); }
        }
    }
    if (NORMED) {
        let own = vec4<f32>(squares[0], squares[1], squares[2], squares[3]);
        let factors = norm_factors(row_squares(own, lane));
        for (var i = 0u; i < min(ITEMS, 4u); i++) { sums[i] *= factors[i]; }
    }
    if (NORMED && ITEMS > 4u) {
        let at = ROOM - 4u;
        let own = vec4<f32>(squares[at], squares[at + 1u], squares[at + 2u], squares[at + 3u]);
        let factors = norm_factors(row_squares(own, lane));
        for (var i = 4u; i < ITEMS; i++) { sums[i] *= factors[i - 4u]; }
    }
    for (var i = 0u; i < ITEMS; i++) {
        let y = item_of(sums, i);
        if (first + i < end && lane_in_row(lane) == 0u && row < params.rows) {
            epilogue(output_of(first + i), row, min(4u, params.rows - row), y + bias4(row));
        }
    }
}
