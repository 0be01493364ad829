//! Tests of the engine on tiny models: many sequences in one pass, reuse of state, seeds, early
//! ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use pollster::block_on;

mod ahead;
mod few_rows;
#[cfg(all(feature = "demo-model", feature = "structure"))]
mod forced;
mod lost;
mod rows;
mod saved;
mod shared;

use super::runner::{Output, Pace};
use super::*;
use crate::GenerateOptions;
use crate::error::Error;
use crate::gpu::{Device, DeviceOptions};
use crate::kernels::{Batch, Choices, LogitRow, MAX_LOGIT_BIAS, Reduce, SampleParams};
use crate::model::PassOutput;

fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| block_on(Device::request(&DeviceOptions::default())).unwrap()).clone()
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn engine_with(name: &str, more: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Engine {
    let builder = Engine::builder().directory(fixture(name)).unwrap().gpu(device());
    block_on(more(builder.context_length(600)).build()).unwrap()
}

/// Tokens submitted ahead: none, as on software adapters; one, as on GPUs; and more.
const AHEAD: [u32; 3] = [0, 1, 2];

fn tokens(n: usize, seed: u32, vocab: usize) -> Vec<u32> {
    (0..n as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 977) >> 7) % vocab as u32)
        .collect()
}

/// The logits of the last token of each sequence, run together: first the prompts in one pass,
/// then one more token each in a second pass.
fn run_together(engine: &Engine, prompts: &[Vec<u32>]) -> (Vec<Vec<u32>>, Vec<Vec<u32>>) {
    let mut sequences: Vec<_> = prompts.iter().map(|_| engine.sequence().unwrap()).collect();
    let mut pass = |take: &dyn Fn(&[u32]) -> std::ops::Range<usize>| {
        let mut batch = Batch::default();
        for (sequence, prompt) in sequences.iter_mut().zip(prompts) {
            let range = take(prompt);
            sequence.reserve(range.end).unwrap();
            batch.seqs.push(sequence.rows(
                range.start,
                prompt[range.clone()].iter().copied(),
                range.end,
                SampleParams::GREEDY,
                vec![LogitRow::new(range.len() as u32 - 1)],
            ));
        }
        let runner = engine.runner();
        block_on(runner.prepare(batch.n_rows() as u32, PassOutput::Logits, false)).unwrap();
        let vocab = engine.config().vocab_size;
        let target = runner.device.readback_for::<f32>(prompts.len() * vocab);
        let target = block_on(target).unwrap();
        let submission =
            runner.submit(&batch, PassOutput::Logits, &[(&target, Output::Logits)]).unwrap();
        let logits = block_on(target.read::<f32>(Some(&submission))).unwrap();
        logits.chunks(vocab).map(|l| l.iter().map(|x| x.to_bits()).collect()).collect::<Vec<_>>()
    };
    let prefill = pass(&|p| 0..p.len() - 1);
    let decode = pass(&|p| p.len() - 1..p.len());
    (prefill, decode)
}

/// A row's result does not depend on the other rows of its pass, bit for bit, in prefill and
/// decode, for all lengths and reductions. Alone and together, a prompt takes either at most 64 rows or more, as
/// the kernels change there. A decoded row alone has kernels of its own. tiny-a has conv, attention, dense and MoE layers; `long`
/// has contexts of several attention splits.
#[test]
fn sequences_together_equal_each_alone() {
    let reduces = [Reduce::Serial, Reduce::shared_rows(device().caps())];
    for (name, lengths) in
        [("tiny-a", [13, 20, 9]), ("tiny-a", [80, 70, 66]), ("long", [290, 70, 240])]
    {
        for reduce in reduces {
            let choices = Choices { reduce, ..Choices::by_capability(device().caps()) };
            let engine = engine_with(name, |b| b.sequences(4).chunk(600).choices(choices));
            let vocab = engine.config().vocab_size;
            let prompts: Vec<_> = (0..).zip(lengths).map(|(i, n)| tokens(n, i, vocab)).collect();
            let together = run_together(&engine, &prompts);
            for (i, prompt) in prompts.iter().enumerate() {
                let alone = run_together(&engine, std::slice::from_ref(prompt));
                assert!(together.0[i] == alone.0[0], "{name} {reduce:?}: prefill of {i}");
                assert!(together.1[i] == alone.1[0], "{name} {reduce:?}: decode of {i}");
            }
        }
    }
}

