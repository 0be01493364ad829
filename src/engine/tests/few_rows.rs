//! The work of passes by their number of rows, computed from the plans that an engine records for LFM2-8B-A1B's shape
//! in Q4_0. Nothing runs, so the tests say nothing about a GPU's time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use super::*;
use crate::engine::passes::PlanKey;
use crate::engine::runner::Runner;
use crate::gpu::{Caps, Dispatch, Extent, Recorder, StepShape};
use crate::kernels::{PAGE, Row, SeqRows};
use crate::model::WeightChoice;
use crate::reference::moe_group;
use crate::selftest::Rng;

/// Experts of LFM2-8B-A1B, and of a row.
const EXPERTS: u32 = 32;
const TOP_K: u32 = 4;
/// Most rows of a pass.
const MOST: u32 = 512;
/// A single row has kernels of its own. Their workgroups do several products, so there are fewer of them. A pass may
/// therefore have so many times the workgroups of one row and a pass of the others. On a CPU driver, where a lane
/// multiplies by four experts in turn, the second figure counts. Weights have no such allowance.
const BESIDE_ONE_ROW: [f64; 2] = [1.05, 1.5];
/// The choice of experts is random, and so is the number of tiles that their rows fill. A row of a larger pass may read
/// so many times the weights.
const RANDOM: f64 = 1.03;

/// Rows of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One row of each of many sequences, which all draw a token.
    Decode,
    /// Rows of one sequence, of which the last draws a token.
    Prompt,
}

impl Kind {
    /// A pass of these rows of a longer one, in which the first row, or each, is at `position`.
    fn batch(self, rows: &Range<u32>, position: u32) -> Batch {
        let sequence = |position: u32, rows: u32| SeqRows {
            slot: 0,
            rows: (position..position + rows).map(|position| Row { token: 0, position }).collect(),
            generated_from: 0,
            lora: None,
            sample: SampleParams::GREEDY,
            pages: vec![0; (position + rows).div_ceil(PAGE) as usize],
            logit_rows: vec![LogitRow::new(rows - 1)],
            snapshot_columns: Vec::new(),
        };
        let n = rows.end - rows.start;
        let seqs = match self {
            Self::Decode => (0..n).map(|_| sequence(position, 1)).collect(),
            Self::Prompt => vec![sequence(position + rows.start, n)],
        };
        Batch { seqs }
    }
}

/// A part of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// The products with matrices of so many bytes.
    Products(u64),
    Attention,
    Whole,
}

/// The work of a part.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    /// Workgroups of 64 lanes that are dispatched. A larger one counts as several.
    workgroups: f64,
    /// Bytes of weights that workgroups read. One that multiplies several rows by its weights reads them once.
    weight_bytes: f64,
}

type Works = BTreeMap<Part, Work>;

/// Dispatches that differ in their tensors only.
struct Alike {
    dispatch: Dispatch,
    /// Lanes of a workgroup.
    lanes: u32,
    /// Their number.
    times: u32,
}

/// The experts of rows.
struct Routing {
    /// Those of [`MOST`] rows, at random.
    experts: Vec<u32>,
    /// Tiles of the experts' rows, by the rows of a pass and the rows of a tile.
    tiles: RefCell<HashMap<(Range<u32>, u32), u32>>,
}

impl Routing {
    fn new() -> Self {
        let mut random = Rng::new(1);
        let mut chosen = || random.order(EXPERTS as usize).into_iter().take(TOP_K as usize);
        let experts = (0..MOST).flat_map(|_| chosen().map(|id| id as u32).collect::<Vec<_>>());
        Self { experts: experts.collect(), tiles: RefCell::default() }
    }

    /// Tiles that have rows.
    fn tiles(&self, rows: &Range<u32>, tile: u32) -> u32 {
        let make = || {
            let chosen = &self.experts[(rows.start * TOP_K) as usize..(rows.end * TOP_K) as usize];
            moe_group(chosen, EXPERTS, tile).tiles.len() as u32
        };
        *self.tiles.borrow_mut().entry((rows.clone(), tile)).or_insert_with(make)
    }
}

/// An engine that only records plans.
struct Planned {
    name: &'static str,
    runner: Runner,
    /// Plans by most rows.
    plans: BTreeMap<u32, Vec<Alike>>,
}

impl Planned {
    fn new(
        name: &'static str,
        caps: Caps,
        more: impl FnOnce(EngineBuilder) -> EngineBuilder,
    ) -> Self {
        let model = block_on(OpenedModel::of_shape("lfm2-8b-a1b", WeightChoice::Q4));
        let (model, device) = (model.unwrap().unwrap(), device());
        let builder = more(Engine::builder().context_length(4608));
        let runner = block_on(builder.recording_runner(&model, &device, caps)).unwrap();
        let plans = runner.record_all(runner.weights()).into_iter();
        let plans = plans.map(|(PlanKey { rows, .. }, recorder)| (rows, alike(recorder))).collect();
        Self { name, runner, plans }
    }

