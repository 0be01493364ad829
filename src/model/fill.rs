//! Fills the tensors that [`super::load`] made: reads pieces, packs them, hands them to the device.

use std::ops::Range;

use super::convert;
use super::layout::Rows;
use super::load::{Job, LoadError, LoadProgress, OnProgress, Unread};
use crate::formats::{Checkpoint, ElementType, FormatError, TensorSlice};
use crate::gpu::{Device, Submission, Tensor};
use crate::kernels::{Format, MatrixPart, values};

/// Bytes of a checkpoint that are read at a time.
const PIECE_BYTES: usize = 8 << 20;
/// Uploaded bytes of one submission. The driver copies one submission while the next is read, so
/// its staging memory is twice this.
const LOT_BYTES: u64 = 16 << 20;

/// A tensor's rows within a piece: the first row goes to `offset`, the others follow in steps of
/// `step`.
struct Wanted<'a> {
    slice: &'a TensorSlice,
    rows: Range<usize>,
    step: usize,
    offset: usize,
}

struct Filler<'a> {
    device: &'a Device,
    checkpoint: &'a Checkpoint,
    progress: LoadProgress,
    on_progress: OnProgress<'a>,
    /// Bytes uploaded since the last submission.
    staged: u64,
    submitted: Option<Submission>,
    // The buffers serve all pieces: allocating memory anew would cost more than the work on it.
    bytes: Vec<u8>,
    planes: Vec<Vec<u8>>,
}

impl Unread<'_> {
    /// Reads and uploads everything. At most a few pieces of 8 MiB are in memory at a time.
    ///
    /// # Errors
    /// [`LoadError::Format`] if the files cannot be read any more, [`LoadError::Gpu`],
    /// [`LoadError::Cancelled`].
    pub async fn load(self, on_progress: OnProgress<'_>) -> Result<(), LoadError> {
        let Unread { device, checkpoint, jobs, progress } = self;
        let mut filler = Filler {
            device,
            checkpoint,
            progress,
            on_progress,
            staged: 0,
            submitted: None,
            bytes: Vec::new(),
            planes: Vec::new(),
        };
        for job in jobs {
            match job {
                Job::Matrix { part, experts, target } => {
                    let mut writer = PartWriter::new(&part);
                    for source in experts.iter() {
                        let rows = part.first_row..part.first_row + part.rows;
                        filler.matrix(&mut writer, source, rows, target).await?;
                    }
                    writer.finish(device);
                }
                Job::Vector { data, slices } => filler.vector(&data, &slices).await?,
            }
        }
        device.flush_uploads();
        Ok(())
    }
}

