//! Tests of outputs per logit row: log-probabilities, masks of tokens, several rows of a sequence, rewinding.

use super::*;
use crate::engine::{AllowedTokens, LogprobsMode, LogprobsOptions, TokenLogprobs};
use crate::kernels::{LOGPROBS_WORDS, RowLogprobs};
use crate::reference;

/// Log-softmax of f32 logits of a pass of other kernels: the greatest difference seen is 3e-6.
const CLOSE: f64 = 1e-4;

fn answer(engine: &Engine, prompt: &[u32], options: GenerateOptions) -> Generation {
    let format = crate::text::AnswerFormat::default();
    engine.generate(GenerateRequest { prompt: prompt.to_vec(), format, options }).unwrap()
}

fn complete(mut generation: Generation) -> Completed {
    block_on(generation.complete()).unwrap()
}

/// Compares the log-probabilities of an answer's tokens with those of the logits of prompt and answer. `penalised`:
/// applies the options of the request to the logits at a position.
fn check(
    engine: &Engine,
    prompt: &[u32],
    got: &[TokenLogprobs],
    top: usize,
    penalised: impl Fn(&[u32], &mut [f32]),
) {
    let vocab = engine.config().vocab_size;
    let mut all = prompt.to_vec();
    all.extend(got.iter().map(|one| one.token));
    let mut sequence = engine.sequence().unwrap();
    let logits = block_on(sequence.logits(&all[..all.len() - 1], 64)).unwrap();
    for (i, one) in got.iter().enumerate() {
        let position = prompt.len() - 1 + i;
        let mut logits = logits[position * vocab..][..vocab].to_vec();
        penalised(&all[..=position], &mut logits);
        let want = reference::log_softmax(&logits, |_| true);
        let close = |token: u32, logprob: f32| {
            let want = want[token as usize];
            assert!((f64::from(logprob) - want).abs() < CLOSE, "{i}: {logprob}, {want}");
        };
        close(one.token, one.logprob);
        assert_eq!(one.top.len(), top);
        one.top.iter().for_each(|(token, logprob)| close(*token, *logprob));
        // Ids whose logits differ by rounding only may be in another order.
        let largest = reference::largest(&logits, top, |_| true);
        for ((_, logprob), id) in one.top.iter().zip(largest) {
            assert!((f64::from(*logprob) - want[id]).abs() < CLOSE, "{i}: rank of {id}");
        }
    }
}

/// Answers with and without log-probabilities run together; a token costs 4 bytes of reading without them.
#[test]
fn log_probabilities_are_those_of_the_logits() {
    for ahead in AHEAD {
        // Its counters must be its own, if other tests run beside it.
        let device = block_on(Device::request(&DeviceOptions::default())).unwrap();
        let engine = engine_with("tiny-a", |b| b.gpu(device).sequences(4).read_ahead(ahead));
        let vocab = engine.config().vocab_size;
        let prompts: Vec<_> = (0..3).map(|i| tokens(9 + 30 * i, i as u32, vocab)).collect();
        let greedy =
            GenerateOptions { sampling: Some(SamplingOptions::greedy()), ..sampled(1, 12) };
        let wants = |top, mode| Some(LogprobsOptions { top, mode });
        let raw = GenerateOptions { logprobs: wants(5, LogprobsMode::Raw), ..greedy.clone() };
        let sampling = SamplingOptions {
            temperature: 0.8,
            repetition_penalty: 1.3,
            frequency_penalty: 0.5,
            logit_bias: vec![(7, 2.5)],
            seed: Some(5),
            ..SamplingOptions::default()
        };
        let penalised = GenerateOptions {
            sampling: Some(sampling.clone()),
            logprobs: wants(20, LogprobsMode::Processed),
            ..greedy.clone()
        };
        let before = engine.device().counters().readback_bytes;
        let plain = complete(answer(&engine, &prompts[2], greedy.clone()));
        let bytes = engine.device().counters().readback_bytes - before;
        assert!(bytes <= 4 * 4 * (12 + u64::from(ahead)), "{bytes} bytes for 12 tokens, 4 slots");
        let running: Vec<_> = [(&prompts[0], raw), (&prompts[1], penalised), (&prompts[2], greedy)]
            .into_iter()
            .map(|(prompt, options)| answer(&engine, prompt, options))
            .collect();
        let got: Vec<_> = running.into_iter().map(complete).collect();
        assert_eq!(got[2].answer, plain.answer);
        assert_eq!((got[0].logprobs.len(), got[1].logprobs.len()), (12, 12));
        assert!(got[2].logprobs.is_empty());
        assert!(got[0].logprobs.iter().all(|one| one.top[0].0 == one.token), "greedy");
        check(&engine, &prompts[0], &got[0].logprobs, 5, |_, _| {});
        check(&engine, &prompts[1], &got[1].logprobs, 20, |tokens, logits| {
            reference::biases(&sampling.logit_bias, logits);
            let options = reference::Options {
                seed: 0,
                temperature: 0.8,
                top_k: 0,
                top_p: 1.0,
                min_p: 0.0,
                repetition_penalty: 1.3,
                presence_penalty: 0.0,
                frequency_penalty: 0.5,
            };
            reference::penalties(&options, tokens, prompts[1].len(), logits);
        });
    }
    let engine = engine_with("tiny-a", |b| b);
    let logprobs = Some(LogprobsOptions { top: 21, ..LogprobsOptions::default() });
    let refused = engine.session().generate(&[1], &GenerateOptions { logprobs, ..sampled(1, 1) });
    let refused = refused.err().unwrap().to_string();
    assert_eq!(refused, "top_logprobs: got 21, need at most 20");
}