/// The check above is able to fail: other tokens give other bits.
#[test]
fn other_tokens_give_other_logits() {
    let engine = engine_with("tiny-a", |b| b.sequences(2));
    let vocab = engine.config().vocab_size;
    let (_, a) = run_together(&engine, &[tokens(20, 1, vocab)]);
    let (_, b) = run_together(&engine, &[tokens(20, 2, vocab)]);
    assert!(a != b);
}

fn generate(engine: &Engine, prompt: &[u32], options: &GenerateOptions) -> (Vec<u32>, Timings) {
    let mut generation = engine.session().generate(prompt, options).unwrap();
    let mut ids = Vec::new();
    while let Some(delta) = block_on(generation.next()) {
        ids.extend(delta.unwrap().token);
    }
    (ids, generation.timings())
}

/// The tokens without any cached state.
fn fresh(engine: &Engine, prompt: &[u32], options: &GenerateOptions) -> Vec<u32> {
    let options = GenerateOptions { no_cache: true, ..options.clone() };
    let (tokens, timings) = generate(engine, prompt, &options);
    assert_eq!(timings.cache_n, 0);
    tokens
}

/// The next token, after all progress of the prompt.
fn next_token(generation: &mut Generation) -> Option<u32> {
    loop {
        let delta = block_on(generation.next())?.unwrap();
        if delta.token.is_some() {
            return delta.token;
        }
    }
}

fn sampled(seed: u64, n: usize) -> GenerateOptions {
    GenerateOptions {
        sampling: Some(SamplingOptions {
            temperature: 1.0,
            min_p: 0.01,
            seed: Some(seed),
            ..SamplingOptions::default()
        }),
        max_tokens: Some(n),
        ignore_end: true,
        ..Default::default()
    }
}

#[test]
fn tokens_depend_on_the_seed_alone() {
    for ahead in AHEAD {
        let engine = engine_with("tiny-a", |b| b.read_ahead(ahead));
        let prompt = tokens(9, 3, engine.config().vocab_size);
        let run = |seed| generate(&engine, &prompt, &sampled(seed, 40)).0;
        let first = run(7);
        assert_eq!(first, run(7));
        assert_ne!(first, run(8));
        // The upper half of a seed matters too.
        assert_ne!(first, run(7 + (1 << 40)));
    }
}

/// A strong bias makes a token always or never drawn, with and without greedy sampling. Each
/// sequence of a batch has its own biases.
#[test]
fn biases_force_and_ban_tokens() {
    let engine = engine_with("tiny-a", |b| b.sequences(2));
    let vocab = engine.config().vocab_size;
    let prompt = tokens(9, 3, vocab);
    let run = |base: &GenerateOptions, logit_bias: Vec<(u32, f32)>| {
        let sampling = SamplingOptions { logit_bias, ..base.sampling.clone().unwrap() };
        let options = GenerateOptions { sampling: Some(sampling), ..base.clone() };
        generate(&engine, &prompt, &options).0
    };
    let greedy = GenerateOptions { sampling: Some(SamplingOptions::greedy()), ..sampled(1, 12) };
    for base in [greedy, sampled(1, 12)] {
        let plain = run(&base, Vec::new());
        assert_eq!(run(&base, vec![(5, 100.0), (6, -100.0)]), [5; 12]);
        let ban: Vec<_> =
            plain.iter().map(|t| (*t, -100.0)).collect::<BTreeMap<_, _>>().into_iter().collect();
        let other = run(&base, ban);
        assert!(other.iter().all(|t| !plain.contains(t)), "{plain:?} {other:?}");
        assert_eq!(run(&base, vec![(5, 0.0)]), plain);
    }
    let session = engine.session();
    let many = (0..=MAX_LOGIT_BIAS as u32).map(|t| (t, 1.0)).collect();
    for (logit_bias, problem) in [
        (vec![(vocab as u32, 1.0)], "token ids below 97"),
        (vec![(5, 101.0)], "numbers from -100 to 100"),
        (vec![(5, f32::NAN)], "numbers from -100 to 100"),
        (vec![(5, 1.0), (6, 1.0), (5, 2.0)], "each token once"),
        (many, "at most 1024"),
    ] {
        let sampling = Some(SamplingOptions { logit_bias, ..SamplingOptions::greedy() });
        let error = session.generate(&prompt, &GenerateOptions { sampling, ..sampled(1, 1) }).err();
        assert!(error.as_ref().unwrap().to_string().contains(problem), "{error:?}");
        assert_eq!(error.unwrap().code(), "invalid_request");
    }
}

