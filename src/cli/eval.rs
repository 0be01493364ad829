//! `lfm2 eval`: compares greedy answers with expected ones.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Deserialize;

use super::divergence::{Divergence, Reference};
use super::error::CliError;
use super::input::read_text;
use super::options::Common;
use super::print::print;
use super::{interrupt, load, loras, progress};
use crate::engine::{Engine, FinishReason, GenerateOptions, SamplingOptions};
use crate::formats::json_bytes;
use crate::text::{Conversation, SpecialTokens};

/// Tokens by which an answer may exceed the expected one before it is cut.
const SLACK: usize = 32;

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Eval {
    /// One question per line: {"messages": [...], "tools": [...], "expected": "..."}
    #[arg(value_name = "FILE.jsonl", env = "LFM2_EVAL_FILE")]
    file: PathBuf,
    /// Ask only the first N questions
    #[arg(long, value_name = "N", env = "LFM2_LIMIT")]
    limit: Option<usize>,
    /// Print JSON
    #[arg(long, env = "LFM2_JSON")]
    json: bool,
    /// Print the first N wrong answers to stderr
    #[arg(long, value_name = "N", default_value_t = 0, env = "LFM2_FAILURES")]
    failures: usize,
    /// Reference model, e.g. the unquantised one: also compare both models' logits on the expected
    /// answers
    #[arg(long, value_name = "PATH|NAME", env = "LFM2_AGAINST")]
    against: Option<PathBuf>,
    /// Exit with 1 if the fraction of exact answers is lower
    #[arg(long, value_name = "FRACTION", env = "LFM2_MIN_EXACT", value_parser = fraction, allow_negative_numbers = true)]
    min_exact: Option<f64>,
    /// Exit with 1 if the fraction of exact tool calls is lower
    #[arg(long, value_name = "FRACTION", env = "LFM2_MIN_TOOL_CALLS", value_parser = fraction, allow_negative_numbers = true)]
    min_tool_calls: Option<f64>,
}

const NOTES: &str = "\
Answers are greedy and include the markers of tool calls. An answer is exact if its text \
equals the expected one and the model ended it. A question expects a tool call if `expected` contains \
<|tool_call_start|>. Questions may have a `category`, for results by category. --against prints the \
mean KL divergence from the reference in nats, and the share of positions with the same most likely \
token. --lora does not apply to the reference.

Examples:
  lfm2 eval questions.jsonl --failures 5
  lfm2 eval questions.jsonl --json --min-exact 0.9 --min-tool-calls 0.95
  lfm2 -m DIR --weights q4 eval questions.jsonl --against DIR";

/// A question; all fields but `expected` and `category` are the conversation.
#[derive(Deserialize)]
struct Line {
    expected: String,
    #[serde(default)]
    category: Option<String>,
    #[serde(flatten)]
    conversation: serde_json::Map<String, serde_json::Value>,
}

impl Line {
    fn is_tool_call(&self) -> bool {
        self.expected.contains("<|tool_call_start|>")
    }
}

#[derive(Clone, Copy, Default)]
struct Score {
    exact: usize,
    total: usize,
}

impl Score {
    fn add(&mut self, exact: bool) {
        self.exact += usize::from(exact);
        self.total += 1;
    }

    /// The fraction of exact answers; 1 without any question.
    fn fraction(self) -> f64 {
        if self.total == 0 { 1.0 } else { self.exact as f64 / self.total as f64 }
    }

    fn row(self, name: &str) -> String {
        format!(
            "{name:24} {:5} of {:5}  {:6.2} %\n",
            self.exact,
            self.total,
            self.fraction() * 100.0
        )
    }

    fn json(self) -> serde_json::Value {
        serde_json::json!({ "exact": self.exact, "total": self.total, "fraction": self.fraction() })
    }
}

