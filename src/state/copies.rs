//! Copies of state on the GPU: snapshots of convolutions, and pages of keys and values.

use std::ops::Range;

use super::State;
use crate::gpu::{Encoder, Tensor};
use crate::kernels::{KvFormat, PAGE};

impl State {
    /// Copies the convolutions' state of `slot` before `position` into a snapshot. The slot's rings
    /// hold the columns if it has run the positions before, and not more than
    /// [`MAX_REWIND`](super::MAX_REWIND) behind.
    pub fn capture(&self, encoder: &mut Encoder<'_>, slot: u32, position: usize, snapshot: u32) {
        for (in_ring, in_snapshot) in self.columns(slot, position, snapshot) {
            self.copy_column(encoder, in_ring, in_snapshot);
        }
    }

    /// Copies a snapshot into the rings of `slot`, as the state before `position`.
    pub fn restore(&self, encoder: &mut Encoder<'_>, slot: u32, position: usize, snapshot: u32) {
        for (in_ring, in_snapshot) in self.columns(slot, position, snapshot) {
            self.copy_column(encoder, in_snapshot, in_ring);
        }
    }

    /// Of each position that the convolution at `position` reads: its column in the slot's ring, and in the
    /// snapshot. Inputs before position 0 are zero without being stored.
    fn columns(
        &self,
        slot: u32,
        position: usize,
        snapshot: u32,
    ) -> impl Iterator<Item = (u32, u32)> + use<> {
        let (ring, kept) = (self.ring_columns, self.dims.snapshot_columns());
        let first_snapshot = self.snapshots_at();
        (1..=kept.min(position as u32)).map(move |back| {
            let in_ring = slot * ring + (position as u32 - back) % ring;
            (in_ring, first_snapshot + snapshot * kept + kept - back)
        })
    }

    fn copy_column(&self, encoder: &mut Encoder<'_>, from: u32, to: u32) {
        let width = self.dims.hidden_size;
        for ring in &self.rings {
            encoder.copy((ring, from as usize * width), (&self.column_copy, 0), width);
            encoder.copy((&self.column_copy, 0), (ring, to as usize * width), width);
        }
    }

    /// Copies a page of keys and values of all layers.
    pub fn copy_page(&self, encoder: &mut Encoder<'_>, from: u32, to: u32) {
        for pool in self.pools() {
            for (from, to) in self.ranges(pool, from).into_iter().zip(self.ranges(pool, to)) {
                let len = from.len();
                encoder.copy((pool, from.start), (&self.page_copy, 0), len);
                encoder.copy((&self.page_copy, 0), (pool, to.start), len);
            }
        }
    }

    /// Keys and values of all layers, in order.
    pub fn pools(&self) -> impl Iterator<Item = &Tensor<u32>> {
        self.kv.iter().flat_map(|layer| [&layer.keys, &layer.values])
    }

    /// Words of a page of keys, or of values.
    pub fn page_words(&self) -> usize {
        self.dims.page_words(self.kv_format)
    }

    /// The words of a page in a pool. In blocks of 8 bits, scales have a plane of their own.
    pub fn ranges(&self, pool: &Tensor<u32>, page: u32) -> Vec<Range<usize>> {
        let head_dim = self.dims.head_dim;
        let words = self.page_words();
        let planes = match self.kv_format {
            KvFormat::F32 | KvFormat::F16 => vec![(0, words)],
            KvFormat::Q8 => {
                let integers = PAGE as usize * self.dims.n_kv_heads * head_dim / 4;
                let scales = self.kv_format.scales_at(pool, head_dim as u32) as usize;
                vec![(0, integers), (scales, words - integers)]
            }
        };
        let range = |(start, len): (usize, usize)| {
            let at = start + page as usize * len;
            at..at + len
        };
        planes.into_iter().map(range).collect()
    }

    /// The elements of a snapshot in the rings of each convolution.
    pub fn snapshot_range(&self, snapshot: u32) -> Range<usize> {
        let columns = self.dims.snapshot_columns();
        let first = (self.snapshots_at() + snapshot * columns) as usize * self.dims.hidden_size;
        first..first + columns as usize * self.dims.hidden_size
    }
}