/// The log-probabilities of a given text, in passes of any size.
#[test]
fn a_given_text_is_scored() {
    let engine = engine_with("tiny-a", |b| b);
    let vocab = engine.config().vocab_size;
    let text = tokens(150, 3, vocab);
    let (given, next) = (&text[..149], &text[1..]);
    for chunk in [1, 7, 100, 512] {
        let mut sequence = engine.sequence().unwrap();
        let scored = block_on(sequence.logprobs(given, next, 3, chunk)).unwrap();
        assert_eq!(sequence.tokens(), given);
        assert!(scored.iter().map(|one| one.token).eq(next.iter().copied()));
        drop(sequence);
        check(&engine, &text[..1], &scored, 3, |_, _| {});
    }
    let mut sequence = engine.sequence().unwrap();
    assert!(block_on(sequence.logprobs(given, given[1..].into(), 3, 64)).is_err());
    assert!(block_on(sequence.logprobs(&[1], &[vocab as u32], 3, 64)).is_err());
    assert!(block_on(sequence.logprobs(&[1], &[2], 21, 64)).is_err());
    assert!(sequence.tokens().is_empty());
}

/// A rule decides on each token, whatever the host reads ahead for others, and an answer beside it is as alone.
#[test]
fn masks_restrict_the_tokens() {
    for ahead in AHEAD {
        let engine = engine_with("tiny-a", |b| b.sequences(3).read_ahead(ahead));
        let vocab = engine.config().vocab_size;
        let prompt = tokens(70, 1, vocab);
        let plain = |seed| GenerateOptions { ignore_end: true, ..sampled(seed, 20) };
        let alone = complete(answer(&engine, &prompt, plain(1)));
        // Each token is larger than the one before, if there is such a one.
        let rising = AllowedTokens::new(move |tokens, mask| {
            let last = tokens.last().map_or(0, |last| last + 1);
            (0..last.min(vocab as u32 - 1)).for_each(|token| mask.remove(token));
        });
        let logprobs = Some(LogprobsOptions { top: 20, mode: LogprobsMode::Processed });
        let ruled = GenerateOptions { allowed: Some(rising), logprobs, ..plain(2) };
        // A rule that knows the text, and then has nothing left.
        let text = [5, 3, 9, 9, 1];
        let fixed = AllowedTokens::new(move |tokens, mask| {
            mask.retain(text.get(tokens.len()).map(std::slice::from_ref).unwrap_or_default());
        });
        let fixed = GenerateOptions { allowed: Some(fixed), logprobs, ..plain(3) };
        let running = [plain(1), ruled, fixed].map(|options| answer(&engine, &prompt, options));
        let [free, ruled, mut fixed] = running;
        let (free, ruled) = (complete(free), complete(ruled));
        assert_eq!(free.answer, alone.answer);
        let ruled: Vec<&TokenLogprobs> = ruled.logprobs.iter().collect();
        assert_eq!(ruled.len(), 20);
        for (before, one) in ruled.iter().zip(&ruled[1..]) {
            let least = (before.token + 1).min(vocab as u32 - 1);
            assert!(one.token >= least && one.top.iter().all(|(token, _)| *token >= least));
        }
        let mut got = Vec::new();
        let error = loop {
            match block_on(fixed.next()).unwrap() {
                Ok(delta) => got.extend(delta.logprobs),
                Err(e) => break e,
            }
        };
        assert!(got.iter().map(|one| one.token).eq(text));
        // It was certain.
        assert!(got.iter().all(|one| one.logprob == 0.0 && one.top == [(one.token, 0.0)]));
        let position = prompt.len() + text.len();
        assert!(matches!(error, Error::NothingAllowed { position: p } if p == position), "{error}");
        let again = complete(answer(&engine, &prompt, plain(1)));
        assert_eq!(again.answer, alone.answer);
    }
}

