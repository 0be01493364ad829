//! The prefix cache: a radix tree over blocks of tokens, whose nodes keep pages of keys and values
//! and snapshots of the convolutions' state.
//!
//! A sequence can continue from a position only if keys and values of all earlier positions and the
//! convolutions' state at that position are known. So a hit ends at a snapshot: at the end of a block,
//! or inside one (an end), where a prompt or an answer ended. A page inside which a hit ends is copied,
//! since its first owner may still write behind that position.

use std::collections::BTreeMap;

use super::Pool;

/// State of a prefix that can be continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Positions whose state exists.
    pub position: usize,
    /// Pages of the whole blocks before it.
    pub pages: Vec<u32>,
    /// The page to copy if the position is inside a block.
    pub partial: Option<u32>,
    /// The convolutions' state at the position.
    pub snapshot: u32,
}

/// A position inside a block where the state can be continued.
#[derive(Debug)]
struct End {
    /// The block's first tokens.
    tokens: Vec<u32>,
    page: u32,
    snapshot: u32,
    used: u64,
}

#[derive(Debug)]
struct Node {
    parent: usize,
    /// The block's tokens, the key in its parent.
    tokens: Box<[u32]>,
    page: u32,
    /// The convolutions' state at the end of the block.
    snapshot: Option<u32>,
    used: u64,
    children: BTreeMap<Box<[u32]>, usize>,
    ends: Vec<End>,
}

/// An entry that may be evicted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Node(usize),
    End(usize, usize),
}

/// Page of a root, which has none.
const NO_PAGE: u32 = u32::MAX;

/// Pages and snapshots of earlier tokens, found by those tokens.
#[derive(Debug)]
pub struct PrefixCache {
    /// Tokens of a block.
    block: usize,
    nodes: Vec<Option<Node>>,
    /// The roots by LoRA adapter: state that was computed with one is of no use to others.
    roots: BTreeMap<u64, usize>,
    unused_nodes: Vec<usize>,
    snapshots: Vec<u32>,
    clock: u64,
    /// The clock when the planning of a step began.
    step_began: u64,
    evicted: u64,
}

impl PrefixCache {
    /// An empty cache of blocks of `block` tokens with `snapshots` snapshots.
    #[must_use]
    pub fn new(block: usize, snapshots: u32) -> Self {
        Self {
            block,
            nodes: Vec::new(),
            roots: BTreeMap::new(),
            unused_nodes: Vec::new(),
            snapshots: (0..snapshots).rev().collect(),
            clock: 0,
            step_began: u64::MAX,
            evicted: 0,
        }
    }

    /// Blocks and ends that were evicted so far.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The longest prefix of `tokens`, at most `most` positions, that can be continued with the adapter `lora` (0:
    /// none). It counts as used now.
    pub fn find(&mut self, lora: u64, tokens: &[u32], most: usize) -> Option<Hit> {
        self.clock += 1;
        let clock = self.clock;
        let (mut at, mut path, mut best) = (*self.roots.get(&lora)?, Vec::new(), None);
        loop {
            let start = path.len() * self.block;
            let node = self.nodes[at].as_mut()?;
            let rest = &tokens[start..most];
            let ends = node.ends.iter().enumerate();
            let longest = ends
                .filter(|(_, end)| rest.starts_with(&end.tokens))
                .max_by_key(|(_, end)| end.tokens.len());
            if let Some((index, end)) = longest {
                best = Some((Entry::End(at, index), start + end.tokens.len(), end.snapshot));
            }
            let next = rest.get(..self.block).and_then(|block| node.children.get(block));
            let Some(next) = next.copied() else { break };
            at = next;
            path.push(at);
            if let Some(snapshot) = self.nodes[at].as_ref().and_then(|node| node.snapshot) {
                best = Some((Entry::Node(at), path.len() * self.block, snapshot));
            }
        }
        let (entry, position, snapshot) = best?;
        path.truncate(position / self.block);
        let mut pages = Vec::with_capacity(path.len());
        for index in path {
            let node = self.nodes[index].as_mut()?;
            node.used = clock;
            pages.push(node.page);
        }
        let mut partial = None;
        if let Entry::End(node, index) = entry {
            let end = self.nodes[node].as_mut()?.ends.get_mut(index)?;
            end.used = clock;
            partial = Some(end.page);
        }
        Some(Hit { position, pages, partial, snapshot })
    }

