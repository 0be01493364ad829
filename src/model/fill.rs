//! Fills the tensors that [`super::load`] made: reads pieces, packs them, hands them to the device.
//! Natively several threads do so, each with pieces of its own.

use std::ops::Range;

use super::convert;
use super::layout::Rows;
use super::load::{Job, LoadError, LoadProgress, OnProgress, Unread};
use crate::formats::{Checkpoint, ElementType, FormatError, TensorSlice};
use crate::gpu::{Device, Submission};
use crate::kernels::{Format, MatrixPart, values};

/// Bytes of a checkpoint that are uploaded at a time. They are not fewer, since staging memory is allocated for
/// each upload.
const PIECE_BYTES: usize = if cfg!(target_arch = "wasm32") { 8 << 20 } else { 2 << 20 };
/// Bytes that are read at a time. What is read natively is packed out of the core's own cache: that takes
/// a fifth of the time off. A browser's reads have a latency.
const READ_BYTES: usize = if cfg!(target_arch = "wasm32") { 8 << 20 } else { 256 << 10 };
/// Uploaded bytes of one submission. The driver copies one submission while the next is read, so
/// its staging memory is twice this and a piece a thread.
const LOT_BYTES: u64 = 16 << 20;
/// Most threads that read and pack. A core of a shared Xeon takes 0.38 s for 1 GB of Q4_0, so eight exceed
/// what a disk gives; more would only take memory.
#[cfg(not(target_arch = "wasm32"))]
const MOST_THREADS: usize = 8;

/// A tensor's rows within a piece: the first row goes to `offset`, the others follow in steps of
/// `step`.
struct Wanted<'a> {
    slice: &'a TensorSlice,
    rows: Range<usize>,
    step: usize,
    offset: usize,
}

/// Rows of a part that are uploaded together, counted over all experts. Their first is even, so each of
/// their planes begins with a whole word.
struct Piece<'a> {
    part: &'a MatrixPart,
    experts: &'a [Rows],
    target: ElementType,
    rows: Range<usize>,
}

impl Unread<'_> {
    /// Reads and uploads everything. Natively it blocks, and a source's bytes are read on other threads. At
    /// most a few pieces are in memory at a time.
    ///
    /// # Errors
    /// [`LoadError::Format`] if the files cannot be read any more, [`LoadError::Gpu`],
    /// [`LoadError::Cancelled`].
    pub async fn load(self, on_progress: OnProgress<'_>) -> Result<(), LoadError> {
        let Unread { device, checkpoint, jobs, progress } = self;
        let mut uploads = Uploads { device, progress, on_progress, staged: 0, submitted: None };
        let mut packer = Packer::new(checkpoint);
        let mut pieces = Vec::new();
        for job in &jobs {
            match job {
                Job::Matrix { part, experts, target } => {
                    let rows = experts.len() * part.rows;
                    let cols = experts.first().map_or(0, |e| e.cols);
                    let step = rows_of(PIECE_BYTES, *target, cols);
                    pieces.extend((0..rows).step_by(step).map(|row| Piece {
                        part,
                        experts,
                        target: *target,
                        rows: row..rows.min(row + step),
                    }));
                }
                Job::Vector { data, slices } => {
                    device.write(data, 0, &packer.vector(slices).await?);
                    uploads.count(slices.iter().map(TensorSlice::bytes).sum()).await?;
                }
            }
        }
        uploads.pieces(packer, &pieces).await?;
        device.flush_uploads();
        Ok(())
    }
}

/// Counts uploads, submits them in lots and reports progress.
struct Uploads<'a> {
    device: &'a Device,
    progress: LoadProgress,
    on_progress: OnProgress<'a>,
    /// Bytes uploaded since the last submission.
    staged: u64,
    submitted: Option<Submission>,
}