/// A second turn computes only its new tokens, also if another conversation ran in between, and its
/// answer equals that without any cached state.
#[test]
fn a_longer_prompt_reuses_the_state_of_a_shorter() {
    for (ahead, sequences) in AHEAD.into_iter().zip([1, 2, 4]) {
        let engine = engine_with("long", |b| b.sequences(sequences).read_ahead(ahead));
        let vocab = engine.config().vocab_size;
        let options = sampled(1, 12);
        let mut prompts = [tokens(40, 5, vocab), tokens(70, 6, vocab)];
        for turn in 0..4 {
            for prompt in &mut prompts {
                let (answer, timings) = generate(&engine, prompt, &options);
                assert_eq!(answer, fresh(&engine, prompt, &options), "turn {turn}");
                // All tokens but the answer's last, which was not fed back.
                let known = prompt.len() - 7 - 1;
                assert!(turn == 0 || timings.cache_n == known, "turn {turn}, {ahead}: {timings:?}");
                prompt.extend(&answer);
                prompt.extend(tokens(7, turn, vocab));
            }
        }
        // The text differs from token 3 on.
        let mut prompt = prompts[0].clone();
        prompt[3] = (prompt[3] + 1) % vocab as u32;
        let (answer, timings) = generate(&engine, &prompt, &options);
        assert_eq!(timings.cache_n, 0);
        assert_eq!(answer, fresh(&engine, &prompt, &options));
        let counts = engine.cache_counts();
        assert_eq!((counts.hits, counts.preemptions), (6, 0));
    }
}

/// Prompts with a common beginning compute at most one block of it, whatever follows.
#[test]
fn a_common_beginning_is_computed_once() {
    let engine = engine_with("long", |b| b.sequences(3).context_length(600));
    let vocab = engine.config().vocab_size;
    let system = tokens(500, 7, vocab);
    for (i, length) in [20u32, 63, 64, 65, 192, 350, 500].into_iter().enumerate() {
        let mut prompt = system[..length as usize].to_vec();
        prompt.extend(tokens(40, 20 + length, vocab));
        let (answer, timings) = generate(&engine, &prompt, &sampled(4, 12));
        assert_eq!(answer, fresh(&engine, &prompt, &sampled(4, 12)), "{length}");
        // The first prompts are the shorter ones, so each reuses the whole blocks of the one before.
        let known = [0, 20, 63, 64, 65, 192, 350][i] / 64 * 64;
        assert_eq!(timings.cache_n, known, "{length}");
    }
}

/// The same prompt again computes only its last token, and gives another answer with another seed.
#[test]
fn an_answer_generated_again_computes_one_token() {
    for ahead in AHEAD {
        let engine = engine_with("tiny-a", |b| b.read_ahead(ahead));
        let vocab = engine.config().vocab_size;
        for n in [2, 3, 50, 63, 64, 65, 66, 128, 129] {
            let prompt = tokens(n, 8, vocab);
            engine.clear_cache();
            let first = generate(&engine, &prompt, &sampled(2, 20));
            let second = generate(&engine, &prompt, &sampled(3, 20));
            assert_eq!((first.1.cache_n, second.1.cache_n), (0, n - 1), "{n}");
            assert_ne!(first.0, second.0);
            assert_eq!(second.0, fresh(&engine, &prompt, &sampled(3, 20)), "{n}");
            assert_eq!(first.0, generate(&engine, &prompt, &sampled(2, 20)).0, "{n}");
        }
    }
}

