//! `lfm2 batch`: answers a file of requests, many at once.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use indicatif::ProgressBar;
use serde_json::Value;

use super::error::CliError;
use super::input::read_file;
use super::options::Common;
use super::{interrupt, load, loras, progress};
use crate::api::{BatchAnswers, BatchRequest, ChatRequest, ReplyHead, error_json};
use crate::engine::{Completed, Delta, Engine, Generation};

/// Requests that are begun for each one that runs, so that another takes a free slot at once.
const QUEUED: usize = 2;
/// Bytes of the largest file that is read.
const MOST_BYTES: u64 = 1 << 30;
/// Time between two figures of the speed.
const SPEED: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Batch {
    /// One request per line: {"custom_id": "...", "url": "/v1/chat/completions", "body": {...}}
    #[arg(value_name = "INPUT.jsonl", env = "LFM2_BATCH_INPUT")]
    input: PathBuf,
    /// The answers, one per line, in the order in which they end
    #[arg(value_name = "OUTPUT.jsonl", env = "LFM2_BATCH_OUTPUT")]
    output: PathBuf,
    /// Answers generated at once
    #[arg(long, value_name = "N", default_value_t = 8, env = "LFM2_PARALLEL",
        value_parser = clap::value_parser!(u32).range(1..=256))]
    parallel: u32,
}

const NOTES: &str = "\
The files have the format of OpenAI's Batch API. In a body, `model` names the loaded model or a LoRA \
adapter; `lora` names an adapter. Both are optional; without them, the first --lora is used. For a \
request that is invalid or too long, OUTPUT gets a line with the error and status 400.
To continue an interrupted run, repeat the command: it answers only the requests that have no answer in \
OUTPUT yet. If the last line of OUTPUT is incomplete, its request is answered again.

Examples:
  lfm2 batch requests.jsonl answers.jsonl
  lfm2 -m MODEL.gguf batch requests.jsonl answers.jsonl --parallel 32";

/// A request that the engine answers.
struct Running {
    request: BatchRequest,
    generation: Generation,
    /// The name of the model or the adapter that answers.
    model: String,
    answer: Completed,
}

impl Running {
    /// Waits for the next step of the answer.
    async fn next(mut self) -> (Self, Option<Result<Delta, crate::Error>>) {
        let delta = self.generation.next().await;
        (self, delta)
    }
}

impl Batch {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let input = self.input.display().to_string();
        let requests = BatchRequest::read_all(&read_file(&self.input, MOST_BYTES)?, &input)?;
        let (output, answered) = Output::open(&self.output, &input, &requests)?;
        let todo: VecDeque<BatchRequest> =
            requests.into_iter().filter(|r| !answered.contains(&r.custom_id)).collect();
        if !answered.is_empty() && !common.quiet {
            eprintln!("{} requests were answered before, {} are left", answered.len(), todo.len());
        }
        if todo.is_empty() {
            return Ok(());
        }
        let model = load::open(common)?;
        let engine = load::engine_of(model, common, |builder| builder.sequences(self.parallel))?;
        let bar =
            progress::bar(common, todo.len() as u64, "batch [{bar:32}] {pos}/{len} {msg} {eta}");
        let most = self.parallel as usize * QUEUED;
        let mut run = Run { engine, output, bar, tokens: 0, failed: 0, began: Instant::now() };
        let total = todo.len();
        let done = pollster::block_on(run.all(todo, most));
        run.bar.finish_and_clear();
        done?;
        if !common.quiet {
            let seconds = run.began.elapsed().as_secs_f64();
            eprintln!(
                "{total} requests, {} of them failed; {} tokens in {seconds:.1} s, {:.1} tokens/s",
                run.failed,
                run.tokens,
                run.tokens as f64 / seconds.max(1e-9)
            );
        }
        Ok(())
    }
}

/// The state of a run.
struct Run {
    engine: Engine,
    output: Output,
    bar: ProgressBar,
    tokens: u64,
    failed: u64,
    began: Instant,
}

impl Run {
    /// Answers all requests, at most `most` of them begun at a time.
    async fn all(&mut self, mut todo: VecDeque<BatchRequest>, most: usize) -> Result<(), CliError> {
        let mut running = FuturesUnordered::new();
        let mut shown = Instant::now();
        loop {
            while running.len() < most
                && let Some(request) = todo.pop_front()
            {
                if let Some(started) = self.start(request)? {
                    running.push(started.next());
                }
            }
            let Some((one, delta)) = running.next().await else { return Ok(()) };
            if interrupt::requested() {
                return Err(CliError::Interrupted);
            }
            match delta {
                Some(delta) => {
                    if let Some(one) = self.step(one, delta)? {
                        running.push(one.next());
                    }
                }
                None => self.end(one)?,
            }
            if shown.elapsed() > SPEED {
                shown = Instant::now();
                let speed = self.tokens as f64 / self.began.elapsed().as_secs_f64();
                self.bar.set_message(format!("{speed:.1} tokens/s"));
            }
        }
    }

