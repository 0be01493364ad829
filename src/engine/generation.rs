//! An answer in progress, as its caller sees it.

use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use web_time::Instant;

use super::answer::{Completed, Delta, FinishReason, GenerateOptions, GenerateRequest};
use super::job::{Event, Job};
use super::sampling::random_seed;
use super::stepper::Command;
use super::{AllowedTokens, Engine, Timings};
use crate::error::Error;
use crate::schedule::SeqId;
use crate::text::{Answer, AnswerFormat, AnswerStream, Calls, SpecialTokens, StopStrings};

/// An answer in progress. The engine generates it without waiting for its reader. Dropping it stops it;
/// the engine keeps the state of the tokens that were read, if the answer is not more than some ten
/// tokens further.
pub struct Generation {
    /// Kept alive.
    engine: Engine,
    id: SeqId,
    events: UnboundedReceiver<Event>,
    /// Tokens that the reader has taken.
    taken: usize,
    timings: Timings,
    finish: Option<FinishReason>,
    ended: bool,
}

impl Generation {
    /// The next token and the text it makes certain; `None` when the answer has ended. After each
    /// chunk of the prompt a delta with its progress comes, so that a caller can stop there.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device is lost, [`Error::NotFinite`] if the model's output is broken,
    /// [`Error::NoFreeSequence`] if nothing but a [`Sequence`](super::Sequence) keeps it from beginning,
    /// [`Error::NothingAllowed`] if its rule leaves no token. The answer has ended then, except after the loss of an
    /// application's device, if the engine may continue ([`OnDeviceLost`](super::OnDeviceLost)): the next call
    /// waits for [`Engine::resume`].
    pub async fn next(&mut self) -> Option<Result<Delta, Error>> {
        if self.ended {
            return None;
        }
        match self.events.next().await {
            Some(Event::Delta { delta, timings, finish }) => {
                self.timings = timings;
                self.finish = finish;
                self.ended = finish.is_some();
                self.taken += usize::from(delta.token.is_some());
                Some(Ok(delta))
            }
            Some(Event::Failed(e)) => {
                self.ended = true;
                Some(Err(e))
            }
            Some(Event::Interrupted(e)) => Some(Err(e)),
            None => {
                self.ended = true;
                Some(Err(Error::EngineStopped))
            }
        }
    }

    /// The answer as a stream, for use with combinators. Dropping it stops the answer.
    pub fn into_stream(self) -> impl Stream<Item = Result<Delta, Error>> {
        stream::unfold(self, |mut generation| async move {
            generation.next().await.map(|delta| (delta, generation))
        })
    }

    /// The text of the whole answer.
    ///
    /// # Errors
    /// As [`Generation::next`].
    pub async fn text(&mut self) -> Result<String, Error> {
        Ok(self.answer().await?.content)
    }

    /// The whole answer: its text, its reasoning and its tool calls.
    ///
    /// # Errors
    /// As [`Generation::next`].
    pub async fn answer(&mut self) -> Result<Answer, Error> {
        let mut all = Answer::default();
        while let Some(delta) = self.next().await {
            all.append(delta?.into());
        }
        Ok(all)
    }

    /// The whole answer with the reason for its end, and its counts and times.
    ///
    /// # Errors
    /// As [`Generation::next`].
    pub async fn complete(&mut self) -> Result<Completed, Error> {
        let mut completed = Completed::default();
        while let Some(delta) = self.next().await {
            completed.append(delta?);
        }
        Ok(Completed { finish: self.finish, timings: self.timings, ..completed })
    }

    /// Reason for the answer's end; `None` before it.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Counts and times so far.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.timings
    }
}

#[cfg(test)]
impl Generation {
    /// An answer whose text is given, as if each piece were a token's.
    pub(crate) fn scripted(engine: &Engine, format: AnswerFormat, pieces: &[String]) -> Self {
        let mut reader = crate::text::AnswerReader::new(format);
        let (sender, events) = unbounded();
        let mut timings = Timings { prompt_n: 1, ..Timings::default() };
        let mut called = false;
        for (index, piece) in pieces.iter().enumerate() {
            let mut answer = reader.push(piece);
            let last = index + 1 == pieces.len();
            if last {
                answer.append(reader.finish());
            }
            called |= !answer.tool_calls.is_empty();
            timings.predicted_n += 1;
            let Answer { content: text, reasoning, tool_calls } = answer;
            let delta = Delta { text, reasoning, tool_calls, token: Some(0), ..Delta::default() };
            let finish = if called { FinishReason::ToolCalls } else { FinishReason::Stop };
            let finish = last.then_some(finish);
            let _ = sender.unbounded_send(Event::Delta { delta, timings, finish });
        }
        let id = engine.next_id();
        let engine = engine.clone();
        Self { engine, id, events, taken: 0, timings, finish: None, ended: false }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if !self.ended {
            self.engine.send(Command::Cancel { id: self.id, taken: self.taken });
        }
    }
}

