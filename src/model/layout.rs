//! Layout of the files' tensors on the GPU: the tensors of each matrix, and the formats of its
//! parts. Loading and the memory plan both use it.

use std::ops::Range;

use super::{Recipe, ResolvedTensors, TensorId};
use crate::formats::{ElementType, TensorSlice};
use crate::kernels::{Format, Matrix, Planes};

/// Rows of one matrix in the checkpoint, and its size on the GPU. Kernels read four columns at a
/// time, so an FFN's width is padded with zeros to a multiple of four: rows of w1 and w3, whose
/// product is 0, and the columns of w2 that multiply it.
pub(super) struct Rows {
    /// Their places in the files, and the type that each will be stored as.
    pub(super) slices: Vec<(TensorSlice, ElementType)>,
    /// If true, row `2 r` is row `r` of the first slice and row `2 r + 1` is row `r` of the second;
    /// else the slices' rows follow one another.
    pub(super) in_turn: bool,
    pub(super) rows: usize,
    pub(super) cols: usize,
}

/// Rows of every expert in one buffer.
pub(super) struct PartLayout {
    /// The type that they are stored as.
    pub(super) target: ElementType,
    pub(super) rows: Range<usize>,
    pub(super) planes: Planes,
}

/// Tensors and their storage: as in the files, or by `recipe`.
pub(super) struct Layout<'a> {
    pub(super) tensors: &'a ResolvedTensors,
    pub(super) recipe: Option<&'a Recipe>,
}

impl Layout<'_> {
    /// The matrix that begins with a tensor, as rows of each of its experts (of which other matrices
    /// have one); `None` if the tensor is missing, is not the first one of a matrix, or is a vector.
    pub(super) fn matrix(&self, first: TensorId) -> Option<Vec<Rows>> {
        match first {
            TensorId::K(_) | TensorId::V(_) | TensorId::W3(_) | TensorId::ExpertW3(..) => None,
            TensorId::Q(i) => Some(vec![self.stack(&[first, TensorId::K(i), TensorId::V(i)])?]),
            TensorId::W1(i) => Some(vec![self.in_turn(first, TensorId::W3(i))?]),
            TensorId::ExpertW1(i, 0) => self.experts(
                |e| TensorId::ExpertW1(i, e),
                |w1, e| self.in_turn(w1, TensorId::ExpertW3(i, e)),
            ),
            TensorId::ExpertW2(i, 0) => {
                self.experts(|e| TensorId::ExpertW2(i, e), |w2, _| self.stack(&[w2]))
            }
            TensorId::ExpertW1(..) | TensorId::ExpertW2(..) => None,
            other if other.is_matrix() => Some(vec![self.stack(&[other])?]),
            _ => None,
        }
    }

    /// Bytes of all weights in buffers of at most `max_bytes`.
    pub(super) fn bytes(&self, max_bytes: u64) -> u64 {
        let of = |id: TensorId| match self.matrix(id) {
            Some(experts) => {
                let parts = parts(&experts, max_bytes);
                parts.iter().map(|part| part.planes.words as u64 * 4).sum()
            }
            None if id.is_matrix() => 0,
            None => f32_bytes(self.tensors.get(id).map_or(0, TensorSlice::elements)),
        };
        // A model without expert biases gets zeros.
        let bias = |id: TensorId| match id {
            TensorId::Router(i) if self.tensors.get(TensorId::ExpertBias(i)).is_none() => {
                f32_bytes(self.tensors.get(id).map_or(0, |router| router.rows as u64))
            }
            _ => 0,
        };
        self.tensors.ids().map(|id| of(id) + bias(id)).sum()
    }

    fn experts(
        &self,
        id: impl Fn(usize) -> TensorId,
        rows: impl Fn(TensorId, usize) -> Option<Rows>,
    ) -> Option<Vec<Rows>> {
        let there = (0..).map(|e| (id(e), e)).take_while(|(s, _)| self.tensors.get(*s).is_some());
        there.map(|(id, e)| rows(id, e)).collect()
    }

    /// A tensor's place in the files, and the type that it will be stored as.
    fn stored(&self, id: TensorId) -> Option<(TensorSlice, ElementType)> {
        let slice = self.tensors.get(id)?;
        let own = slice.element_type;
        Some((*slice, self.recipe.map_or(own, |recipe| recipe.target(id, own, slice.cols))))
    }

    fn stack(&self, ids: &[TensorId]) -> Option<Rows> {
        let slices = ids.iter().map(|s| self.stored(*s)).collect::<Option<Vec<_>>>()?;
        let rows = slices.iter().map(|(s, _)| s.rows).sum();
        let cols = padded_width(slices.first().map_or(0, |(s, _)| s.cols));
        Some(Rows { slices, in_turn: false, rows, cols })
    }

    fn in_turn(&self, first: TensorId, second: TensorId) -> Option<Rows> {
        let slices = vec![self.stored(first)?, self.stored(second)?];
        let (rows, cols) = (2 * padded_width(slices[0].0.rows), slices[0].0.cols);
        Some(Rows { slices, in_turn: true, rows, cols })
    }
}

impl ResolvedTensors {
    /// Bytes of the weights on the GPU, stored as in the files or by `recipe`, in buffers of at
    /// most `max_bytes`, as [`make_weights`](super::make_weights) makes them.
    pub fn gpu_bytes(&self, recipe: Option<&Recipe>, max_bytes: u64) -> u64 {
        Layout { tensors: self, recipe }.bytes(max_bytes)
    }
}

fn f32_bytes(elements: u64) -> u64 {
    elements.saturating_mul(4)
}

/// The parts of a matrix of one or more experts in buffers of at most `max_bytes`: each run of its
/// tensors keeps the format of their type.
pub(super) fn parts(experts: &[Rows], max_bytes: u64) -> Vec<PartLayout> {
    let cols = experts.first().map_or(0, |e| e.cols);
    let mut parts = Vec::new();
    for (target, run) in runs(experts) {
        let format = Format::of(target);
        for (first, n) in Matrix::split(format, experts.len(), run, cols, max_bytes) {
            let planes = format.planes(experts.len() * n * cols);
            parts.push(PartLayout { target, rows: first..first + n, planes });
        }
    }
    parts
}

/// Ranges of rows of a matrix that are stored as one type. Alternating rows of different types, and
/// rows of different types in several experts, are stored as f32, which represents all of them.
fn runs(experts: &[Rows]) -> Vec<(ElementType, Range<usize>)> {
    let Some(first) = experts.first() else { return Vec::new() };
    let targets = |e: &Rows| e.slices.iter().map(|(_, target)| *target).collect::<Vec<_>>();
    let all: Vec<ElementType> = experts.iter().flat_map(targets).collect();
    let one = all.first().filter(|t| all.iter().all(|other| other == *t));
    if let Some(one) = one {
        return vec![(*one, 0..first.rows)];
    }
    if first.in_turn || experts.len() > 1 {
        return vec![(ElementType::F32, 0..first.rows)];
    }
    let mut runs: Vec<(ElementType, Range<usize>)> = Vec::new();
    let mut row = 0;
    for (slice, target) in &first.slices {
        let end = row + slice.rows;
        match runs.last_mut() {
            Some((last, range)) if last == target => range.end = end,
            _ => runs.push((*target, row..end)),
        }
        row = end;
    }
    runs
}

/// An FFN's width on the GPU: the next multiple of four.
pub(super) fn padded_width(width: usize) -> usize {
    width.next_multiple_of(4)
}
