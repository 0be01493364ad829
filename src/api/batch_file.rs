//! OpenAI's batch files: requests in, answers out, a line for each.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::formats::one_line;
use crate::formats::package::hex;

/// Beginning of each line of answers.
const BEGINNING: &[u8] = b"{\"id\":\"batch_req_";

/// A line of the requests as it is written.
#[derive(Deserialize)]
struct Line<'a> {
    custom_id: Option<String>,
    method: Option<String>,
    url: Option<String>,
    /// The text, so that numbers of any length stay exact.
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// A request of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRequest {
    /// Its name by the caller, which no other request of the batch has.
    pub custom_id: String,
    /// Its name in the answers: a hash of `custom_id` and body.
    pub id: String,
    /// The chat request as JSON; see [`ChatRequest::from_json`](super::ChatRequest::from_json).
    pub body: String,
}

impl BatchRequest {
    /// Reads the requests in `text`, the content of `file`. Empty lines are skipped. Bodies are not read.
    ///
    /// # Errors
    /// [`Error::BatchFile`] with the number of the first line that is not a request, or that has the `custom_id` of
    /// another; also for a file without requests.
    pub fn read_all(text: &str, file: &str) -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |problem: String| wrong(file, Some(number), problem);
            let line: Line<'_> = serde_json::from_str(line)
                .map_err(|e| wrong(format!("not a request as JSON: {}", one_line(&e))))?;
            let Some(custom_id) = line.custom_id else {
                return Err(wrong("custom_id: is missing, need a text".to_owned()));
            };
            if let Some(first) = seen.insert(custom_id.clone(), number) {
                return Err(wrong(format!("custom_id: {custom_id:?} is that of line {first} too")));
            }
            for (key, given, need) in
                [("method", line.method, "POST"), ("url", line.url, "/v1/chat/completions")]
            {
                if let Some(given) = given.filter(|given| given != need) {
                    return Err(wrong(format!("{key}: is {given:?}, need {need:?}")));
                }
            }
            let Some(body) = line.body.map(|body| body.get().to_owned()) else {
                return Err(wrong("body: is missing, need an object".to_owned()));
            };
            let hash = Sha256::digest(json!([custom_id, body]).to_string().as_bytes());
            all.push(Self { custom_id, id: hex(&hash[..12]), body });
        }
        if all.is_empty() {
            return Err(wrong(file, None, "has no requests".to_owned()));
        }
        Ok(all)
    }

    /// The line of its answer: `body` is a completion, or an error as in OpenAI's API.
    #[must_use]
    pub fn answer(&self, status: u16, body: &Value) -> Value {
        json!({
            "id": format!("batch_req_{}", self.id),
            "custom_id": self.custom_id,
            "response": { "status_code": status, "request_id": self.id, "body": body },
            "error": null,
        })
    }
}

/// The answers that an interrupted run has written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchAnswers {
    /// `custom_id`s of the requests that they answer.
    pub answered: BTreeSet<String>,
    /// Bytes of the complete lines. An incomplete last line is to be cut off.
    pub bytes: usize,
}

impl BatchAnswers {
    /// Reads `bytes`, the content of `file`, which must answer requests of `requests` and no others. `input` is the
    /// name of the requests' file.
    ///
    /// # Errors
    /// [`Error::BatchFile`] with the number of the first line that does not.
    pub fn read(
        bytes: &[u8],
        file: &str,
        requests: &[BatchRequest],
        input: &str,
    ) -> Result<Self, Error> {
        let known: BTreeMap<&str, &str> =
            requests.iter().map(|r| (r.custom_id.as_str(), r.id.as_str())).collect();
        let mut all = Self::default();
        for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            let foreign = || {
                let problem = "is not a line of a batch's output; choose another output";
                wrong(file, Some(number), problem.to_owned())
            };
            let Some(complete) = line.strip_suffix(b"\n") else {
                if BEGINNING.starts_with(line) || line.starts_with(BEGINNING) {
                    break;
                }
                return Err(foreign());
            };
            let answer: Value = serde_json::from_slice(complete).map_err(|_| foreign())?;
            let custom_id = answer["custom_id"].as_str().unwrap_or_default();
            let id = answer["id"].as_str().and_then(|id| id.strip_prefix("batch_req_"));
            if id.is_none() || known.get(custom_id).copied() != id {
                let problem =
                    format!("answers a request that {input} does not have; choose another output");
                return Err(wrong(file, Some(number), problem));
            }
            all.answered.insert(custom_id.to_owned());
            all.bytes += line.len();
        }
        Ok(all)
    }
}

fn wrong(file: &str, line: Option<usize>, problem: String) -> Error {
    let file = match line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    };
    Error::BatchFile { file, problem }
}