/// Penalties count tokens whose state was cached too.
#[test]
fn penalties_see_cached_tokens() {
    let engine = engine_with("tiny-a", |b| b.sequences(2));
    let vocab = engine.config().vocab_size;
    let sampling = SamplingOptions {
        repetition_penalty: 1.8,
        presence_penalty: 1.0,
        ..SamplingOptions::greedy()
    };
    let options = GenerateOptions { sampling: Some(sampling), ..sampled(1, 20) };
    let mut prompt = tokens(30, 8, vocab);
    for turn in 0..3 {
        let (answer, timings) = generate(&engine, &prompt, &options);
        assert!(turn == 0 || timings.cache_n > 0);
        assert_eq!(answer, fresh(&engine, &prompt, &options), "turn {turn}");
        prompt.extend(answer);
        prompt.push(turn);
    }
}

/// The state of an answer that is dropped half way is kept up to the last token that was read.
#[test]
fn a_dropped_answer_is_kept_as_far_as_it_was_read() {
    for ahead in AHEAD {
        let engine = engine_with("conv-l4", |b| b.sequences(2).read_ahead(ahead));
        let vocab = engine.config().vocab_size;
        let options = sampled(3, 30);
        for stop_after in [0, 1, 2, 9] {
            engine.clear_cache();
            let prompt = tokens(11, 4, vocab);
            let mut generation = engine.session().generate(&prompt, &options).unwrap();
            let read: Vec<u32> =
                (0..stop_after).map(|_| next_token(&mut generation).unwrap()).collect();
            drop(generation);
            let mut next = prompt.clone();
            next.extend(&read);
            next.extend(tokens(3, 9, vocab));
            let (answer, timings) = generate(&engine, &next, &options);
            assert_eq!(answer, fresh(&engine, &next, &options), "stopped after {stop_after}");
            if stop_after > 0 {
                // The last token that was read may not have been fed back yet.
                let known = prompt.len() + read.len();
                assert!((known - 1..=known).contains(&timings.cache_n), "{stop_after} {timings:?}");
            }
        }
    }
}

#[test]
fn an_answer_ends_at_the_end_of_the_context() {
    for ahead in AHEAD {
        let engine = engine_with("tiny-a", |b| b.context_length(20).read_ahead(ahead));
        let vocab = engine.config().vocab_size;
        let options = GenerateOptions { max_tokens: None, ..sampled(1, 1) };
        let session = engine.session();
        let mut generation = session.generate(&tokens(13, 1, vocab), &options).unwrap();
        let n = std::iter::from_fn(|| next_token(&mut generation)).count();
        assert_eq!((n, generation.finish_reason()), (7, Some(FinishReason::Length)));
        drop(generation);
        let full = session.generate(&tokens(20, 1, vocab), &options).err();
        assert!(
            matches!(full, Some(Error::ContextFull { prompt: 20, context: 20, .. })),
            "{full:?}"
        );
        let one = session
            .generate(&tokens(19, 1, vocab), &options)
            .map(|mut g| next_token(&mut g).is_some() && next_token(&mut g).is_none());
        assert!(one.unwrap());
    }
}