    /// Starts an answer; a request that is refused is done.
    fn start(&mut self, request: BatchRequest) -> Result<Option<Running>, CliError> {
        match self.generation(&request.body) {
            Ok((generation, model)) => {
                let answer = Completed::default();
                Ok(Some(Running { request, generation, model, answer }))
            }
            Err(error) => {
                self.refuse(&request, error)?;
                Ok(None)
            }
        }
    }

    /// The answer to a request, and the name of its model.
    fn generation(&self, body: &str) -> Result<(Generation, String), crate::Error> {
        let wrong = |field: &str, problem: String| crate::Error::Request {
            field: field.to_owned(),
            problem,
        };
        let mut request = ChatRequest::from_json(body)?;
        if request.streaming.stream {
            return Err(wrong("stream", "is not possible in a batch: leave it out".to_owned()));
        }
        let name = self.engine.name();
        let served = request.reply_model(&self.engine);
        if let Some(model) = request.model.as_ref().filter(|model| **model != served) {
            let problem = format!("is {model:?}, the loaded model is {name:?}: leave it out");
            return Err(wrong("model", problem));
        }
        request.set_default_lora(loras::first(&self.engine));
        Ok((self.engine.chat(&request)?, served))
    }

    /// Takes a step of an answer. Returns the answer, unless it has failed.
    fn step(
        &mut self,
        mut one: Running,
        delta: Result<Delta, crate::Error>,
    ) -> Result<Option<Running>, CliError> {
        let delta = match delta {
            Ok(delta) => delta,
            Err(error) => {
                self.refuse(&one.request, error)?;
                return Ok(None);
            }
        };
        self.tokens += u64::from(delta.token.is_some());
        one.answer.append(delta);
        Ok(Some(one))
    }

    fn end(&mut self, mut one: Running) -> Result<(), CliError> {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        one.answer.finish = one.generation.finish_reason();
        one.answer.timings = one.generation.timings();
        let head = ReplyHead { id: one.request.id.clone(), created, model: one.model };
        let body = self.engine.completion(&head, &[one.answer]);
        self.write(&one.request, 200, &body)
    }

    /// Writes the error of a request. A fault of the model or the engine ends the run instead: the next run answers
    /// the request.
    fn refuse(&mut self, request: &BatchRequest, error: crate::Error) -> Result<(), CliError> {
        let status = match &error {
            crate::Error::NotFinite { .. } => 500,
            other if matches!(other.code(), "invalid_request" | "context_full") => 400,
            _ => return Err(error.into()),
        };
        self.failed += 1;
        self.write(request, status, &error_json(&error))
    }

    fn write(&mut self, request: &BatchRequest, status: u16, body: &Value) -> Result<(), CliError> {
        self.bar.inc(1);
        self.output.append(&request.answer(status, body))
    }
}

/// The output file. Each line is written whole.
struct Output {
    file: File,
    path: PathBuf,
}

impl Output {
    /// Opens the output, cuts off an incomplete last line, and returns the ids of the requests that it answers. It
    /// must answer these requests and no others.
    fn open(
        path: &Path,
        input: &str,
        requests: &[BatchRequest],
    ) -> Result<(Self, BTreeSet<String>), CliError> {
        let error = |e: &std::io::Error| CliError::file(path, "write", e);
        if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let problem = "exists and is not a regular file; choose another name";
            return Err(CliError::User(format!("{}: {problem}", path.display())));
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(|e| error(&e))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let problem = "another run writes it now";
            return Err(CliError::User(format!("{}: {problem}", path.display())));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| CliError::file(path, "read", &e))?;
        let name = path.display().to_string();
        let BatchAnswers { answered, bytes: whole } =
            BatchAnswers::read(&bytes, &name, requests, input)?;
        file.set_len(whole as u64).map_err(|e| error(&e))?;
        file.seek(SeekFrom::End(0)).map_err(|e| error(&e))?;
        Ok((Self { file, path: path.to_owned() }, answered))
    }

    fn append(&mut self, line: &Value) -> Result<(), CliError> {
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        written.map_err(|e| CliError::file(&self.path, "write", &e))
    }
}