impl Filler<'_> {
    /// Appends rows `range` of `source` to a part.
    async fn matrix(
        &mut self,
        writer: &mut PartWriter,
        source: &Rows,
        range: Range<usize>,
        target: ElementType,
    ) -> Result<(), LoadError> {
        // The number is even, so that a gate row and its up row are in one piece.
        let step = (PIECE_BYTES / bytes_of(ElementType::F16, source.cols).max(1)).max(2) & !1;
        let mut row = range.start;
        while row < range.end {
            let n = step.min(range.end - row);
            let read = self.pack(source, row..row + n, target).await?;
            writer.append(self.device, &self.planes);
            row += n;
            self.advance(read).await?;
        }
        Ok(())
    }

    /// Packs rows `range` of `source` into the planes of `target`'s format, with zeros as padding;
    /// returns their number of bytes in the file.
    async fn pack(
        &mut self,
        source: &Rows,
        range: Range<usize>,
        target: ElementType,
    ) -> Result<u64, LoadError> {
        self.planes.iter_mut().for_each(Vec::clear);
        let format = Format::of(target);
        let wanted = wanted(source, &range);
        let rows: usize = wanted.iter().map(|w| w.rows.len()).sum();
        let as_stored = |w: &Wanted<'_>| {
            w.slice.element_type == target
                && w.slice.cols == source.cols
                && (!source.in_turn || w.rows.len() == range.len() / 2)
        };
        if rows == range.len() && wanted.iter().all(as_stored) {
            let mut ends = vec![0];
            for w in &wanted {
                ends.push(self.read(w, ends[ends.len() - 1]).await?);
            }
            let read = ends[ends.len() - 1];
            match (source.in_turn, &ends[..]) {
                (true, [_, middle, end]) => {
                    let row_bytes = bytes_of(target, source.cols).max(1);
                    let (first, second) = self.bytes[..*end].split_at(*middle);
                    for (a, b) in first.chunks(row_bytes).zip(second.chunks(row_bytes)) {
                        format.pack(target, a, &mut self.planes);
                        format.pack(target, b, &mut self.planes);
                    }
                }
                _ => format.pack(target, &self.bytes[..read], &mut self.planes),
            }
            return Ok(read as u64);
        }
        // Rows of one type are copied as in the file, rows of several types as f32.
        let one = wanted.first().map(|w| w.slice.element_type);
        let one = one.filter(|t| wanted.iter().all(|w| w.slice.element_type == *t));
        let own = one.unwrap_or(ElementType::F32);
        let row_bytes = bytes_of(own, source.cols);
        let mut all = vec![0; range.len() * row_bytes];
        let mut read = 0;
        for w in wanted {
            let end = self.read(&w, 0).await?;
            read += end as u64;
            let bytes = &self.bytes[..end];
            let converted: Vec<u8>;
            let bytes = if w.slice.element_type == own {
                bytes
            } else {
                converted = bytemuck::cast_slice(&values(w.slice.element_type, bytes)).to_vec();
                &converted
            };
            let have = bytes_of(own, w.slice.cols);
            for (r, row) in bytes.chunks_exact(have.max(1)).enumerate() {
                let at = (w.offset + r * w.step) * row_bytes;
                all[at..at + have].copy_from_slice(row);
            }
        }
        let converted = convert(own, target, &all).ok_or_else(|| FormatError::File {
            file: self.checkpoint.name().to_owned(),
            problem: format!("{own} cannot become {target}"),
        })?;
        format.pack(target, &converted, &mut self.planes);
        Ok(read)
    }

    /// Reads rows as in the file to `at` of the buffer; returns their end.
    async fn read(&mut self, w: &Wanted<'_>, at: usize) -> Result<usize, LoadError> {
        let end = at + bytes_of(w.slice.element_type, w.rows.len() * w.slice.cols);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let first = (w.rows.start * w.slice.cols) as u64;
        self.checkpoint.read(w.slice, first, &mut self.bytes[at..end]).await?;
        Ok(end)
    }

    async fn vector(
        &mut self,
        data: &Tensor<f32>,
        slices: &[TensorSlice],
    ) -> Result<(), LoadError> {
        let mut all = Vec::new();
        for slice in slices {
            let end =
                self.read(&Wanted { slice, rows: 0..slice.rows, step: 1, offset: 0 }, 0).await?;
            all.extend(values(slice.element_type, &self.bytes[..end]));
            self.advance(slice.bytes()).await?;
        }
        self.device.write(data, 0, &all);
        Ok(())
    }

    async fn advance(&mut self, bytes: u64) -> Result<(), LoadError> {
        self.staged += bytes;
        if self.staged >= LOT_BYTES {
            self.staged = 0;
            let lot = self.device.submit_uploads();
            if let Some(before) = self.submitted.replace(lot) {
                self.device.wait_for(&before).await?;
            }
        }
        let p = &mut self.progress;
        p.loaded = (p.loaded + bytes).min(p.total);
        if (self.on_progress)(*p) { Ok(()) } else { Err(LoadError::Cancelled) }
    }
}

/// The rows of each of `source`'s tensors that lie within `range`.
fn wanted<'a>(source: &'a Rows, range: &Range<usize>) -> Vec<Wanted<'a>> {
    let mut first = 0;
    let mut all = Vec::new();
    for (i, (slice, _)) in source.slices.iter().enumerate() {
        let (rows, step, offset) = if source.in_turn {
            (range.start / 2..range.end / 2, 2, i)
        } else {
            let rows = range.start.max(first) - first..range.end.max(first) - first;
            (rows, 1, first.saturating_sub(range.start))
        };
        let rows = rows.start.min(slice.rows)..rows.end.min(slice.rows);
        if !rows.is_empty() {
            all.push(Wanted { slice, rows, step, offset });
        }
        first += slice.rows;
    }
    all
}

/// Number of bytes of whole blocks; the tensors' shapes have been checked.
fn bytes_of(element_type: ElementType, elements: usize) -> usize {
    let block = element_type.block();
    elements.div_ceil(block.elements as usize) * block.bytes as usize
}

/// Writes a part from its first row to its last. Each piece of rows extends every plane; half a
/// word is kept until the next piece.
struct PartWriter {
    data: Tensor<u32>,
    /// Index of the next word, and bytes that do not fill it yet.
    planes: Vec<(usize, Vec<u8>)>,
}

impl PartWriter {
    fn new(part: &MatrixPart) -> Self {
        let starts = std::iter::once(0).chain(part.planes.at.iter().map(|at| *at as usize));
        let planes = starts.take(part.format.block().1.len()).map(|at| (at, Vec::new())).collect();
        Self { data: part.data.clone(), planes }
    }

    fn append(&mut self, device: &Device, pieces: &[Vec<u8>]) {
        for ((at, rest), piece) in self.planes.iter_mut().zip(pieces) {
            if !rest.is_empty() {
                rest.extend_from_slice(piece);
            }
            let all: &[u8] = if rest.is_empty() { piece } else { rest };
            let (words, more) = all.split_at(all.len() & !3);
            device.write_bytes(&self.data, *at, words);
            *at += words.len() / 4;
            *rest = more.to_vec();
        }
    }

    fn finish(mut self, device: &Device) {
        let padding: Vec<Vec<u8>> =
            self.planes.iter().map(|(_, rest)| vec![0; (4 - rest.len() % 4) % 4]).collect();
        self.append(device, &padding);
    }
}
