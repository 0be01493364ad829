//! A model's files as they are on the hub, of which only what is read is fetched: their headers.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use super::api::RemoteFile;
use super::http::{Failure, Http, Patience, passing, text_header};
use super::{Hub, HubError, HubName, Plan};
use crate::formats::source::{BoxFuture, check_range};
use crate::formats::{ByteSource, ModelFiles, SourceError};

/// Bytes that are fetched at first, and the most of one file.
const FIRST: u64 = 256 << 10;
const MOST: u64 = 64 << 20;

impl Hub {
    /// The files of a plan, to be looked at before they are fetched. Nothing of them is kept, and of
    /// each no more can be read than its beginning.
    #[must_use]
    pub fn remote_files(&self, plan: &Plan) -> ModelFiles {
        let sources = plan.files.iter().map(|file| {
            let source = Remote {
                http: self.http.clone(),
                name: plan.name.clone(),
                url: self.http.file_url(&plan.name, &plan.commit, &file.name),
                file: file.clone(),
                beginning: Mutex::default(),
            };
            let plain = file.name.rsplit('/').next().unwrap_or(&file.name).to_owned();
            (plain, Arc::new(source) as Arc<dyn ByteSource>)
        });
        ModelFiles::from_sources(&plan.name.to_string(), sources)
    }
}

struct Remote {
    http: Arc<Http>,
    name: HubName,
    url: String,
    file: RemoteFile,
    beginning: Mutex<Vec<u8>>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.file.name).finish()
    }
}

impl Remote {
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        let failed = |error: std::io::Error| SourceError::Io {
            file: self.file.name.clone(),
            action: "read",
            error,
        };
        check_range(self, offset, buf.len() as u64)?;
        let end = offset + buf.len() as u64;
        if end > MOST {
            return Err(failed(std::io::ErrorKind::Unsupported.into()));
        }
        let mut beginning = self.beginning.lock().unwrap_or_else(PoisonError::into_inner);
        let have = beginning.len() as u64;
        if end > have {
            // Twice as much each time: a header does not tell how long it is before it is read.
            let wanted = end.max(2 * have).clamp(FIRST, MOST).min(self.file.size);
            let more = self.fetch(have, wanted - have);
            beginning.extend(more.map_err(|e| failed(std::io::Error::other(e.to_string())))?);
        }
        let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
        match range.and_then(|(from, to)| beginning.get(from..to)) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => return Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
        }
        Ok(())
    }

    fn fetch(&self, from: u64, len: u64) -> Result<Vec<u8>, HubError> {
        let mut patience = Patience::new();
        loop {
            match self.part(from, len) {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => {
                    patience.wait(&self.url, failure, &mut |why| log::warn!("{why}"))?;
                }
            }
        }
    }

    /// The connection is given up behind the wanted bytes.
    fn part(&self, from: u64, len: u64) -> Result<Vec<u8>, Failure> {
        let answer = self.http.request(false, &self.url, from, |_| false)?;
        let starts_there = text_header(&answer.headers, "content-range")
            .is_some_and(|range| range.starts_with(&format!("bytes {from}-")));
        let skipped = match answer.status {
            206 if starts_there => 0,
            // A server without ranges sends the file from its first byte.
            200 => from,
            206 | 416 => return Err(passing(&"the server sends another part than asked for")),
            _ => return Err(self.http.refusal(&self.name, &self.file.name, &answer)),
        };
        let mut reader = answer.body.into_with_config().limit(u64::MAX).reader();
        let mut bytes = Vec::new();
        let skip = std::io::copy(&mut (&mut reader).take(skipped), &mut std::io::sink());
        let read = skip.and_then(|_| (&mut reader).take(len).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 == len => Ok(bytes),
            Ok(n) => Err(passing(&format!("the connection ended after {n} of {len} bytes"))),
            Err(e) => Err(passing(&e)),
        }
    }
}

impl ByteSource for Remote {
    fn len(&self) -> u64 {
        self.file.size
    }

    fn name(&self) -> &str {
        &self.file.name
    }

    fn read_at<'a>(
        &'a self,
        offset: u64,
        buf: &'a mut [u8],
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move { self.read(offset, buf) })
    }
}