impl Uploads<'_> {
    /// Packs and uploads `pieces` on several threads. Each waits until its last piece has been counted.
    #[cfg(not(target_arch = "wasm32"))]
    async fn pieces(&mut self, own: Packer<'_>, pieces: &[Piece<'_>]) -> Result<(), LoadError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (device, checkpoint) = (self.device, own.checkpoint);
        let next = std::sync::atomic::AtomicUsize::new(0);
        let (sender, uploaded) = std::sync::mpsc::sync_channel(0);
        let work = |sender: std::sync::mpsc::SyncSender<Result<u64, LoadError>>| {
            let mut packer = Packer::new(checkpoint);
            while let Some(piece) =
                pieces.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
            {
                let read = pollster::block_on(packer.upload(device, piece));
                // The receiver is gone after an error or if loading was cancelled.
                if sender.send(read).is_err() {
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..threads.min(MOST_THREADS).min(pieces.len()) {
                let sender = sender.clone();
                scope.spawn(|| work(sender));
            }
            drop(sender);
            for read in uploaded {
                pollster::block_on(self.count(read?))?;
            }
            Ok(())
        })
    }

    /// Packs and uploads `pieces`.
    #[cfg(target_arch = "wasm32")]
    async fn pieces(&mut self, mut own: Packer<'_>, pieces: &[Piece<'_>]) -> Result<(), LoadError> {
        for piece in pieces {
            let read = own.upload(self.device, piece).await?;
            self.count(read).await?;
        }
        Ok(())
    }

    async fn count(&mut self, bytes: u64) -> Result<(), LoadError> {
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

/// Reads and packs pieces. Its buffers serve all pieces: allocating memory anew would cost more than the work
/// on it.
struct Packer<'a> {
    checkpoint: &'a Checkpoint,
    bytes: Vec<u8>,
    planes: Vec<Vec<u8>>,
}

impl<'a> Packer<'a> {
    fn new(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, bytes: Vec::new(), planes: Vec::new() }
    }

    /// Reads, packs and uploads a piece; returns its number of bytes in the file.
    async fn upload(&mut self, device: &Device, piece: &Piece<'_>) -> Result<u64, LoadError> {
        let Piece { part, experts, target, rows } = piece;
        let cols = experts.first().map_or(0, |e| e.cols);
        let step = rows_of(READ_BYTES, *target, cols);
        self.planes.iter_mut().for_each(Vec::clear);
        let (mut row, mut read) = (rows.start, 0);
        while row < rows.end {
            let (expert, at) = (row / part.rows, row % part.rows);
            let n = step.min(part.rows - at).min(rows.end - row);
            let first = part.first_row + at;
            read += self.pack(&experts[expert], first..first + n, *target).await?;
            row += n;
        }
        let (block, bits) = part.format.block();
        let starts = std::iter::once(0).chain(part.planes.at.iter().map(|at| *at as usize));
        for ((start, bits), plane) in starts.zip(bits).zip(&mut self.planes) {
            plane.resize(plane.len().next_multiple_of(4), 0);
            let before = rows.start * cols / block * bits / 32;
            device.write_bytes(&part.data, start + before, plane);
        }
        Ok(read)
    }

    /// Appends rows `range` of `source` to the planes of `target`'s format, with zeros as padding;
    /// returns their number of bytes in the file.
    async fn pack(
        &mut self,
        source: &Rows,
        range: Range<usize>,
        target: ElementType,
    ) -> Result<u64, LoadError> {
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

    /// The elements of `slices`, one after another.
    async fn vector(&mut self, slices: &[TensorSlice]) -> Result<Vec<f32>, LoadError> {
        let mut all = Vec::new();
        for slice in slices {
            let end =
                self.read(&Wanted { slice, rows: 0..slice.rows, step: 1, offset: 0 }, 0).await?;
            all.extend(values(slice.element_type, &self.bytes[..end]));
        }
        Ok(all)
    }
}