    /// Most rows of a pass.
    fn most(&self, kind: Kind) -> u32 {
        if kind == Kind::Decode { self.runner.state.n_slots } else { self.runner.max_rows }
    }

    /// The work of a pass of these rows, by part.
    fn works(&self, kind: Kind, position: u32, rows: &Range<u32>, routing: &Routing) -> Works {
        let Choices { multiply, attention_rows, .. } = self.runner.choices;
        let heads = self.runner.config.heads(self.runner.state.kv_format);
        let batch = kind.batch(rows, position);
        let shape = batch.encode(heads.tile_rows(multiply), attention_rows).1;
        let mut all = Works::new();
        for Alike { dispatch, lanes, times } in &self.plans[&self.runner.bucket(shape.rows)] {
            let Some(groups) = dispatch.workgroups(&shape) else { continue };
            let lanes = groups.iter().product::<u32>() * lanes;
            let bytes = weight_bytes(dispatch, &shape, &|tile| routing.tiles(rows, tile));
            let part = match dispatch.reads.bytes {
                0 if dispatch.variant.kernel.contains("attention") => Some(Part::Attention),
                0 => None,
                bytes => Some(Part::Products(bytes)),
            };
            for part in part.into_iter().chain([Part::Whole]) {
                let sum = all.entry(part).or_default();
                sum.workgroups += f64::from(*times) * f64::from(lanes) / 64.0;
                sum.weight_bytes += f64::from(*times) * bytes;
            }
        }
        all
    }
}

fn alike(recorder: Recorder) -> Vec<Alike> {
    let mut all: Vec<Alike> = Vec::new();
    for dispatch in recorder.into_dispatches() {
        let same = |other: &Dispatch| {
            (&dispatch.variant, dispatch.grid, dispatch.reads)
                == (&other.variant, other.grid, other.reads)
        };
        match all.iter_mut().find(|alike| same(&alike.dispatch)) {
            Some(alike) => alike.times += 1,
            None => all.push(Alike { lanes: lanes(&dispatch), dispatch, times: 1 }),
        }
    }
    all
}

/// Lanes of a workgroup; `matmul` names no constant for its 256.
fn lanes(dispatch: &Dispatch) -> u32 {
    let variant = dispatch.variant.to_string();
    let lanes = variant.split(' ').find_map(|word| word.strip_prefix("WG="));
    lanes.map_or(256, |lanes| lanes.parse().unwrap())
}

/// Bytes of weights that the workgroups of a dispatch read. Those of one tile of rows together read the matrix once.
/// `filled`: the tiles of experts that have rows, by the rows of a tile; the others read nothing.
fn weight_bytes(dispatch: &Dispatch, shape: &StepShape, filled: &dyn Fn(u32) -> u32) -> f64 {
    let times = dispatch.grid.iter().map(|extent| match *extent {
        Extent::Rows { times, .. } => f64::from(extent.of(shape)) / f64::from(times),
        Extent::LogitRows { .. } => f64::from(extent.of(shape)),
        Extent::ExpertTiles { tile, .. } => {
            let tiles = filled(tile);
            assert!(tiles <= extent.of(shape), "a tile without a workgroup");
            f64::from(tiles) / f64::from(TOP_K)
        }
        _ => 1.0,
    });
    times.product::<f64>() * dispatch.reads.share * dispatch.reads.bytes as f64
}

/// Engines with every choice that decides on workgroups.
fn engines() -> Vec<Planned> {
    let everything = Caps::everything();
    let gpu = Caps { max_binding: 2 << 30, max_buffer: 2 << 30, ..everything };
    let lanes = Caps { coop_side: 0, ..gpu };
    let few = Choices { matvec_rows: 8, ..Choices::by_capability(&lanes) };
    vec![
        Planned::new("matrix units", gpu, |b| b.sequences(256)),
        Planned::new("lanes", lanes, |b| b.sequences(256)),
        Planned::new("one sequence", lanes, |b| b),
        Planned::new("matvec for 8 rows", lanes, |b| b.sequences(64).choices(few)),
        Planned::new("reproducible", gpu, |b| b.sequences(64).reproducible(true)),
        Planned::new("default limits", Caps::core(), |b| b.sequences(8)),
        Planned::new("CPU driver", Caps { software: true, ..lanes }, |b| b.sequences(64)),
    ]
}

/// Passes of an engine.
struct Case {
    name: String,
    /// Most rows.
    most: u32,
    software: bool,
}

/// Passes at the beginning of a context and behind 4,096 positions.
fn for_all(check: impl Fn(&Case, &mut dyn FnMut(Range<u32>) -> Works)) {
    let routing = Routing::new();
    for engine in engines() {
        for (kind, position) in
            [(Kind::Decode, 0), (Kind::Decode, 4096), (Kind::Prompt, 0), (Kind::Prompt, 4096)]
        {
            let mut known: HashMap<Range<u32>, Works> = HashMap::new();
            let mut works = |rows: Range<u32>| {
                let make = || engine.works(kind, position, &rows, &routing);
                known.entry(rows.clone()).or_insert_with(make).clone()
            };
            let name = format!("{}, {kind:?} at {position}", engine.name);
            let software = engine.runner.device.caps().software;
            check(&Case { name, most: engine.most(kind), software }, &mut works);
        }
    }
}