/// The pass of a token runs while the host makes its mask: its beginning is submitted before the rule is asked.
#[test]
fn masks_are_made_while_the_pass_runs() {
    for ahead in AHEAD {
        // Its counters must be its own, if other tests run beside it.
        let device = block_on(Device::request(&DeviceOptions::default())).unwrap();
        let engine = engine_with("tiny-a", |b| b.gpu(device).sequences(1).read_ahead(ahead));
        let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (device, seen) = (engine.device(), asked.clone());
        let rule = AllowedTokens::new(move |_, _| {
            seen.lock().unwrap().push(device.counters().submissions);
        });
        let options = GenerateOptions {
            allowed: Some(rule),
            ignore_end: true,
            no_cache: true,
            ..sampled(1, 10)
        };
        let prompt = tokens(5, 1, engine.config().vocab_size);
        complete(answer(&engine, &prompt, options));
        let asked = asked.lock().unwrap().clone();
        // From one token to the next: the part that draws and the beginning of the next pass, or a whole pass.
        let each = if ahead == 0 { 1 } else { 2 };
        let between = asked.windows(2).map(|pair| pair[1] - pair[0]).skip(1);
        assert!(
            between.clone().all(|n| n == each),
            "ahead {ahead}: {:?}",
            between.collect::<Vec<_>>()
        );
    }
}

/// Several rows of a sequence draw their tokens in one pass, and the sequence continues before the rows that are
/// rejected, as if they had not run.
#[test]
fn rejected_rows_leave_no_trace() {
    let engine = engine_with("tiny-a", |b| b.sequences(4));
    let vocab = engine.config().vocab_size;
    let runner = engine.runner();
    let prompt = tokens(66, 8, vocab);
    let greedy = |given: &[u32]| -> Vec<u32> {
        let mut sequence = engine.sequence().unwrap();
        let logits = block_on(sequence.logits(given, 64)).unwrap();
        logits.chunks(vocab).map(|row| reference::largest(row, 1, |_| true)[0] as u32).collect()
    };
    let mut sequence = engine.sequence().unwrap();
    block_on(sequence.feed(&prompt[..63])).unwrap();
    // Four rows, over the end of a page, of which the last two are wrong.
    let drafts = [prompt[63], prompt[64], 7, 11];
    let wants = RowLogprobs { token: None, top: 0, mode: LogprobsMode::Raw };
    let rows = (0..4).map(|row| LogitRow { logprobs: Some(wants), ..LogitRow::new(row) }).collect();
    let batch = sequence.next_batch(&drafts, rows, SampleParams::GREEDY).unwrap();
    let target = block_on(engine.device().readback_for::<u32>(4 * LOGPROBS_WORDS)).unwrap();
    let targets = [(&target, Output::Logprobs)];
    let submission = runner.submit(&batch, PassOutput::Tokens, &targets).unwrap();
    let words = block_on(target.read::<u32>(Some(&submission))).unwrap();
    let drawn: Vec<u32> = words.chunks(LOGPROBS_WORDS).map(|row| row[0]).collect();
    let given = [&prompt[..63], &drafts].concat();
    assert_eq!(drawn, greedy(&given)[63..]);
    let next = block_on(engine.device().read(&runner.state.next_token)).unwrap();
    assert_eq!(next[sequence.slot as usize], drawn[3], "the last row's");

    sequence.rewind(65).unwrap();
    assert_eq!(sequence.tokens(), &prompt[..65]);
    let logits = |sequence: &mut Sequence| block_on(sequence.logits(&prompt[65..], 64)).unwrap();
    let got = logits(&mut sequence);
    let mut straight = engine.sequence().unwrap();
    block_on(straight.feed(&prompt[..63])).unwrap();
    block_on(straight.feed(&prompt[63..65])).unwrap();
    assert!(got == logits(&mut straight));
    // Further back, the convolutions' inputs are gone; the beginning needs none.
    let refused = sequence.rewind(67 - 15).unwrap_err().to_string();
    assert_eq!(refused, "position: got 52, need 0, or 53 to 66");
    assert!(sequence.rewind(67).is_err());
    sequence.rewind(53).unwrap();
    sequence.rewind(0).unwrap();
    assert!(sequence.tokens().is_empty());
}