/// Number of rows of about `bytes` bytes. It is even: so a gate row and its up row stay together, and
/// each plane of these rows takes whole words.
fn rows_of(bytes: usize, element_type: ElementType, cols: usize) -> usize {
    (bytes / bytes_of(element_type, cols).max(1)).max(2) & !1
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::synthetic::{Synthetic, synthetic};

    /// Loads a matrix of three experts in several pieces, whose ends are not those of experts, and compares
    /// every word with the experts' rows packed one after another.
    async fn check(element_type: ElementType, rows: usize, cols: usize, in_turn: bool) {
        let device = Device::request(&Default::default()).await.unwrap();
        let own = if in_turn { rows / 2 } else { rows };
        let names = (0..if in_turn { 6 } else { 3 }).map(|i| format!("t{i}"));
        let kind = Synthetic::Weights(element_type);
        let checkpoint = synthetic("test", names.map(|name| (name, vec![own, cols], kind)));
        let slice = |tensor| TensorSlice { tensor, offset: 0, rows: own, cols, element_type };
        let experts: Vec<Rows> = (0..3)
            .map(|e| {
                let of = if in_turn { 2 * e..2 * e + 2 } else { e..e + 1 };
                let slices = of.map(|tensor| (slice(tensor), element_type)).collect();
                Rows { slices, in_turn, rows, cols }
            })
            .collect();
        let format = Format::of(element_type);
        let planes = format.planes(3 * rows * cols);
        let data = device.tensor("weights", planes.words).await.unwrap();
        let part = MatrixPart { format, first_row: 0, rows, data: data.clone(), planes };

        let mut packer = Packer::new(&checkpoint);
        for expert in &experts {
            packer.pack(expert, 0..rows, element_type).await.unwrap();
        }
        let mut want = vec![0_u8; 4 * planes.words];
        let starts = std::iter::once(0).chain(planes.at);
        for (start, plane) in starts.zip(&packer.planes) {
            want[4 * start as usize..][..plane.len()].copy_from_slice(plane);
        }

        let total = checkpoint.tensors().iter().map(|t| t.range.end - t.range.start).sum();
        assert!(total > 2 * PIECE_BYTES as u64, "{total} bytes are too few pieces");
        let job = Job::Matrix { part, experts: experts.into(), target: element_type };
        let progress = LoadProgress { loaded: 0, total };
        let unread = Unread { device: &device, checkpoint: &checkpoint, jobs: vec![job], progress };
        let mut loaded = Vec::new();
        let mut on_progress = |p: LoadProgress| {
            loaded.push(p.loaded);
            true
        };
        unread.load(&mut on_progress).await.unwrap();
        assert!(loaded.is_sorted() && loaded.last() == Some(&total), "{loaded:?} of {total}");
        let got = device.read(&data).await.unwrap();
        assert!(bytemuck::cast_slice::<u32, u8>(&got) == want, "{element_type} {rows} x {cols}");
    }

    #[test]
    fn pieces_join_across_experts() {
        pollster::block_on(async {
            check(ElementType::Q4_0, 1301, 2016, false).await;
            check(ElementType::Q8_0, 1202, 2016, true).await;
            check(ElementType::Q6_K, 903, 2048, false).await;
            check(ElementType::F16, 1001, 1001, false).await;
        });
    }

    #[test]
    fn a_cancelled_load_stops() {
        pollster::block_on(async {
            let device = Device::request(&Default::default()).await.unwrap();
            let kind = Synthetic::Weights(ElementType::F16);
            let checkpoint = synthetic("test", [("t".to_owned(), vec![9000, 1024], kind)]);
            let element_type = ElementType::F16;
            let (rows, cols) = (9000, 1024);
            let slice = TensorSlice { tensor: 0, offset: 0, rows, cols, element_type };
            let slices = vec![(slice, element_type)];
            let format = Format::F16;
            let planes = format.planes(rows * cols);
            let data = device.tensor("weights", planes.words).await.unwrap();
            let part = MatrixPart { format, first_row: 0, rows, data, planes };
            let experts = vec![Rows { slices, in_turn: false, rows, cols }].into();
            let jobs = vec![Job::Matrix { part, experts, target: element_type }];
            let progress = LoadProgress { loaded: 0, total: 2 * (rows * cols) as u64 };
            let unread = Unread { device: &device, checkpoint: &checkpoint, jobs, progress };
            let mut calls = 0;
            let mut on_progress = |_: LoadProgress| {
                calls += 1;
                calls < 2
            };
            let stopped = unread.load(&mut on_progress).await;
            assert!(matches!(stopped, Err(LoadError::Cancelled)), "{stopped:?}");
            assert_eq!(calls, 2);
        });
    }
}
