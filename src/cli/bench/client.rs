//! A client of a server of OpenAI's API: finds its model and its tokens, and times streamed answers.

use std::io::{BufReader, Read};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::RequestBuilder;
use ureq::http::{Response, StatusCode, header};

use super::events::{AnswerTimes, Failure, Sample, error_message, next_event};
use super::prompts::{Prompts, WORDS};
use crate::cli::error::CliError;
use crate::formats::one_line;
use crate::hub;

/// Longest time in which a server may send nothing, as in OpenAI's clients.
const SILENCE: Duration = Duration::from_secs(600);
/// Connections that are kept for further requests.
const IDLE: usize = 1024;
/// Most bytes of a reply that is no stream.
const LONGEST_REPLY: u64 = 16 << 20;

/// A server that can be measured.
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    /// The URL without `/v1`.
    root: String,
    key: Option<String>,
    model: String,
    prompts: Prompts,
}

/// A request for one answer.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub prompt_tokens: usize,
    pub output_tokens: usize,
    /// First tokens of the prompt that all prompts share.
    pub shared: usize,
    pub seed: u64,
    /// Tells prompts apart.
    pub number: u64,
}

impl Client {
    /// Connects to a server. Without a name, the model is the first that the server lists.
    pub fn connect(
        url: &str,
        key: Option<String>,
        model: Option<String>,
    ) -> Result<Self, CliError> {
        hub::parse_url(url)
            .map_err(|problem| CliError::User(format!("--serve {url}: {problem}")))?;
        let root = url.trim_end_matches('/');
        let root = root.strip_suffix("/v1").unwrap_or(root).trim_end_matches('/').to_owned();
        if key.as_ref().is_some_and(|key| !key.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(CliError::User("--api-key: is no key".to_owned()));
        }
        let config = hub::config(SILENCE)?
            .max_idle_connections(IDLE)
            .max_idle_connections_per_host(IDLE)
            .build();
        let agent = config.new_agent();
        let mut client =
            Self { agent, root, key, model: model.unwrap_or_default(), prompts: Prompts::Words };
        if client.model.is_empty() {
            client.model = client.first_model()?;
        }
        client.prompts = client.prompts_of_server()?;
        Ok(client)
    }

    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether prompts have exactly as many tokens as wanted.
    pub fn counts_tokens(&self) -> bool {
        matches!(self.prompts, Prompts::Ids(_))
    }

    fn first_model(&self) -> Result<String, CliError> {
        let models = self.get("/v1/models").map_err(|failure| self.refused(&failure))?;
        let first = models.pointer("/data/0/id").and_then(Value::as_str);
        first.map(str::to_owned).ok_or_else(|| CliError::Advised {
            problem: format!("--serve {}: the server lists no model", self.root),
            tip: "name one: --served-model NAME".to_owned(),
        })
    }

    /// Tokens by `/tokenize`, with the field of vLLM or of llama-server. Without special tokens, both serve a text.
    fn prompts_of_server(&self) -> Result<Prompts, CliError> {
        let of_vllm = json!({ "model": self.model, "prompt": WORDS, "add_special_tokens": false });
        for request in [of_vllm, json!({ "content": WORDS })] {
            let reply = match self.post("/tokenize", &request) {
                Ok(response) if response.status().is_success() => read_json(response),
                Err(failure @ Failure::Unreachable(_)) => return Err(self.refused(&failure)),
                _ => continue,
            };
            let ids = reply.ok().and_then(|mut reply| {
                let ids = reply.get_mut("tokens").map(Value::take)?;
                serde_json::from_value(ids).ok()
            });
            if let Prompts::Ids(ids) = Prompts::of_ids(ids.unwrap_or_default()) {
                return Ok(Prompts::Ids(ids));
            }
        }
        Ok(Prompts::Words)
    }

    /// The error of a server that cannot be measured at all.
    fn refused(&self, failure: &Failure) -> CliError {
        let problem = format!("--serve {}: {failure}", self.root);
        match failure {
            Failure::Status { status: 401 | 403, .. } => CliError::Advised {
                problem,
                tip: "give the server's key: --api-key KEY, or the variable LFM2_API_KEY"
                    .to_owned(),
            },
            _ => CliError::User(problem),
        }
    }

    fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = self.agent.get(format!("{}{path}", self.root));
        let response =
            self.with_key(request).call().map_err(|e| Failure::Unreachable(one_line(&e)))?;
        if response.status() == StatusCode::OK {
            read_json(response)
        } else {
            Err(status(response))
        }
    }

    fn with_key<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header(header::AUTHORIZATION, format!("Bearer {key}")),
            None => request,
        }
    }

    fn post(&self, path: &str, body: &Value) -> Result<Response<ureq::Body>, Failure> {
        let request = self.agent.post(format!("{}{path}", self.root));
        let request = self.with_key(request).header(header::CONTENT_TYPE, "application/json");
        request.send(body.to_string()).map_err(|e| Failure::Unreachable(one_line(&e)))
    }

    /// Requests an answer and reads it to its end. Times count from `began`.
    pub fn answer(&self, wanted: Wanted, began: Instant) -> Result<Sample, Failure> {
        let Wanted { prompt_tokens, output_tokens, shared, seed, number } = wanted;
        let body = json!({
            "model": self.model,
            "prompt": self.prompts.prompt(prompt_tokens, shared, seed, number),
            "max_tokens": output_tokens,
            "temperature": 0,
            "seed": seed,
            "ignore_eos": true,
            "stream": true,
            "stream_options": { "include_usage": true, "continuous_usage_stats": true },
        });
        let response = self.post("/v1/completions", &body)?;
        if response.status() != StatusCode::OK {
            return Err(status(response));
        }
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut stream = BufReader::new(body);
        let mut times = AnswerTimes::default();
        loop {
            // An error of the connection ends the stream as its end does.
            let data = next_event(&mut stream).ok().flatten().ok_or(Failure::Cut)?;
            if times.event(&data, began.elapsed().as_secs_f64())? {
                break;
            }
        }
        // The end of the body, behind which the connection takes another request.
        let _ = std::io::copy(&mut stream.take(LONGEST_REPLY), &mut std::io::sink());
        times.end()
    }
}

fn text(response: Response<ureq::Body>) -> String {
    let body = response.into_body().into_with_config().limit(LONGEST_REPLY);
    body.lossy_utf8(true).read_to_string().unwrap_or_default()
}

fn read_json(response: Response<ureq::Body>) -> Result<Value, Failure> {
    serde_json::from_str(&text(response)).map_err(|e| Failure::Malformed(one_line(&e)))
}

/// The failure of a reply with an error.
fn status(response: Response<ureq::Body>) -> Failure {
    let status = response.status().as_u16();
    let text = text(response);
    let message = match serde_json::from_str::<Value>(&text) {
        Ok(reply) => error_message(reply.get("error").unwrap_or(&reply)),
        Err(_) => one_line(&text),
    };
    Failure::Status { status, message }
}
