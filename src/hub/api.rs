//! The hub's list of a repository: its commit, its files, their hashes and lengths.

use serde::Deserialize;
use ureq::http::HeaderMap;

use super::http::{Answer, Http, Patience, Want, encode, passing, text_header};
use super::name::{is_hash, is_safe_path};
use super::{HubError, HubName};
use crate::formats::quoted;

/// Longest list that is read. That of a repository of 1000 files has 0.3 MB.
const MAX_LISTING: u64 = 32 << 20;

/// A file on the hub.
#[derive(Clone, Debug)]
pub(super) struct RemoteFile {
    /// Its path in the repository.
    pub(super) name: String,
    /// Hash of its content: 64 digits are a SHA-256, 40 digits are git's hash.
    pub(super) id: String,
    /// Its length in bytes.
    pub(super) size: u64,
}

/// A repository at a revision.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    /// The commit's hash.
    #[serde(rename = "sha")]
    pub(super) commit: String,
    #[serde(default)]
    pub(super) siblings: Vec<Sibling>,
}

/// A file in the hub's list.
#[derive(Debug, Deserialize)]
pub(super) struct Sibling {
    #[serde(rename = "rfilename")]
    pub(super) name: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Http {
    /// Requests the files of the name's revision.
    pub(super) fn listing(
        &self,
        name: &HubName,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Listing, HubError> {
        let url = format!(
            "{}/api/models/{}/revision/{}?blobs=true",
            self.endpoint(),
            name.id(),
            encode(name.revision())
        );
        let mut patience = Patience::first();
        let (shown, text) = loop {
            let answer =
                self.request(false, &url, Want::From(0), |_| false).and_then(|mut answer| {
                    if answer.status != 200 {
                        return Err(self.refusal(name, "", &answer));
                    }
                    let config = answer.body.with_config().limit(MAX_LISTING);
                    let text = config.read_to_vec().map_err(|e| passing(&e))?;
                    Ok((answer.url, text))
                });
            match answer {
                Ok(answer) => break answer,
                Err(failure) => patience.wait(self.endpoint(), failure, tell)?,
            }
        };
        let listing: Listing =
            serde_json::from_slice(&text).map_err(|e| HubError::reply(&shown, e))?;
        if !is_hash(&listing.commit, 40) {
            let problem = format!("its commit is {}", quoted(&listing.commit));
            return Err(HubError::reply(&shown, problem));
        }
        Ok(listing)
    }

    /// The hash and length of a file in the list.
    pub(super) fn remote_file(
        &self,
        name: &HubName,
        commit: &str,
        sibling: &Sibling,
        tell: &mut dyn FnMut(&str),
    ) -> Result<RemoteFile, HubError> {
        if !is_safe_path(&sibling.name) {
            let problem = format!("a file is called {}", quoted(&sibling.name));
            return Err(HubError::reply(self.endpoint(), problem));
        }
        let file =
            |id: &str, size| RemoteFile { name: sibling.name.clone(), id: id.to_owned(), size };
        if let Some(lfs) = &sibling.lfs {
            if let (Some(sha256), Some(size)) = (&lfs.sha256, lfs.size.or(sibling.size))
                && is_hash(sha256, 64)
            {
                return Ok(file(sha256, size));
            }
        } else if let (Some(id), Some(size)) = (&sibling.blob_id, sibling.size)
            && is_hash(id, 40)
        {
            return Ok(file(id, size));
        }
        // A hub without hashes in its list sends them for each file.
        let answer = self.head(name, commit, &sibling.name, tell)?;
        match identity(&answer) {
            Some((id, size)) => Ok(file(&id, size)),
            None => Err(HubError::NoHash {
                file: sibling.name.clone(),
                url: self.endpoint().to_owned(),
            }),
        }
    }

    fn head(
        &self,
        name: &HubName,
        commit: &str,
        file: &str,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Answer, HubError> {
        let url = self.file_url(name, commit, file);
        let mut patience = Patience::new();
        loop {
            let failure = match self.request(true, &url, Want::From(0), has_link) {
                Ok(answer) if answer.status < 400 => return Ok(answer),
                Ok(answer) => self.refusal(name, file, &answer),
                Err(failure) => failure,
            };
            patience.wait(self.endpoint(), failure, tell)?;
        }
    }

    /// URL of a file.
    pub(super) fn file_url(&self, name: &HubName, commit: &str, file: &str) -> String {
        let parts: Vec<_> = file.split('/').map(encode).collect();
        format!("{}/{}/resolve/{commit}/{}", self.endpoint(), name.id(), parts.join("/"))
    }
}

/// Whether a redirect already has the hash and length of its target.
fn has_link(headers: &HeaderMap) -> bool {
    headers.contains_key("x-linked-etag")
}

/// Hash and length from a response's headers, if the hub itself sent it.
fn identity(answer: &Answer) -> Option<(String, u64)> {
    let header = |name| text_header(&answer.headers, name);
    let etag = header("x-linked-etag").or_else(|| header("etag"))?;
    let id = etag.trim().trim_start_matches("W/").trim_matches('"');
    let size = header("x-linked-size").or_else(|| header("content-length"))?.parse().ok()?;
    let known = answer.from_hub && (is_hash(id, 64) || is_hash(id, 40));
    known.then(|| (id.to_owned(), size))
}
