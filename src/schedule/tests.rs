//! Random requests on a model of the GPU that knows which tokens each position's state belongs to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

/// Positions of a page.
const PAGE: usize = 4;
/// Columns that a convolution reads before a position.
const COLUMNS: usize = 2;
const REWIND: usize = 6;
const RING: usize = COLUMNS + REWIND;
/// Token that ends a sequence.
const END: u32 = 0;

/// A small generator of random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// State behind a token: a hash of all tokens up to it.
fn state(before: u64, token: u32) -> u64 {
    Random(before.rotate_left(7) ^ u64::from(token)).next()
}

fn states(tokens: &[u32]) -> Vec<u64> {
    let mut last = 1;
    tokens
        .iter()
        .map(|token| {
            last = state(last, *token);
            last
        })
        .collect()
}

/// The token that is drawn behind a state.
fn draw(state: u64) -> u32 {
    if state.is_multiple_of(23) { END } else { (state >> 20) as u32 % 50 + 1 }
}

/// The text of a prompt that runs alone.
fn alone(prompt: &[u32], most: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    let mut last = *states(prompt).last().unwrap();
    while tokens.len() < most {
        let token = draw(last);
        tokens.push(token);
        if token == END {
            break;
        }
        last = state(last, token);
    }
    tokens
}

struct Gpu {
    pages: Vec<[u64; PAGE]>,
    /// Of each slot, position and state of each column.
    rings: Vec<[(usize, u64); RING]>,
    snapshots: Vec<[u64; COLUMNS]>,
    next_token: Vec<u32>,
    /// Columns of the snapshots that the step's passes have written.
    columns_of_pass: BTreeSet<usize>,
}

impl Gpu {
    fn new(limits: &Limits) -> Self {
        Self {
            pages: vec![[0; PAGE]; limits.pages as usize],
            rings: vec![[(usize::MAX, 0); RING]; limits.slots as usize],
            snapshots: vec![[0; COLUMNS]; limits.snapshots as usize],
            next_token: vec![u32::MAX; limits.slots as usize],
            columns_of_pass: BTreeSet::new(),
        }
    }

    fn capture(&mut self, capture: &Capture) {
        for back in 1..=COLUMNS.min(capture.position) {
            let position = capture.position - back;
            let (held, state) = self.rings[capture.slot as usize][position % RING];
            assert_eq!(held, position, "the ring has gone on too far");
            self.snapshots[capture.snapshot as usize][COLUMNS - back] = state;
        }
    }

    fn op(&mut self, op: &Op) {
        match op {
            Op::CopyPage { from, to } => {
                assert_ne!(from, to);
                self.pages[*to as usize] = self.pages[*from as usize];
            }
            Op::Capture(capture) => self.capture(capture),
            Op::Restore { slot, position, snapshot, .. } => {
                self.rings[*slot as usize] = [(usize::MAX, 0); RING];
                for back in 1..=COLUMNS.min(*position) {
                    let at = position - back;
                    let state = self.snapshots[*snapshot as usize][COLUMNS - back];
                    self.rings[*slot as usize][at % RING] = (at, state);
                }
            }
        }
    }

    /// Runs the row of the last of `tokens`, and checks that all state before it is theirs.
    fn row(&mut self, slot: u32, pages: &[u32], tokens: &[u32], kept: Option<u32>) {
        let position = tokens.len() - 1;
        let want = states(tokens);
        for (at, want) in want[..position].iter().enumerate() {
            let page = pages[at / PAGE] as usize;
            assert_eq!(self.pages[page][at % PAGE], *want, "position {at} before {position}");
        }
        let ring = &mut self.rings[slot as usize];
        for back in 1..=COLUMNS.min(position) {
            let at = position - back;
            assert_eq!(ring[at % RING], (at, want[at]), "column of {at} before {position}");
        }
        ring[position % RING] = (position, want[position]);
        if let Some(column) = kept.map(|column| column as usize) {
            assert!(self.columns_of_pass.insert(column), "two rows write column {column}");
            self.snapshots[column / COLUMNS][column % COLUMNS] = want[position];
        }
        self.pages[pages[position / PAGE] as usize][position % PAGE] = want[position];
        self.next_token[slot as usize] = draw(want[position]);
    }
}

struct Request {
    prompt: Vec<u32>,
    most: usize,
    how: Use,
    /// Tokens that were submitted, read or not.
    fed: Vec<u32>,
    epoch: u32,
}

