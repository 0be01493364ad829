//! The state of a prefix as a file, so that a later run of the program need not compute it again.
//! `state_file.rs` has the format.

use std::hash::Hasher;

use twox_hash::XxHash3_64;

use super::Engine;
use super::answer::LoraChoice;
use super::loras::LoraOfSeq;
use super::runner::Runner;
use super::state_file::{MAX_SNAPSHOTS, Reader, StateHeader, Writer};
use crate::error::Error;
use crate::formats::ByteSource;
use crate::gpu::{GpuError, Readback};
use crate::kernels::PAGE;

/// Pages that are read from or written to the GPU at a time: 4 MB of a layer of LFM2-8B-A1B.
const PAGES: usize = 64;
/// Words at the beginning of each weight matrix that identify the model.
const SAMPLE: usize = 256;

impl Engine {
    /// Writes the cached state of the longest prefix of `tokens`, computed with the LoRA adapter `lora` or with the
    /// model alone, in pieces. Returns its length in tokens: 0, and nothing is written, if nothing of it is cached.
    ///
    /// # Errors
    /// [`Error::SavedState`] with the error of `write`, under the name `file`; [`Error::Lora`] if there is no such
    /// adapter; [`Error::Gpu`].
    pub async fn save(
        &self,
        tokens: &[u32],
        lora: Option<&LoraChoice>,
        file: &str,
        write: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<usize, Error> {
        let lora = self.lora(lora)?;
        let runner = self.runner();
        let (device, state) = (&runner.device, &runner.state);
        let model = self.fingerprint().await?;
        let columns = state.snapshot_range(0).len();
        let mut kept: Vec<Readback> = Vec::new();
        for _ in &state.rings {
            kept.push(device.readback_for::<f32>(MAX_SNAPSHOTS * columns).await?);
        }
        self.step_ends().await;
        let leased = {
            let mut scheduler = self.scheduler();
            let key = lora.as_ref().map_or(0, LoraOfSeq::key);
            scheduler.lease_prefix(key, tokens).map(|(hit, mut snapshots)| {
                snapshots.drain(..snapshots.len().saturating_sub(MAX_SNAPSHOTS - 1));
                snapshots.push((hit.position, hit.snapshot));
                let ranges: Vec<_> =
                    snapshots.iter().map(|(_, snapshot)| state.snapshot_range(*snapshot)).collect();
                // Later steps may write the snapshots. They come after this submission, since the scheduler is locked.
                let mut encoder = device.encoder();
                for (ring, target) in state.rings.iter().zip(&kept) {
                    encoder.gather(ring, &ranges, target);
                }
                encoder.submit();
                (hit, snapshots.into_iter().map(|(position, _)| position).collect())
            })
        };
        let Some((hit, snapshots)) = leased else { return Ok(0) };
        let pages = hit.pages.iter().chain(&hit.partial).copied().collect();
        let lease = Lease { engine: self, pages, snapshots: Vec::new() };
        let lora = lora.as_ref().map(LoraOfSeq::identity);
        let header = self.header(model, lora, snapshots);
        let mut writer = Writer::begin(file, write, &header)?;
        let tokens = &tokens[..hit.position];
        write_state(&runner, &mut writer, &header, tokens, &lease.pages, &kept).await?;
        writer.end()?;
        Ok(hit.position)
    }

    /// Reads a saved state into the prefix cache, and returns its length in tokens. A prompt that begins with these
    /// tokens continues from there. An invalid file changes no answer, but the room that it was given may have cost cached
    /// prefixes.
    ///
    /// # Errors
    /// [`Error::SavedState`] for a file of another model, format or version, of a LoRA adapter that is not loaded, a
    /// damaged one, and one that does not fit the engine's memory; [`Error::Source`], [`Error::Gpu`].
    pub async fn restore(&self, source: &dyn ByteSource) -> Result<usize, Error> {
        let (mut reader, header) = Reader::open(source).await?;
        let expected =
            self.header(self.fingerprint().await?, header.lora.clone(), header.snapshots.clone());
        if header.model != expected.model {
            return Err(reader.wrong("is the state of another model"));
        }
        let lora = match &header.lora {
            None => 0,
            Some(identity) => self.core().loras.key_of(identity).ok_or_else(|| {
                reader.wrong("is the state of a LoRA adapter that is not loaded: load it first")
            })?,
        };
        if header.kv != expected.kv {
            let problem = format!("has keys and values in {}; use --kv {}", header.kv, header.kv);
            return Err(reader.wrong(&problem));
        }
        if header != expected {
            return Err(reader.wrong("does not have this engine's sizes"));
        }
        if header.tokens > self.context_length() {
            let problem = format!("has {} tokens, more than the context", header.tokens);
            return Err(reader.wrong(&problem));
        }
        let pages = header.tokens.div_ceil(PAGE as usize);
        let tokens = reader.words(header.tokens).await?;
        self.step_ends().await;
        let runner = self.runner();
        let (lease, restarts) = {
            let mut scheduler = self.scheduler();
            (scheduler.lease_state(pages, header.snapshots.len()), scheduler.restarts())
        };
        let Some((pages, taken)) = lease else {
            let problem =
                "does not fit the memory of earlier prompts beside the answers in progress";
            return Err(reader.wrong(problem));
        };
        // If there are fewer than in the file, those behind all others.
        let positions = header.snapshots[header.snapshots.len() - taken.len()..].iter().copied();
        let snapshots = positions.zip(taken).collect();
        let lease = Lease { engine: self, pages, snapshots };
        read_state(&runner, &mut reader, &header, &lease).await?;
        reader.end().await?;
        lease.adopt((lora, &tokens), restarts)?;
        Ok(header.tokens)
    }

    fn header(&self, model: String, lora: Option<String>, snapshots: Vec<usize>) -> StateHeader {
        let runner = self.runner();
        let state = &runner.state;
        StateHeader {
            model,
            lora,
            kv: state.kv_format.option().to_owned(),
            tokens: snapshots.last().copied().unwrap_or(0),
            page_words: state.page_words(),
            pools: 2 * state.kv.len(),
            convolutions: state.rings.len(),
            snapshot: state.snapshot_range(0).len(),
            snapshots,
        }
    }

    /// Hash of the configuration and of the beginnings of all weight matrices: a fine-tuned model, or one in another
    /// format, has another.
    async fn fingerprint(&self) -> Result<String, Error> {
        if let Some(known) = self.inner.fingerprint.get() {
            return Ok(known.clone());
        }
        let mut hash = XxHash3_64::with_seed(0);
        hash.write(format!("{:?}", self.config()).as_bytes());
        let runner = self.runner();
        for part in runner.weights().matrices().into_iter().flat_map(|m| &m.parts) {
            let len = SAMPLE.min(part.data.len());
            let words = runner.device.read_range(&part.data, 0, len).await?;
            hash.write(part.format.name().as_bytes());
            hash.write(bytemuck::cast_slice(&words));
        }
        let made = format!("{:016x}", hash.finish());
        Ok(self.inner.fingerprint.get_or_init(|| made).clone())
    }
}

async fn write_state(
    runner: &Runner,
    writer: &mut Writer<'_>,
    header: &StateHeader,
    tokens: &[u32],
    pages: &[u32],
    kept: &[Readback],
) -> Result<(), Error> {
    let (device, state) = (&runner.device, &runner.state);
    writer.words(tokens)?;
    let words = PAGES.min(pages.len()) * state.page_words();
    let target = device.readback_for::<u32>(words).await?;
    for pool in state.pools() {
        for pages in pages.chunks(PAGES) {
            let mut encoder = device.encoder();
            let ranges: Vec<_> = pages.iter().flat_map(|p| state.ranges(pool, *p)).collect();
            encoder.gather(pool, &ranges, &target);
            let read = target.read::<u32>(Some(&encoder.submit())).await?;
            writer.words(&read[..pages.len() * state.page_words()])?;
        }
    }
    let columns = header.snapshots.len() * header.snapshot;
    for kept in kept {
        writer.words(&kept.read::<u32>(None).await?[..columns])?;
    }
    Ok(())
}

async fn read_state(
    runner: &Runner,
    reader: &mut Reader<'_>,
    header: &StateHeader,
    lease: &Lease<'_>,
) -> Result<(), Error> {
    let (device, state) = (&runner.device, &runner.state);
    for pool in state.pools() {
        for pages in lease.pages.chunks(PAGES) {
            let words = reader.words(pages.len() * header.page_words).await?;
            let mut rest = &words[..];
            for range in pages.iter().flat_map(|page| state.ranges(pool, *page)) {
                let (now, later) = rest.split_at(range.len());
                device.write(pool, range.start, now);
                rest = later;
            }
            // Otherwise the whole state would be staged in the host's memory.
            device.flush_uploads();
        }
    }
    for ring in &state.rings {
        for position in &header.snapshots {
            let words = reader.words(header.snapshot).await?;
            if let Some((_, snapshot)) = lease.snapshots.iter().find(|(at, _)| at == position) {
                device.write(&ring.words(), state.snapshot_range(*snapshot).start, &words);
            }
        }
    }
    device.check()?;
    Ok(())
}

/// Pages in use by a copy, and the snapshots of one that is read, with their positions. Dropping it gives them back.
struct Lease<'a> {
    engine: &'a Engine,
    pages: Vec<u32>,
    snapshots: Vec<(usize, u32)>,
}

impl Lease<'_> {
    /// Keeps the state as that of `tokens`, unless it was lost with its device.
    fn adopt(mut self, (lora, tokens): (u64, &[u32]), restarts: u64) -> Result<(), Error> {
        let mut scheduler = self.engine.scheduler();
        if scheduler.restarts() != restarts {
            let reason = "while a state was restored".to_owned();
            return Err(GpuError::DeviceLost { reason }.into());
        }
        for (position, snapshot) in self.snapshots.drain(..) {
            let pages = &self.pages[..position.div_ceil(PAGE as usize)];
            scheduler.adopt(lora, &tokens[..position], pages, snapshot);
        }
        Ok(())
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let snapshots = self.snapshots.iter().map(|(_, snapshot)| *snapshot);
        self.engine.scheduler().end_state(&self.pages, snapshots);
        self.engine.wake();
    }
}
