//! Saved states as files: the header, and the reading and writing of the rest.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `LFM2KEPT` |
//! | 4 | version, 2 |
//! | 4 | length of the header |
//! | | the header as JSON: [`StateHeader`] |
//! | 4 a token | tokens |
//! | | for each attention layer keys, then values: the words of all pages |
//! | | for each convolution and each of `snapshots`: the inputs of the positions that the next one reads, f32 |
//! | 8 | XXH3 (64 bits) of all bytes before |
//!
//! All numbers are little-endian. LFM2-8B-A1B with keys and values in f16 takes 12 KiB a token and 288 KiB
//! a snapshot.

use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::error::Error;
use crate::formats::{ByteSource, one_line};
use crate::kernels::PAGE;

const MAGIC: &[u8; 8] = b"LFM2KEPT";
const VERSION: u32 = 2;
/// Most snapshots of a file.
pub(super) const MAX_SNAPSHOTS: usize = 32;
/// Longest header that is read.
const MAX_HEADER: u32 = 4096;

/// Facts that a saved state and the engine must agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateHeader {
    /// Hash of the configuration and of the beginnings of all weight matrices.
    pub model: String,
    /// Hash and scale of the LoRA adapter that it was computed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<String>,
    /// Format of keys and values.
    pub kv: String,
    /// Positions.
    pub tokens: usize,
    /// Words of a page of keys.
    pub page_words: usize,
    /// Pools of keys and of values.
    pub pools: usize,
    /// Convolutions.
    pub convolutions: usize,
    /// Elements of a snapshot in one convolution.
    pub snapshot: usize,
    /// Positions where the state can be continued, in order: ends of pages, and the end.
    pub snapshots: Vec<usize>,
}

impl StateHeader {
    /// Reads a file's header, and checks that the file has the length that it says.
    ///
    /// # Errors
    /// [`Error::SavedState`] for a file that is not a saved state, has another version or another length;
    /// [`Error::Source`].
    pub async fn read(source: &dyn ByteSource) -> Result<Self, Error> {
        Ok(Reader::open(source).await?.1)
    }

    /// Whether the positions are those of a state of so many tokens.
    fn has_snapshots(&self) -> bool {
        let at = &self.snapshots;
        let [inside @ .., last] = &at[..] else { return false };
        at.len() <= MAX_SNAPSHOTS
            && *last == self.tokens
            && at.is_sorted_by(|a, b| a < b)
            && inside.iter().all(|end| *end > 0 && end.is_multiple_of(PAGE as usize))
    }

    /// Bytes of the file behind its header; `None` if no file can be so long.
    fn rest(&self) -> Option<u64> {
        let pages = self.tokens.div_ceil(PAGE as usize).checked_mul(self.page_words)?;
        let kept =
            self.snapshot.checked_mul(self.convolutions)?.checked_mul(self.snapshots.len())?;
        let words = pages.checked_mul(self.pools)?.checked_add(kept)?.checked_add(self.tokens)?;
        u64::try_from(words).ok()?.checked_mul(4)?.checked_add(8)
    }
}

/// Hashes bytes and passes them on.
pub(super) struct Writer<'a> {
    hash: XxHash3_64,
    write: &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    file: &'a str,
}

impl<'a> Writer<'a> {
    /// Writes a header. `file` is the name of the file in errors.
    pub fn begin(
        file: &'a str,
        write: &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>,
        header: &StateHeader,
    ) -> Result<Self, Error> {
        let mut writer = Self { hash: XxHash3_64::with_seed(0), write, file };
        let json = serde_json::to_vec(header).unwrap_or_default();
        writer.put(MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        writer.put(&(json.len() as u32).to_le_bytes())?;
        writer.put(&json)?;
        Ok(writer)
    }

    pub fn words(&mut self, words: &[u32]) -> Result<(), Error> {
        self.put(bytemuck::cast_slice(words))
    }

    /// Writes the checksum.
    pub fn end(mut self) -> Result<(), Error> {
        let hash = self.hash.finish();
        self.put(&hash.to_le_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hash.write(bytes);
        (self.write)(bytes).map_err(|e| Error::SavedState {
            file: self.file.to_owned(),
            problem: format!("cannot write it: {e}"),
        })
    }
}

/// Reads and hashes bytes in order.
pub(super) struct Reader<'a> {
    source: &'a dyn ByteSource,
    at: u64,
    hash: XxHash3_64,
}

impl<'a> Reader<'a> {
    /// Reads the header; see [`StateHeader::read`].
    pub async fn open(source: &'a dyn ByteSource) -> Result<(Self, StateHeader), Error> {
        let mut reader = Self { source, at: 0, hash: XxHash3_64::with_seed(0) };
        if source.len() < 16 || reader.bytes(8).await? != MAGIC {
            return Err(reader.wrong("is not a saved state"));
        }
        let words = reader.words(2).await?;
        if words[0] != VERSION {
            let problem = format!("has version {}, this program reads version {VERSION}", words[0]);
            return Err(reader.wrong(&problem));
        }
        let length = words[1];
        if length > MAX_HEADER || u64::from(length) > source.len() - reader.at {
            return Err(reader.wrong("has a header that is too long"));
        }
        let json = reader.bytes(length as usize).await?;
        let header: StateHeader = serde_json::from_slice(&json)
            .map_err(|e| reader.wrong(&format!("has an invalid header: {}", one_line(&e))))?;
        if !header.has_snapshots() {
            return Err(reader.wrong("has a header with impossible snapshots"));
        }
        if header.tokens == 0 || header.rest() != Some(source.len() - reader.at) {
            return Err(reader.wrong("does not have the length that its header says"));
        }
        Ok((reader, header))
    }

    pub async fn words(&mut self, len: usize) -> Result<Vec<u32>, Error> {
        Ok(bytemuck::pod_collect_to_vec(&self.bytes(4 * len).await?))
    }

    /// Compares the checksum behind all words.
    pub async fn end(self) -> Result<(), Error> {
        let mut stored = [0; 8];
        self.source.read_at(self.at, &mut stored).await?;
        if u64::from_le_bytes(stored) == self.hash.finish() {
            return Ok(());
        }
        Err(self.wrong("is damaged: its checksum differs"))
    }

    pub fn wrong(&self, problem: &str) -> Error {
        Error::SavedState { file: self.source.name().to_owned(), problem: problem.to_owned() }
    }

    async fn bytes(&mut self, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        self.source.read_at(self.at, &mut bytes).await?;
        self.hash.write(&bytes);
        self.at += len as u64;
        Ok(bytes)
    }
}