/// A pass has at most the workgroups, and reads at most the bytes of weights, of two passes that share its rows. So no
/// number of rows is worse than fewer rows at a time, and with twice the rows a row costs at most as much. A cost for
/// each row, as such, would be no use: beyond a whole tile it rises by nature, since the next tile has one row.
///
/// The bytes are those that workgroups read, of whatever memory or cache. Rows that share a pass and those of its two
/// halves have the same experts, chosen at random.
#[test]
fn no_pass_costs_more_than_its_rows_in_two_passes() {
    let many = [65, 66, 68, 72, 80, 96, 127, 128, 129, 192, 193, 256, 257, 384, 448, 511, 512];
    let cut = [1, 2, 3, 4, 8, 9, 16, 32, 63, 64, 65, 128];
    for_all(|Case { name, most, software }, works| {
        for n in (2..=64).chain(many).filter(|n| n <= most) {
            let whole = works(0..n);
            for a in (1..=n / 2).filter(|a| n <= 64 || cut.contains(a) || *a == n / 2) {
                let (one, other) = (works(0..a), works(a..n));
                for (part, work) in &whole {
                    let of = |works: &Works| works.get(part).copied().unwrap_or_default();
                    let (one, other) = (of(&one), of(&other));
                    let bytes = one.weight_bytes + other.weight_bytes;
                    assert!(
                        work.weight_bytes <= bytes * 1.000_001,
                        "{name}: {part:?} of {n} rows reads {:e} bytes, of {a} and {} {bytes:e}",
                        work.weight_bytes,
                        n - a
                    );
                    let mut groups = one.workgroups + other.workgroups;
                    if a == 1 {
                        // The parts of a single row are not those of several.
                        let more = BESIDE_ONE_ROW[usize::from(*software)];
                        groups *= if *part == Part::Whole { more } else { f64::INFINITY };
                    }
                    assert!(
                        work.workgroups <= groups,
                        "{name}: {part:?} of {n} rows has {} workgroups, of {a} and {} {groups}",
                        work.workgroups,
                        n - a
                    );
                }
            }
        }
    });
}

/// With twice the rows, which fill all tiles but those of experts, a row never costs more. A number in between costs at
/// most as much as the next of these numbers.
#[test]
fn a_row_costs_no_more_in_larger_passes() {
    for_all(|Case { name, most, .. }, works| {
        let doubled = [4, 8, 16, 32, 64, 128, 256, 512];
        let mut before: Option<(u32, Works)> = None;
        for n in doubled.into_iter().filter(|n| n <= most) {
            let here = works(0..n);
            let last = before.as_ref().map_or(0, |(last, _)| *last);
            let between = (last + 1..n).filter(|m| n <= 64 || *m == last + 1 || *m == n - 1);
            for m in between {
                for (part, work) in works(0..m) {
                    let Some(next) = here.get(&part) else { continue };
                    let is_less = work.workgroups <= next.workgroups
                        && work.weight_bytes <= next.weight_bytes * 1.000_001;
                    assert!(is_less, "{name}: {part:?} of {m} rows {work:?}, of {n} {next:?}");
                }
            }
            if let Some((last, before)) = &before {
                for (part, work) in &here {
                    let Some(less) = before.get(part) else { continue };
                    let more = f64::from(n) / f64::from(*last) * 1.000_001;
                    let is_cheap = work.workgroups <= less.workgroups * more
                        && work.weight_bytes <= less.weight_bytes * more * RANDOM;
                    assert!(is_cheap, "{name}: {part:?} of {n} rows {work:?}, of {last} {less:?}");
                }
            }
            before = Some((n, here));
        }
    });
}

/// At WebGPU's default limits, the partial results of 8 rows of each of 64 sequences would not fit a binding.
#[test]
fn many_sequences_have_fewer_rows_of_attention_where_bindings_are_small() {
    let gpu = Caps { max_binding: 2 << 30, max_buffer: 2 << 30, ..Caps::core() };
    for (caps, sequences, reproducible, rows) in [
        (Caps::core(), 8, false, 8),
        (Caps::core(), 64, false, 6),
        (gpu, 64, false, 8),
        (gpu, 64, true, 64),
    ] {
        let engine = Planned::new("", caps, |b| b.sequences(sequences).reproducible(reproducible));
        assert_eq!(engine.runner.choices.attention_rows, rows, "{sequences} sequences");
        let bytes = 4 * engine.runner.scratch.partial.len() as u64;
        assert!(bytes <= caps.max_binding, "{sequences} sequences: {bytes} bytes");
    }
}