    /// Keeps the pages of `tokens`, computed with the adapter `lora`, and at their end a snapshot, if there is one. Returns whether the
    /// snapshot was missing there and is kept.
    pub fn insert(
        &mut self,
        pool: &mut Pool,
        (lora, tokens): (u64, &[u32]),
        pages: &[u32],
        snapshot: Option<u32>,
    ) -> bool {
        self.clock += 1;
        let clock = self.clock;
        let mut at = self.root(lora);
        let root = at;
        let blocks = tokens.chunks_exact(self.block);
        let rest = blocks.remainder();
        for (block, page) in blocks.zip(pages) {
            let child = self.nodes[at].as_ref().and_then(|n| n.children.get(block)).copied();
            let child = child.unwrap_or_else(|| self.add(pool, at, block, *page));
            if let Some(node) = &mut self.nodes[child] {
                node.used = clock;
            }
            at = child;
        }
        let Some(snapshot) = snapshot else {
            self.drop_empty_root(root);
            return false;
        };
        let Some(node) = &mut self.nodes[at] else { return false };
        let missing = if rest.is_empty() {
            at != root && node.snapshot.is_none()
        } else {
            let same = node.ends.iter_mut().find(|end| end.tokens == rest);
            same.map(|end| end.used = clock).is_none()
        };
        if missing && rest.is_empty() {
            node.snapshot = Some(snapshot);
        } else if missing {
            let page = pages[tokens.len() / self.block];
            pool.keep(page);
            node.ends.push(End { tokens: rest.to_vec(), page, snapshot, used: clock });
        }
        self.drop_empty_root(root);
        missing
    }

    /// Whether there is a snapshot at the end of `tokens`, computed with the adapter `lora`.
    pub fn has_snapshot(&self, lora: u64, tokens: &[u32]) -> bool {
        let Some(mut at) = self.roots.get(&lora).copied() else { return false };
        let blocks = tokens.chunks_exact(self.block);
        let rest = blocks.remainder();
        for block in blocks {
            let next = self.nodes[at].as_ref().and_then(|node| node.children.get(block));
            let Some(next) = next else { return false };
            at = *next;
        }
        self.nodes[at].as_ref().is_some_and(|node| match rest {
            [] => node.snapshot.is_some(),
            rest => node.ends.iter().any(|end| end.tokens == rest),
        })
    }

    /// Snapshots at ends of blocks inside `tokens`, computed with the adapter `lora`: their positions in order. Their
    /// distances from the end of `tokens` grow by half or more, so that few of them serve prompts that leave `tokens`
    /// anywhere.
    pub fn snapshots_inside(&self, lora: u64, tokens: &[u32]) -> Vec<(usize, u32)> {
        let Some(mut at) = self.roots.get(&lora).copied() else { return Vec::new() };
        let mut all = Vec::new();
        for (index, block) in tokens.chunks_exact(self.block).enumerate() {
            let next = self.nodes[at].as_ref().and_then(|node| node.children.get(block));
            let Some(next) = next else { break };
            at = *next;
            let end = (index + 1) * self.block;
            let snapshot = self.nodes[at].as_ref().and_then(|node| node.snapshot);
            all.extend(snapshot.filter(|_| end < tokens.len()).map(|snapshot| (end, snapshot)));
        }
        let mut distance = 0;
        all.reverse();
        all.retain(|(end, _)| {
            let kept = 2 * (tokens.len() - end) >= 3 * distance;
            if kept {
                distance = tokens.len() - end;
            }
            kept
        });
        all.reverse();
        all
    }

    /// Begins a step: until [`PrefixCache::end_step`], snapshots that are used from now on are not taken
    /// from their entries, since the step's passes write them.
    pub fn begin_step(&mut self) {
        self.step_began = self.clock;
    }

    /// Ends the planning of a step. Later work comes after its passes.
    pub fn end_step(&mut self) {
        self.step_began = u64::MAX;
    }

    /// Returns snapshots that no entry has.
    pub fn free_snapshots(&mut self, snapshots: impl IntoIterator<Item = u32>) {
        self.snapshots.extend(snapshots);
    }

    /// A snapshot that is free, or that was used least recently.
    pub fn take_snapshot(&mut self, pool: &mut Pool) -> Option<u32> {
        if self.snapshots.is_empty() {
            let mut oldest: Option<(u64, Entry)> = None;
            for (entry, used, has_snapshot) in self.entries() {
                let free_to_take = has_snapshot && used <= self.step_began;
                if free_to_take && oldest.is_none_or(|(least, _)| used < least) {
                    oldest = Some((used, entry));
                }
            }
            match oldest?.1 {
                Entry::Node(index) => {
                    let node = self.nodes[index].as_mut()?;
                    self.snapshots.extend(node.snapshot.take());
                }
                end @ Entry::End(..) => self.remove(pool, end),
            }
        }
        self.snapshots.pop()
    }