/// A scheduler, the model of the GPU, and a host that reads late.
struct World {
    limits: Limits,
    scheduler: Scheduler,
    gpu: Gpu,
    requests: BTreeMap<SeqId, Request>,
    in_flight: VecDeque<Vec<(Draw, u32)>>,
    read_ahead: usize,
    added: u64,
    steps: u64,
    ended: u64,
    /// Whether rules force tokens.
    forces: bool,
    appended: u64,
    recomputed: u64,
}

impl World {
    fn new(limits: Limits, read_ahead: usize) -> Self {
        Self {
            limits,
            scheduler: Scheduler::new(limits),
            gpu: Gpu::new(&limits),
            requests: BTreeMap::new(),
            in_flight: VecDeque::new(),
            read_ahead,
            added: 0,
            steps: 0,
            ended: 0,
            forces: true,
            appended: 0,
            recomputed: 0,
        }
    }

    fn add(&mut self, prompt: Vec<u32>, most: usize, how: Use) -> SeqId {
        let most = most.min(self.limits.pages as usize * PAGE);
        let id = SeqId(self.added);
        self.added += 1;
        self.scheduler.add(id, &prompt, most, how);
        self.requests.insert(id, Request { fed: prompt.clone(), prompt, most, how, epoch: 0 });
        id
    }

    fn step(&mut self) {
        self.steps += 1;
        let step = self.scheduler.step();
        let rows =
            |chunk: &[ChunkRows]| chunk.iter().map(|rows| rows.end - rows.start).sum::<usize>();
        let (chunk, scored) = (rows(&step.chunk) + rows(&step.scored), rows(&step.scored));
        assert!(scored <= self.limits.scored as usize);
        let decodes = !step.decode.is_empty();
        let most = if decodes { self.limits.chunk_beside } else { self.limits.chunk };
        assert!(chunk <= most as usize);
        step.before.iter().for_each(|op| self.gpu.op(op));
        self.gpu.columns_of_pass.clear();
        for row in &step.decode {
            let request = self.requests.get_mut(&row.seq).unwrap();
            let token = self.gpu.next_token[row.slot as usize];
            assert_eq!(request.fed.len(), row.position, "each position once, in order");
            request.fed.push(token);
            let read = self.scheduler.tokens(row.seq).len();
            assert!(
                !request.how.reads_first || read >= row.position,
                "all tokens but its own were read"
            );
            let pages = self.scheduler.pages(row.seq);
            self.gpu.row(row.slot, pages, &request.fed, row.snapshot_column);
        }
        for (rows, scored) in step
            .scored
            .iter()
            .map(|rows| (rows, true))
            .chain(step.chunk.iter().map(|rows| (rows, false)))
        {
            let request = self.requests.get_mut(&rows.seq).unwrap();
            let tokens = self.scheduler.tokens(rows.seq).to_vec();
            if rows.epoch != request.epoch {
                (request.epoch, request.fed) = (rows.epoch, tokens.clone());
            }
            self.recomputed += (rows.end - rows.start) as u64;
            for end in rows.start + 1..=rows.end {
                let kept = rows.snapshot_columns.iter();
                let kept = kept.filter(|(row, _)| *row as usize == end - 1 - rows.start);
                let kept: Vec<u32> = kept.map(|(_, column)| *column).collect();
                assert!(kept.len() <= 1);
                let pages = self.scheduler.pages(rows.seq);
                self.gpu.row(rows.slot, pages, &tokens[..end], kept.first().copied());
            }
            assert_eq!(rows.draws, rows.end == tokens.len());
            let last = rows.start + 1 == tokens.len();
            assert_eq!(scored, request.how.scored && !last, "all rows but the last are scored");
            if rows.end > request.fed.len() {
                request.fed = tokens[..rows.end].to_vec();
            }
        }
        step.after.iter().for_each(|capture| self.gpu.capture(capture));
        let drawn = step.draws().into_iter();
        let drawn = drawn.map(|draw| (draw, self.gpu.next_token[draw.slot as usize]));
        let drawn: Vec<_> = drawn.collect();
        self.append(&drawn);
        let nothing = drawn.is_empty() && step.is_empty();
        if !drawn.is_empty() {
            self.in_flight.push_back(drawn);
        }
        while self.in_flight.len() > if nothing { 0 } else { self.read_ahead } {
            self.read();
        }
    }

    fn read(&mut self) {
        for (draw, token) in self.in_flight.pop_front().unwrap_or_default() {
            if self.scheduler.read(&draw, token) {
                self.finish_if_done(draw.seq);
            }
        }
    }

