//! The state of a prefix as a file, so that a later run of the program need not compute it again.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `LFM2KEPT` |
//! | 4 | version, 1 |
//! | 4 | length of the header |
//! | | the header as JSON: [`Header`] |
//! | 4 a token | tokens |
//! | | for each attention layer keys, then values: the words of all pages |
//! | | for each convolution: the inputs of the positions that the next one reads, f32 |
//! | 8 | XXH3 (64 bits) of all bytes before |
//!
//! All numbers are little-endian. LFM2-8B-A1B with keys and values in f16 takes 12 KiB a token and 288 KiB.

use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::Engine;
use crate::error::Error;
use crate::formats::ByteSource;
use crate::gpu::Readback;
use crate::kernels::PAGE;
use crate::state::State;

const MAGIC: &[u8; 8] = b"LFM2KEPT";
const VERSION: u32 = 1;
/// Longest header that is read.
const MAX_HEADER: u32 = 4096;
/// Pages that are read from or written to the GPU at a time: 4 MB of a layer of LFM2-8B-A1B.
const PAGES: usize = 64;
/// Words at the beginning of each weight matrix that identify the model.
const SAMPLE: usize = 256;

/// Facts that a saved state and the engine must agree on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    /// Hash of the configuration and of the beginnings of all weight matrices.
    model: String,
    /// Format of keys and values.
    kv: String,
    /// Positions.
    tokens: usize,
    /// Words of a page of keys.
    page_words: usize,
    /// Pools of keys and of values.
    pools: usize,
    /// Convolutions.
    convolutions: usize,
    /// Elements of a snapshot in one convolution.
    snapshot: usize,
}

