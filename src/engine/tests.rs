//! Tests of the engine on tiny models: many sequences in one pass, reuse of state, seeds, early
//! ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use pollster::block_on;

mod ahead;
mod shared;

use super::runner::{Output, Pace};
use super::*;
use crate::GenerateOptions;
use crate::error::Error;
use crate::gpu::{Device, DeviceOptions};
use crate::kernels::{Batch, Choices, MAX_LOGIT_BIAS, Reduce, SampleParams};

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
    let mut sessions: Vec<_> = prompts.iter().map(|_| engine.session().unwrap()).collect();
    let mut pass = |take: &dyn Fn(&[u32]) -> std::ops::Range<usize>| {
        let mut batch = Batch::default();
        for (session, prompt) in sessions.iter_mut().zip(prompts) {
            let range = take(prompt);
            session.reserve(range.end).unwrap();
            batch.seqs.push(session.rows(
                range.start,
                prompt[range.clone()].iter().copied(),
                range.end,
                SampleParams::GREEDY,
                vec![range.len() as u32 - 1],
            ));
        }
        let runner = &engine.inner.runner;
        block_on(runner.prepare(batch.n_rows() as u32, false)).unwrap();
        let vocab = engine.config().vocab_size;
        let target = engine.device().readback_for::<f32>(prompts.len() * vocab);
        let target = block_on(target).unwrap();
        let submission = runner.submit(&batch, false, Some((&target, Output::Logits))).unwrap();
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

fn generate(
    session: &mut Session,
    prompt: &[u32],
    options: &GenerateOptions,
) -> (Vec<u32>, Timings) {
    let mut generation = session.generate(prompt, options).unwrap();
    let mut ids = Vec::new();
    while let Some(delta) = block_on(generation.next()) {
        ids.extend(delta.unwrap().token);
    }
    (ids, generation.timings())
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
        let run = |seed| generate(&mut engine.session().unwrap(), &prompt, &sampled(seed, 40)).0;
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
        generate(&mut engine.session().unwrap(), &prompt, &options).0
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
    let mut session = engine.session().unwrap();
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

/// A second turn computes only its new tokens, and its answer equals that of a fresh sequence.
#[test]
fn a_longer_prompt_reuses_the_state_of_a_shorter() {
    for ahead in AHEAD {
        let engine = engine_with("long", |b| b.sequences(2).read_ahead(ahead));
        let vocab = engine.config().vocab_size;
        let options = GenerateOptions { max_tokens: Some(12), ..sampled(1, 12) };
        let mut session = engine.session().unwrap();
        let mut prompt = tokens(40, 5, vocab);
        for turn in 0..4 {
            let (answer, timings) = generate(&mut session, &prompt, &options);
            let (fresh, _) = generate(&mut engine.session().unwrap(), &prompt, &options);
            assert_eq!(answer, fresh, "turn {turn}");
            // All tokens but the answer's last, which was not fed back.
            let known = prompt.len() - 7 - 1;
            assert!(turn == 0 || timings.cache_n == known, "turn {turn}, {ahead}: {timings:?}");
            prompt.extend(&answer);
            prompt.extend(tokens(7, turn, vocab));
        }
        // The text differs from token 3 on, further back than the conv ring reaches, so everything
        // is computed again.
        prompt[3] = (prompt[3] + 1) % vocab as u32;
        let (answer, timings) = generate(&mut session, &prompt, &options);
        assert_eq!(timings.cache_n, 0);
        assert_eq!(answer, generate(&mut engine.session().unwrap(), &prompt, &options).0);
    }
}

/// The ring still has the inputs for a short way back, up to its last column.
#[test]
fn going_back_a_little_keeps_the_state() {
    for ahead in AHEAD {
        let engine = engine_with("tiny-a", |b| b.sequences(2).read_ahead(ahead));
        let vocab = engine.config().vocab_size;
        let options = sampled(2, 1);
        for back in [1, 2, 13, 14, 15, 16] {
            let mut session = engine.session().unwrap();
            let prompt = tokens(50, 8, vocab);
            generate(&mut session, &prompt, &options);
            let mut other = prompt[..50 - back].to_vec();
            other.extend(tokens(5, 21, vocab).iter().map(|t| (t + 1) % vocab as u32));
            let (answer, timings) = generate(&mut session, &other, &options);
            let (fresh, _) = generate(&mut engine.session().unwrap(), &other, &options);
            assert_eq!(answer, fresh, "back {back}");
            assert_eq!(timings.cache_n > 0, back <= 14, "back {back}: {timings:?}");
        }
    }
}

/// An answer that is dropped half way leaves the session usable and correct.
#[test]
fn a_dropped_answer_leaves_a_good_session() {
    for ahead in AHEAD {
        let engine = engine_with("conv-l4", |b| b.sequences(2).read_ahead(ahead));
        let vocab = engine.config().vocab_size;
        let options = sampled(3, 30);
        for stop_after in [0, 1, 2, 9] {
            let mut session = engine.session().unwrap();
            let prompt = tokens(11, 4, vocab);
            let mut read = Vec::new();
            {
                let mut generation = session.generate(&prompt, &options).unwrap();
                for _ in 0..stop_after {
                    read.extend(block_on(generation.next()).unwrap().unwrap().token);
                }
            }
            let mut next = prompt.clone();
            next.extend(&read);
            next.extend(tokens(3, 9, vocab));
            let (answer, _) = generate(&mut session, &next, &options);
            let (fresh, _) = generate(&mut engine.session().unwrap(), &next, &options);
            assert_eq!(answer, fresh, "stopped after {stop_after}");
        }
    }
}

#[test]
fn an_answer_ends_at_the_end_of_the_context() {
    for ahead in AHEAD {
        let engine = engine_with("tiny-a", |b| b.context_length(20).read_ahead(ahead));
        let vocab = engine.config().vocab_size;
        let options = GenerateOptions { max_tokens: None, ..sampled(1, 1) };
        let mut session = engine.session().unwrap();
        let mut generation = session.generate(&tokens(13, 1, vocab), &options).unwrap();
        let mut n = 0;
        while let Some(delta) = block_on(generation.next()) {
            delta.unwrap();
            n += 1;
        }
        assert_eq!((n, generation.finish_reason()), (7, Some(FinishReason::Length)));
        drop(generation);
        let full = session.generate(&tokens(20, 1, vocab), &options).err();
        assert!(
            matches!(full, Some(Error::ContextFull { prompt: 20, context: 20, .. })),
            "{full:?}"
        );
        let one = session.generate(&tokens(19, 1, vocab), &options).map(|mut g| {
            block_on(g.next()).unwrap().unwrap();
            block_on(g.next()).is_none()
        });
        assert!(one.unwrap());
    }
}

#[test]
fn bad_prompts_and_options_are_refused_and_change_nothing() {
    for ahead in AHEAD {
        let engine = engine_with("tiny-a", |b| b.read_ahead(ahead));
        let mut session = engine.session().unwrap();
        let prompt = tokens(9, 3, engine.config().vocab_size);
        let (first, _) = generate(&mut session, &prompt, &sampled(1, 5));
        let before = session.tokens().to_vec();
        assert!(matches!(session.generate(&[], &sampled(1, 5)).err(), Some(Error::EmptyPrompt)));
        let bad = session.generate(&[1, 97], &sampled(1, 5)).err();
        assert!(matches!(bad, Some(Error::TokenOutOfRange { index: 1, id: 97, vocab: 97 })));
        for broken in [f32::NAN, -1.0, f32::INFINITY] {
            let mut options = sampled(1, 5);
            options.sampling.as_mut().unwrap().temperature = broken;
            let refused = session.generate(&prompt, &options).err();
            assert!(matches!(refused, Some(Error::Option { option: "temperature", .. })));
        }
        assert_eq!(session.tokens(), before);
        assert_eq!(generate(&mut session, &prompt, &sampled(1, 5)).0, first);
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
        let mut session = engine.session().unwrap();
        let options = sampled(1, 20);
        let mut generation = session.generate(&prompt, &options).unwrap();
        block_on(generation.next()).unwrap().unwrap();
        let before = engine.device().counters();
        for _ in 0..10 {
            block_on(generation.next()).unwrap().unwrap();
        }
        let after = engine.device().counters();
        assert_eq!(after.submissions - before.submissions, 10);
        assert_eq!(after.readback_bytes - before.readback_bytes, 40);
        // Embedding; conv 2, attention 4 (a short context is one split), dense FFN 2, MoE FFN 3 for
        // each of 5 layers (conv and dense twice, attention and MoE twice, conv and MoE once); head;
        // sampling 3. Norms are parts of products.
        let a_token = 1 + 2 * (2 + 2) + 2 * (4 + 3) + (2 + 3) + 1 + 3;
        assert_eq!(after.dispatches - before.dispatches, 10 * a_token);
    }
}

/// The stream yields the same as `next`.
#[test]
fn an_answer_is_a_stream_too() {
    use futures_util::StreamExt;
    let engine = engine_with("tiny-a", |b| b.sequences(2));
    let prompt = tokens(9, 3, 97);
    let options = sampled(1, 8);
    let mut session = engine.session().unwrap();
    let stream = session.generate(&prompt, &options).unwrap().into_stream();
    let streamed: Vec<_> = block_on(stream.map(|d| d.unwrap().token.unwrap()).collect());
    assert_eq!(streamed, generate(&mut engine.session().unwrap(), &prompt, &options).0);
}

#[test]
fn a_profile_names_every_kernel_of_a_token() {
    let engine = engine_with("tiny-a", |b| b);
    let mut session = engine.session().unwrap();
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

/// A device that is lost during an answer causes an error, no panic and no hang, and the session
/// refuses further work with the same error. This holds on our own device and on a host's, which
/// has its own handlers.
#[test]
fn a_lost_device_is_an_error() {
    use crate::gpu::GpuError;
    let own = || block_on(Device::request(&DeviceOptions::default())).unwrap();
    let host = || {
        let device = own();
        Device::from_wgpu(device.wgpu_device().clone(), device.queue().clone())
    };
    for (whose, device) in [("own", own()), ("host", host())] {
        let engine = engine_with("tiny-a", |b| b.gpu(device));
        let mut session = engine.session().unwrap();
        let mut generation = session.generate(&[1, 2, 3], &sampled(1, 40)).unwrap();
        block_on(generation.next()).unwrap().unwrap();
        engine.device().wgpu_device().destroy();
        let mut results = Vec::new();
        while let Some(result) = block_on(generation.next()) {
            results.push(result);
            assert!(results.len() < 5, "{whose}: {results:?}");
        }
        let last = results.pop().unwrap();
        assert!(matches!(last, Err(Error::Gpu(GpuError::DeviceLost { .. }))), "{whose}: {last:?}");
        drop(generation);
        let mut again = session.generate(&[1, 2, 3], &sampled(1, 4)).unwrap();
        assert!(block_on(again.next()).unwrap().is_err(), "{whose}");
    }
}

fn assert_send<T: Send>(_: &T) {}

#[test]
fn engines_sessions_and_answers_can_move_between_threads() {
    let engine = engine_with("tiny-a", |b| b);
    assert_send(&engine);
    let mut session = engine.session().unwrap();
    assert_send(&session);
    let mut generation = session.generate(&[1, 2, 3], &sampled(1, 3)).unwrap();
    let next = generation.next();
    assert_send(&next);
}