    fn finish_if_done(&mut self, id: SeqId) {
        let request = &self.requests[&id];
        let tokens = self.scheduler.tokens(id);
        if tokens.last() == Some(&END) || tokens.len() == request.most {
            assert_eq!(tokens, alone(&request.prompt, request.most));
            self.finish(id, usize::MAX);
            self.ended += 1;
        }
    }

    /// Before a step draws, the host reads all earlier tokens if a row's rule needs them; then it appends the tokens
    /// that a rule forces, here those that would be drawn.
    fn append(&mut self, drawn: &[(Draw, u32)]) {
        if !drawn.iter().any(|(draw, _)| self.requests[&draw.seq].how.reads_first) {
            return;
        }
        while !self.in_flight.is_empty() {
            self.read();
        }
        for (draw, _) in drawn {
            let Some(request) = self.requests.get(&draw.seq).filter(|r| r.how.reads_first) else {
                continue;
            };
            let text = alone(&request.prompt, request.most);
            let known = self.scheduler.tokens(draw.seq).len();
            let n = Random(draw.position as u64 ^ self.steps).below(9).saturating_sub(3);
            let n = if self.forces { n } else { 0 };
            let forced = text.get(known..).unwrap_or_default();
            let appended = self.scheduler.append(draw.seq, &forced[..n.min(forced.len())]);
            self.appended += appended as u64;
            if appended > 0 {
                self.finish_if_done(draw.seq);
            }
        }
    }

    /// All state is lost, and with it the tokens that were drawn and not read.
    fn lose_device(&mut self) {
        self.scheduler.restart();
        self.gpu = Gpu::new(&self.limits);
        self.in_flight.clear();
    }

    fn finish(&mut self, id: SeqId, keep: usize) {
        if let Some(capture) = self.scheduler.finish(id, keep) {
            self.gpu.capture(&capture);
        }
        self.requests.remove(&id);
    }

    /// Runs until everything has ended, and checks that nothing was lost.
    fn settle(&mut self) {
        let mut idle = 0;
        while !self.requests.is_empty() {
            let before = self.in_flight.len() + self.requests.len();
            let ended = self.ended;
            self.step();
            let moved = self.in_flight.len() + self.requests.len() != before || self.ended != ended;
            idle = if moved { 0 } else { idle + 1 };
            assert!(idle < 10_000, "sequences wait for ever");
        }
        self.in_flight.clear();
        let all = (self.limits.slots as usize, self.limits.pages as usize);
        assert_eq!(self.scheduler.unused(), all, "a slot or page is lost");
        self.scheduler.clear_cache();
        assert_eq!(self.scheduler.lease_all(), all.1, "a page is lost or doubled");
    }
}

fn random_run(seed: u64, steps: u64) -> (u64, u64, CacheCounts) {
    let mut random = Random(seed);
    let limits = Limits {
        slots: 1 + random.below(6) as u32,
        pages: 12 + random.below(40) as u32,
        snapshots: random.below(12) as u32,
        page: PAGE as u32,
        chunk: 4 + random.below(12) as u32,
        chunk_beside: 1 + random.below(4) as u32,
        columns: COLUMNS as u32,
        scored: 3,
        rewind: REWIND as u32,
    };
    let mut world = World::new(limits, random.below(4));
    // Prompts are continuations of few others, so that prefixes are found.
    let mut texts: Vec<Vec<u32>> = vec![vec![7]];
    let most = limits.pages as usize * PAGE;
    while world.steps < steps {
        match random.below(10) {
            0 if world.requests.len() < 12 => {
                let mut prompt = texts[random.below(texts.len())].clone();
                prompt.truncate(1 + random.below(prompt.len()));
                prompt.extend((0..random.below(20)).map(|_| 1 + random.below(3) as u32));
                prompt.truncate(most - 1);
                if texts.len() < 10 {
                    texts.push(prompt.clone());
                } else {
                    let at = random.below(texts.len());
                    texts[at] = prompt.clone();
                }
                let room = 1 + random.below(most - prompt.len());
                let most = prompt.len() + room.min(30);
                let how = Use {
                    cache: random.below(8) > 0,
                    reads_first: random.below(4) == 0,
                    scored: false,
                    lora: 0,
                };
                let scored = Use { cache: false, scored: true, ..how };
                let how = if random.below(16) == 0 { scored } else { how };
                world.add(prompt, most, how);
            }
            1 if !world.requests.is_empty() && random.below(4) == 0 => {
                let index = random.below(world.requests.len());
                let id = *world.requests.keys().nth(index).unwrap();
                let read = world.scheduler.tokens(id).len();
                let keep = read.saturating_sub(random.below(4));
                let text = world.scheduler.tokens(id).to_vec();
                let at = random.below(texts.len());
                texts[at] = text;
                world.finish(id, keep);
            }
            2 if random.below(30) == 0 => world.lose_device(),
            _ => world.step(),
        }
    }
    let counts = world.scheduler.counts();
    world.settle();
    (world.ended, world.appended, counts)
}