impl Eval {
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let questions = self.questions()?;
        if self.min_tool_calls.is_some()
            && !questions.iter().any(|(_, line, _)| line.is_tool_call())
        {
            return Err(CliError::User(format!(
                "--min-tool-calls: {} expects no tool call",
                self.file.display()
            )));
        }
        let model = load::open(common)?;
        let against = self.against.as_ref();
        let reference = against.map(|path| Reference::open(path, common, &model)).transpose()?;
        let engine = load::engine_of(model, common, |builder| builder)?;
        let mut divergence = reference.map(Reference::load).transpose()?;
        let bar = progress::bar(
            common,
            questions.len() as u64,
            "eval [{bar:32}] {pos}/{len} {msg} {eta}",
        );
        let (mut all, mut tools) = (Score::default(), Score::default());
        let mut categories: BTreeMap<String, Score> = BTreeMap::new();
        let (mut shown, mut tokens, started) = (0, 0, Instant::now());
        for (number, line, conversation) in questions {
            if interrupt::requested() {
                return Err(CliError::Interrupted);
            }
            let wrong = |e: crate::Error| {
                let e = CliError::from(e);
                let said = format!("{}:{number}: {e}", self.file.display());
                if e.is_user() { CliError::User(said) } else { e }
            };
            let answer = answer(&engine, &conversation, &line.expected).map_err(wrong)?;
            if let Some(divergence) = &mut divergence {
                let added = divergence.add(&engine, &conversation, &line.expected);
                pollster::block_on(added).map_err(wrong)?;
            }
            // An answer that was cut is not exact, even if its text is equal.
            let exact = answer.ended && answer.text == line.expected;
            tokens += answer.tokens;
            all.add(exact);
            if line.is_tool_call() {
                tools.add(exact);
            }
            if let Some(category) = line.category {
                categories.entry(category).or_default().add(exact);
            }
            if !exact && shown < self.failures {
                shown += 1;
                let (expected, got) = (&line.expected, &answer.text);
                bar.suspend(|| eprintln!("line {number}: expected {expected:?}, got {got:?}"));
            }
            bar.set_message(format!("{:.1} %", all.fraction() * 100.0));
            bar.inc(1);
        }
        bar.finish_and_clear();
        if !common.quiet {
            let seconds = started.elapsed().as_secs_f64();
            eprintln!(
                "[ {} answers, {tokens} tokens, {seconds:.1} s, {:.1} answers/s ]",
                all.total,
                all.total as f64 / seconds.max(1e-9)
            );
        }
        self.report(all, tools, &categories, divergence)
    }

    fn report(
        &self,
        all: Score,
        tools: Score,
        categories: &BTreeMap<String, Score>,
        divergence: Option<Divergence>,
    ) -> Result<(), CliError> {
        if self.json {
            let by: serde_json::Map<_, _> =
                categories.iter().map(|(name, score)| (name.clone(), score.json())).collect();
            let mut json = serde_json::json!({
                "exact_match": all.json(), "tool_calls": tools.json(), "categories": by,
            });
            if let Some(divergence) = divergence {
                json["against"] = divergence.json();
            }
            print(&format!("{json}\n"))?;
        } else {
            let mut table = all.row("exact match") + &tools.row("tool calls");
            for (name, score) in categories {
                table += &score.row(&format!("  {name}"));
            }
            table.extend(divergence.map(|d| d.text()));
            print(&table)?;
        }
        for (name, score, least) in
            [("exact match", all, self.min_exact), ("tool calls", tools, self.min_tool_calls)]
        {
            if least.is_some_and(|least| score.fraction() < least) {
                return Err(CliError::Internal(format!(
                    "{name}: {:.4} is below {}",
                    score.fraction(),
                    least.unwrap_or_default()
                )));
            }
        }
        Ok(())
    }

    fn questions(&self) -> Result<Vec<(usize, Line, Conversation)>, CliError> {
        let text = read_text(&self.file)?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let mut questions = Vec::new();
        for (i, text) in lines.take(self.limit.unwrap_or(usize::MAX)) {
            let wrong = |e: &dyn std::fmt::Display| {
                CliError::User(format!("{}:{}: {e}", self.file.display(), i + 1))
            };
            let mut line: Line =
                serde_json::from_slice(&json_bytes(text.as_bytes())).map_err(|e| wrong(&e))?;
            let value = serde_json::Value::Object(std::mem::take(&mut line.conversation));
            let conversation = Conversation::from_value(value).map_err(|e| wrong(&e))?;
            questions.push((i + 1, line, conversation));
        }
        if questions.is_empty() {
            return Err(CliError::User(format!("{}: contains no question", self.file.display())));
        }
        Ok(questions)
    }
}

/// A number from 0 to 1.
fn fraction(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|f| (0.0..=1.0).contains(f));
    value.ok_or_else(|| "need a fraction from 0 to 1, e.g. 0.9".to_owned())
}

struct Answer {
    text: String,
    tokens: usize,
    /// Whether the model ended it.
    ended: bool,
}

/// The greedy answer with the markers of tool calls.
fn answer(
    engine: &Engine,
    conversation: &Conversation,
    expected: &str,
) -> Result<Answer, crate::Error> {
    let longest = engine.tokenizer()?.encode(expected, false)?.len() + SLACK;
    let options = GenerateOptions {
        sampling: Some(SamplingOptions::greedy()),
        max_tokens: Some(longest),
        specials: SpecialTokens::ToolCalls,
        lora: loras::first(engine),
        ..Default::default()
    };
    let mut generation = engine.session().respond(conversation, &options)?;
    let text = pollster::block_on(generation.text())?;
    let ended = generation.finish_reason() == Some(FinishReason::Stop);
    Ok(Answer { text, tokens: generation.timings().predicted_n, ended })
}