impl Engine {
    /// Continues a prompt. The engine runs requests together, as many as it has sequences for; others
    /// wait. A prompt's longest prefix whose state is in the prefix cache is not computed again.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::TokenOutOfRange`], [`Error::ContextFull`] if not even one
    /// token of an answer fits, [`Error::Option`].
    pub fn generate(&self, request: GenerateRequest) -> Result<Generation, Error> {
        let (sender, events) = unbounded();
        let job = Box::new(job_of(self, &request, sender)?);
        let id = self.next_id();
        let generation = Generation {
            engine: self.clone(),
            id,
            events,
            taken: 0,
            timings: job.timings,
            finish: None,
            ended: false,
        };
        // The engine's loop takes it: `Stepper::run`, which handle.rs starts.
        self.send(Command::Start { id, prompt: request.prompt, job });
        Ok(generation)
    }

    /// Checks that a prompt leaves room for a token of an answer.
    pub(crate) fn check_room(&self, prompt: &[u32]) -> Result<(), Error> {
        let context = self.context_length();
        if prompt.len() < context {
            return Ok(());
        }
        let most = self.config().max_position_embeddings;
        Err(Error::ContextFull { prompt: prompt.len(), context, most })
    }

    /// Starts requests so that the engine sees all of them before its next step.
    pub(crate) fn generate_together(
        &self,
        requests: impl IntoIterator<Item = GenerateRequest>,
    ) -> Vec<Result<Generation, Error>> {
        // The engine's loop waits for it with the first request in its hands.
        let _between_steps = self.scheduler();
        requests.into_iter().map(|request| self.generate(request)).collect()
    }

    /// Answers requests together and waits for all answers, which are in the order of the requests. One that fails
    /// does not end the others.
    ///
    /// # Errors
    /// For each answer those of [`Engine::generate`] and [`Generation::next`].
    pub async fn generate_batch(
        &self,
        requests: impl IntoIterator<Item = GenerateRequest>,
    ) -> Vec<Result<Completed, Error>> {
        let started = self.generate_together(requests);
        let mut all = Vec::with_capacity(started.len());
        // The engine runs all of them, whichever is waited for.
        for generation in started {
            all.push(match generation {
                Ok(mut generation) => generation.complete().await,
                Err(e) => Err(e),
            });
        }
        all
    }

    /// Generates a few tokens and discards them, so that the driver does not compile or allocate
    /// during the first answer.
    ///
    /// # Errors
    /// As [`Generation::next`].
    pub async fn warm_up(&self) -> Result<(), Error> {
        // The prompt has more rows than `matvec` takes, so that the kernels for long prompts run
        // too.
        let few = self.runner().choices.matvec_rows as usize;
        let prompt = vec![0; (few + 1).min(self.context_length() - 1)];
        let options = GenerateOptions {
            max_tokens: Some(2),
            ignore_end: true,
            no_cache: true,
            ..GenerateOptions::default()
        };
        let format = AnswerFormat::default();
        self.generate(GenerateRequest { prompt, format, options })?.text().await?;
        Ok(())
    }
}

/// Checks a request and prepares its answer.
fn job_of(
    engine: &Engine,
    request: &GenerateRequest,
    events: UnboundedSender<Event>,
) -> Result<Job, Error> {
    let GenerateRequest { prompt, format, options } = request;
    engine.check_prompt(prompt)?;
    engine.check_room(prompt)?;
    let context = engine.context_length();
    options.check()?;
    let sampling = match &options.sampling {
        Some(sampling) => sampling.clone(),
        None => engine.recommended_sampling(),
    };
    sampling.check_tokens(engine.config().vocab_size)?;
    let room = context - prompt.len();
    let seed = sampling.seed.unwrap_or_else(random_seed);
    Ok(Job {
        sample: sampling.params(seed),
        prompt_len: prompt.len(),
        most: prompt.len() + options.max_tokens.unwrap_or(room).min(room),
        cache: !options.no_cache && options.prompt_logprobs.is_none(),
        lora: engine.lora(options.lora.as_ref())?,
        scored: options.prompt_logprobs,
        n_scores: 0,
        logprobs: options.logprobs,
        allowed: options.allowed.as_ref().map(AllowedTokens::begin),
        no_token: None,
        generated: 0,
        events,
        ignore_end: options.ignore_end,
        hide_end: options.specials != SpecialTokens::Show,
        text: text_of(engine, format, options)?,
        called: false,
        began: Instant::now(),
        prefill_began: None,
        first_token: None,
        timings: Timings { prompt_n: prompt.len(), seed, ..Timings::default() },
    })
}

/// The reader of an answer's text; `None` without a tokenizer.
fn text_of(
    engine: &Engine,
    format: &AnswerFormat,
    options: &GenerateOptions,
) -> Result<Option<AnswerStream>, Error> {
    let format = match options.specials {
        SpecialTokens::Hide => format.clone(),
        SpecialTokens::ToolCalls => AnswerFormat { calls: Calls::InText, ..format.clone() },
        SpecialTokens::Show => AnswerFormat::default(),
    };
    let stops = StopStrings::new(&options.stop)?;
    match engine.tokenizer() {
        Ok(tokenizer) => Ok(Some(AnswerStream::new(tokenizer, format, options.specials, stops))),
        Err(e) if !options.stop.is_empty() => Err(e),
        Err(_) => Ok(None),
    }
}