/// No page is lost, doubled or written by two; no sequence reads another's state; each text equals
/// the text alone, with joins, cancels, full pools, late reads and lost devices.
#[test]
fn random_requests_equal_those_alone() {
    let mut all = CacheCounts::default();
    let (mut ended, mut appended) = (0, 0);
    for seed in 0..200 {
        let (done, forced, counts) = random_run(seed, 500);
        ended += done;
        appended += forced;
        all.hits += counts.hits;
        all.hit_tokens += counts.hit_tokens;
        all.evictions += counts.evictions;
        all.preemptions += counts.preemptions;
    }
    eprintln!("{ended} ended, {appended} tokens appended, {all:?}");
    assert!(appended > 2_000);
    assert!(ended > 5_000 && all.hits > 2_000 && all.evictions > 2_000 && all.preemptions > 500);
}

/// Turns of agents: ten conversations with common beginnings, each turn a longer prompt. A prompt computes
/// exactly the tokens behind the longest known prefix: one that ends with a block, before the last token of an
/// earlier prompt, or at the end of an answer.
/// Limits of two sequences with room for all.
const LIMITS: Limits = Limits {
    slots: 2,
    pages: 4000,
    snapshots: 4000,
    page: PAGE as u32,
    columns: COLUMNS as u32,
    chunk: 16,
    chunk_beside: 16,
    scored: 3,
    rewind: REWIND as u32,
};

#[test]
fn a_turn_computes_what_no_earlier_text_covers() {
    let mut random = Random(5);
    let mut world = World::new(LIMITS, 0);
    world.forces = false;
    let mut known: Vec<Vec<u32>> = Vec::new();
    let system: Vec<u32> = (0..50).map(|i| 1 + i % 7).collect();
    let mut conversations: Vec<Vec<u32>> =
        (0..10).map(|_| system[..25 + 5 * random.below(6)].to_vec()).collect();
    let (mut hit, mut all) = (0, 0);
    for turn in 0..200 {
        let index = random.below(10);
        let mut prompt = conversations[index].clone();
        prompt.extend((0..=random.below(12)).map(|_| 1 + random.below(40) as u32));
        let covered = known
            .iter()
            .filter(|text| text.len() < prompt.len() && prompt.starts_with(text))
            .map(Vec::len)
            .max()
            .unwrap_or(0);
        let before = world.recomputed;
        let most = prompt.len() + 1 + random.below(20);
        let id = world.add(
            prompt.clone(),
            most,
            Use { cache: true, reads_first: turn % 3 == 0, scored: false, lora: 0 },
        );
        while world.requests.contains_key(&id) {
            world.step();
        }
        let computed = (world.recomputed - before) as usize;
        assert_eq!(computed, prompt.len() - covered, "turn {turn}");
        hit += covered;
        all += prompt.len();
        let text = alone(&prompt, most);
        // The last token was drawn and not computed.
        let end = text.len() - 1;
        known.extend((PAGE..=end).step_by(PAGE).map(|n| text[..n].to_vec()));
        known.extend([prompt[..prompt.len() - 1].to_vec(), text[..end].to_vec()]);
        conversations[index] = text;
    }
    assert!(hit * 10 > all * 8, "{hit} of {all} tokens were cached");
    let counts = world.scheduler.counts();
    assert_eq!((counts.hit_tokens, counts.prompt_tokens), (hit as u64, all as u64));
    world.settle();
}

/// A restored state takes at most half of the snapshots, and gives back all that it did not keep.
#[test]
fn a_restored_state_leaves_half_of_the_snapshots() {
    let mut world = World::new(Limits { snapshots: 6, ..LIMITS }, 0);
    let tokens: Vec<u32> = (0..2 * PAGE as u32).collect();
    for _ in 0..5 {
        let (pages, snapshots) = world.scheduler.lease_state(2, 8).unwrap();
        assert_eq!((pages.len(), snapshots.len()), (2, 3));
        world.scheduler.adopt(0, &tokens, &pages, snapshots[2]);
        world.scheduler.end_state(&pages, snapshots[..2].iter().copied());
    }
    let (hit, inside) = world.scheduler.lease_prefix(0, &tokens).unwrap();
    assert_eq!((hit.position, inside), (2 * PAGE, Vec::new()));
}