#[test]
fn bad_prompts_and_options_are_refused_and_change_nothing() {
    for ahead in AHEAD {
        let engine = engine_with("tiny-a", |b| b.read_ahead(ahead));
        let session = engine.session();
        let prompt = tokens(9, 3, engine.config().vocab_size);
        let (first, _) = generate(&engine, &prompt, &sampled(1, 5));
        assert!(matches!(session.generate(&[], &sampled(1, 5)).err(), Some(Error::EmptyPrompt)));
        let bad = session.generate(&[1, 97], &sampled(1, 5)).err();
        assert!(matches!(bad, Some(Error::TokenOutOfRange { index: 1, id: 97, vocab: 97 })));
        for broken in [f32::NAN, -1.0, f32::INFINITY] {
            let mut options = sampled(1, 5);
            options.sampling.as_mut().unwrap().temperature = broken;
            let refused = session.generate(&prompt, &options).err();
            assert!(matches!(refused, Some(Error::Option { option: "temperature", .. })));
        }
        assert_eq!(generate(&engine, &prompt, &sampled(1, 5)).0, first);
    }
}

/// A decoded token is one submission, reads back four bytes, and needs few dispatches.
#[test]
fn a_decoded_token_is_one_submission_and_four_bytes() {
    for ahead in AHEAD {
        // A device of its own: other tests' work must not be counted.
        let own = block_on(Device::request(&DeviceOptions::default())).unwrap();
        let engine = engine_with("tiny-a", |b| b.gpu(own).read_ahead(ahead));
        let prompt = tokens(9, 3, engine.config().vocab_size);
        let counted = |tokens: usize| {
            let before = engine.device().counters();
            let options = GenerateOptions { no_cache: true, ..sampled(1, tokens) };
            generate(&engine, &prompt, &options);
            let after = engine.device().counters();
            (
                after.submissions - before.submissions,
                after.readback_bytes - before.readback_bytes,
                after.dispatches - before.dispatches,
            )
        };
        // The first prompt runs a part twice, to learn the device's speed.
        counted(1);
        let (few, more) = (counted(10), counted(20));
        assert_eq!(more.0 - few.0, 10);
        assert_eq!(more.1 - few.1, 40);
        // Embedding; conv 2, attention 4 (a short context is one split), dense FFN 2, MoE FFN 3 for
        // each of 5 layers (conv and dense twice, attention and MoE twice, conv and MoE once); head;
        // sampling 3. Norms are parts of products.
        let a_token = 1 + 2 * (2 + 2) + 2 * (4 + 3) + (2 + 3) + 1 + 3;
        assert_eq!(more.2 - few.2, 10 * a_token);
    }
}

/// The stream yields the same as `next`.
#[test]
fn an_answer_is_a_stream_too() {
    use futures_util::StreamExt;
    let engine = engine_with("tiny-a", |b| b.sequences(2));
    let prompt = tokens(9, 3, 97);
    let options = sampled(1, 8);
    let stream = engine.session().generate(&prompt, &options).unwrap().into_stream();
    let tokens = stream.filter_map(|delta| std::future::ready(delta.unwrap().token));
    let streamed: Vec<_> = block_on(tokens.collect());
    assert_eq!(streamed, generate(&engine, &prompt, &options).0);
}

#[test]
fn a_profile_names_every_kernel_of_a_token() {
    let engine = engine_with("tiny-a", |b| b);
    let mut session = engine.sequence().unwrap();
    let Some(profile) = block_on(session.profile(&[5])).unwrap() else {
        assert!(!engine.device().caps().timestamps);
        return;
    };
    assert!((3..=9).contains(&profile.replays) && profile.empty_pass >= 0.0, "{profile:?}");
    let times = profile.kernels;
    assert_eq!(times.iter().map(|t| t.calls).sum::<u32>(), 31, "{times:?}");
    assert!(times.iter().map(|t| t.seconds).sum::<f64>() > 0.0);
    assert!(times.iter().any(|t| t.kernel.starts_with("matvec")), "{times:?}");
}

fn assert_send<T: Send>(_: &T) {}

#[test]
fn engines_sessions_and_answers_can_move_between_threads() {
    let engine = engine_with("tiny-a", |b| b);
    assert_send(&engine);
    let session = engine.session();
    assert_send(&session);
    let mut generation = session.generate(&[1, 2, 3], &sampled(1, 3)).unwrap();
    let next = generation.next();
    assert_send(&next);
}