impl Engine {
    /// Writes the cached state of the longest prefix of `tokens`, in pieces, and returns its length in tokens: 0, and
    /// nothing is written, if nothing of it is cached.
    ///
    /// # Errors
    /// [`Error::SavedState`] with the error of `write`, under the name `file`; [`Error::Gpu`].
    pub async fn save(
        &self,
        tokens: &[u32],
        file: &str,
        write: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<usize, Error> {
        let state = &self.runner().state;
        let model = self.fingerprint().await?;
        let columns = state.snapshot_range(0).len();
        let mut kept: Vec<Readback> = Vec::new();
        for _ in &state.rings {
            kept.push(self.device().readback_for::<f32>(columns).await?);
        }
        self.step_ends().await;
        let leased = {
            let mut scheduler = self.scheduler();
            let hit = scheduler.lease_prefix(tokens);
            if let Some(hit) = &hit {
                // Later steps may write the snapshot. They come after this submission, since the scheduler is locked.
                let mut encoder = self.device().encoder();
                for (ring, target) in state.rings.iter().zip(&kept) {
                    encoder.gather(ring, &[state.snapshot_range(hit.snapshot)], target);
                }
                encoder.submit();
            }
            hit
        };
        let Some(hit) = leased else { return Ok(0) };
        let pages = hit.pages.iter().chain(&hit.partial).copied().collect();
        let lease = Lease { engine: self, pages, snapshot: None };
        let header = self.header(model, hit.position);
        let mut writer = Writer { hash: XxHash3_64::with_seed(0), write, file };
        let tokens = &tokens[..hit.position];
        self.write_state(&mut writer, &header, tokens, &lease.pages, &kept).await?;
        Ok(hit.position)
    }

    async fn write_state(
        &self,
        writer: &mut Writer<'_>,
        header: &Header,
        tokens: &[u32],
        pages: &[u32],
        kept: &[Readback],
    ) -> Result<(), Error> {
        let state = &self.runner().state;
        let json = serde_json::to_vec(header).unwrap_or_default();
        writer.put(MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        writer.put(&(json.len() as u32).to_le_bytes())?;
        writer.put(&json)?;
        writer.put_words(tokens)?;
        let words = PAGES.min(pages.len()) * state.page_words();
        let target = self.device().readback_for::<u32>(words).await?;
        for pool in state.pools() {
            for pages in pages.chunks(PAGES) {
                let mut encoder = self.device().encoder();
                let ranges: Vec<_> = pages.iter().flat_map(|p| state.ranges(pool, *p)).collect();
                encoder.gather(pool, &ranges, &target);
                let read = target.read::<u32>(Some(&encoder.submit())).await?;
                writer.put_words(&read[..pages.len() * state.page_words()])?;
            }
        }
        for columns in kept {
            writer.put_words(&columns.read::<u32>(None).await?[..header.snapshot])?;
        }
        let hash = writer.hash.clone();
        writer.put(&hash.finish().to_le_bytes())
    }

    /// Reads a saved state into the prefix cache, and returns its length in tokens. A prompt that begins with these
    /// tokens continues from there. An invalid file changes nothing.
    ///
    /// # Errors
    /// [`Error::SavedState`] for a file of another model, format or version, a damaged one, and one that does not fit
    /// the engine's memory; [`Error::Source`], [`Error::Gpu`].
    pub async fn restore(&self, source: &dyn ByteSource) -> Result<usize, Error> {
        let mut reader = Reader { source, at: 0, hash: XxHash3_64::with_seed(0) };
        let header = reader.header().await?;
        let expected = self.header(self.fingerprint().await?, header.tokens);
        if header.model != expected.model {
            return Err(reader.wrong("is the state of another model"));
        }
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
        let numbers = header.tokens
            + pages * header.page_words * header.pools
            + header.snapshot * header.convolutions;
        if header.tokens == 0 || source.len() != reader.at + 4 * numbers as u64 + 8 {
            return Err(reader.wrong("does not have the length that its header says"));
        }
        let tokens = reader.words(header.tokens).await?;
        self.step_ends().await;
        let lease = self.scheduler().lease_state(pages);
        let Some((pages, snapshot)) = lease else {
            let problem =
                "does not fit the memory of keys and values beside the answers in progress";
            return Err(reader.wrong(problem));
        };
        let lease = Lease { engine: self, pages, snapshot: Some(snapshot) };
        self.read_state(&mut reader, &header, &lease.pages, snapshot).await?;
        lease.adopt(&tokens);
        Ok(header.tokens)
    }

    async fn read_state(
        &self,
        reader: &mut Reader<'_>,
        header: &Header,
        pages: &[u32],
        snapshot: u32,
    ) -> Result<(), Error> {
        let (device, state) = (self.device(), &self.runner().state);
        for pool in state.pools() {
            for pages in pages.chunks(PAGES) {
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
            let words = reader.words(header.snapshot).await?;
            device.write(&ring.words(), state.snapshot_range(snapshot).start, &words);
        }
        let hash = reader.hash.clone().finish();
        let mut stored = [0; 8];
        reader.source.read_at(reader.at, &mut stored).await?;
        if u64::from_le_bytes(stored) != hash {
            return Err(reader.wrong("is damaged: its checksum differs"));
        }
        device.check()?;
        Ok(())
    }

    fn header(&self, model: String, tokens: usize) -> Header {
        let state: &State = &self.runner().state;
        Header {
            model,
            kv: state.kv_format.option().to_owned(),
            tokens,
            page_words: state.page_words(),
            pools: 2 * state.kv.len(),
            convolutions: state.rings.len(),
            snapshot: state.snapshot_range(0).len(),
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
        for part in self.runner().weights.matrices().into_iter().flat_map(|m| &m.parts) {
            let len = SAMPLE.min(part.data.len());
            let words = self.device().read_range(&part.data, 0, len).await?;
            hash.write(part.format.name().as_bytes());
            hash.write(bytemuck::cast_slice(&words));
        }
        let made = format!("{:016x}", hash.finish());
        Ok(self.inner.fingerprint.get_or_init(|| made).clone())
    }
}

/// Pages in use by a copy, and the snapshot of one that is read. Dropping it gives them back.
struct Lease<'a> {
    engine: &'a Engine,
    pages: Vec<u32>,
    snapshot: Option<u32>,
}

impl Lease<'_> {
    /// Keeps the state as that of `tokens`.
    fn adopt(mut self, tokens: &[u32]) {
        if let Some(snapshot) = self.snapshot.take() {
            self.engine.scheduler().adopt(tokens, &self.pages, snapshot);
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.engine.scheduler().end_state(&self.pages, self.snapshot);
        self.engine.wake();
    }
}

/// Hashes bytes and passes them on.
struct Writer<'a> {
    hash: XxHash3_64,
    write: &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    file: &'a str,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hash.write(bytes);
        (self.write)(bytes).map_err(|e| Error::SavedState {
            file: self.file.to_owned(),
            problem: format!("cannot write it: {e}"),
        })
    }

    fn put_words(&mut self, words: &[u32]) -> Result<(), Error> {
        self.put(bytemuck::cast_slice(words))
    }
}

/// Reads and hashes bytes in order.
struct Reader<'a> {
    source: &'a dyn ByteSource,
    at: u64,
    hash: XxHash3_64,
}

impl Reader<'_> {
    async fn bytes(&mut self, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        self.source.read_at(self.at, &mut bytes).await?;
        self.hash.write(&bytes);
        self.at += len as u64;
        Ok(bytes)
    }

    async fn words(&mut self, len: usize) -> Result<Vec<u32>, Error> {
        Ok(bytemuck::pod_collect_to_vec(&self.bytes(4 * len).await?))
    }

    async fn header(&mut self) -> Result<Header, Error> {
        let whole = 16;
        if self.source.len() < whole || self.bytes(8).await? != MAGIC {
            return Err(self.wrong("is not a saved state"));
        }
        let words = self.words(2).await?;
        if words[0] != VERSION {
            let problem = format!("has version {}, this program reads version {VERSION}", words[0]);
            return Err(self.wrong(&problem));
        }
        let length = words[1];
        if length > MAX_HEADER || u64::from(length) > self.source.len() - self.at {
            return Err(self.wrong("has a header that is too long"));
        }
        let json = self.bytes(length as usize).await?;
        serde_json::from_slice(&json)
            .map_err(|e| self.wrong(&format!("has an invalid header: {e}")))
    }

    fn wrong(&self, problem: &str) -> Error {
        Error::SavedState { file: self.source.name().to_owned(), problem: problem.to_owned() }
    }
}