    /// Frees pages that no sequence uses until `pages` are free, those used least recently first.
    /// Returns whether that many are free. If sequences use too many, nothing changes.
    pub fn make_room(&mut self, pool: &mut Pool, pages: usize) -> bool {
        if pool.unused() < pages {
            return false;
        }
        while pool.available() < pages {
            let mut oldest: Option<((bool, bool, u64), Entry)> = None;
            for (entry, used, has_snapshot) in self.entries() {
                if !self.is_leaf(entry) {
                    continue;
                }
                // Removing an entry whose page is in use frees no page, but the blocks before it may then be
                // removed. A block without a snapshot behind all others can never be continued.
                let in_use = self.page_of(entry).is_some_and(|page| pool.is_used(page));
                let rank = (in_use, has_snapshot, used);
                if oldest.is_none_or(|(least, _)| rank < least) {
                    oldest = Some((rank, entry));
                }
            }
            let Some((_, entry)) = oldest else { return false };
            self.remove(pool, entry);
        }
        true
    }

    /// Forgets everything.
    pub fn clear(&mut self, pool: &mut Pool) {
        loop {
            let mut leaves = self.entries().filter(|(entry, ..)| self.is_leaf(*entry));
            let Some((leaf, ..)) = leaves.next() else { break };
            drop(leaves);
            self.remove(pool, leaf);
        }
    }

    /// The root of an adapter's state.
    fn root(&mut self, lora: u64) -> usize {
        if let Some(root) = self.roots.get(&lora) {
            return *root;
        }
        let root = self.put(0, &[], NO_PAGE);
        if let Some(node) = &mut self.nodes[root] {
            node.parent = root;
        }
        self.roots.insert(lora, root);
        root
    }

    /// Forgets a root that has nothing behind it.
    fn drop_empty_root(&mut self, index: usize) {
        let Some(node) = &self.nodes[index] else { return };
        if node.page == NO_PAGE && node.children.is_empty() && node.ends.is_empty() {
            self.nodes[index] = None;
            self.unused_nodes.push(index);
            self.roots.retain(|_, root| *root != index);
        }
    }

    fn add(&mut self, pool: &mut Pool, parent: usize, block: &[u32], page: u32) -> usize {
        pool.keep(page);
        let index = self.put(parent, block, page);
        if let Some(parent) = &mut self.nodes[parent] {
            parent.children.insert(block.into(), index);
        }
        index
    }

    fn put(&mut self, parent: usize, block: &[u32], page: u32) -> usize {
        let node = Node {
            parent,
            tokens: block.into(),
            page,
            snapshot: None,
            used: 0,
            children: BTreeMap::new(),
            ends: Vec::new(),
        };
        match self.unused_nodes.pop() {
            Some(index) => {
                self.nodes[index] = Some(node);
                index
            }
            None => {
                self.nodes.push(Some(node));
                self.nodes.len() - 1
            }
        }
    }

    /// All entries with the time of their last use and whether they have a snapshot.
    fn entries(&self) -> impl Iterator<Item = (Entry, u64, bool)> + '_ {
        self.nodes.iter().enumerate().flat_map(|(index, node)| {
            let node = node.as_ref();
            let own = node
                .filter(|node| node.page != NO_PAGE)
                .map(|n| (Entry::Node(index), n.used, n.snapshot.is_some()));
            let ends = node.map(|n| n.ends.as_slice()).unwrap_or_default().iter().enumerate();
            own.into_iter().chain(ends.map(move |(i, e)| (Entry::End(index, i), e.used, true)))
        })
    }

    fn is_leaf(&self, entry: Entry) -> bool {
        match entry {
            Entry::End(..) => true,
            Entry::Node(index) => self.nodes[index]
                .as_ref()
                .is_some_and(|node| node.children.is_empty() && node.ends.is_empty()),
        }
    }

    fn page_of(&self, entry: Entry) -> Option<u32> {
        match entry {
            Entry::Node(index) => self.nodes[index].as_ref().map(|node| node.page),
            Entry::End(index, end) => self.nodes[index].as_ref().map(|node| node.ends[end].page),
        }
    }

    fn remove(&mut self, pool: &mut Pool, entry: Entry) {
        self.evicted += 1;
        match entry {
            Entry::End(index, end) => {
                if let Some(node) = &mut self.nodes[index] {
                    let end = node.ends.swap_remove(end);
                    pool.drop_kept(end.page);
                    self.snapshots.push(end.snapshot);
                }
                self.drop_empty_root(index);
            }
            Entry::Node(index) => {
                let Some(node) = self.nodes[index].take() else { return };
                if let Some(parent) = &mut self.nodes[node.parent] {
                    parent.children.remove(&node.tokens);
                }
                pool.drop_kept(node.page);
                self.snapshots.extend(node.snapshot);
                self.unused_nodes.push(index);
                self.drop_empty_root(node.parent);
            }
        }
    }
}
