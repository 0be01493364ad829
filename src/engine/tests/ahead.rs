//! Tests of reading ahead and of cutting long passes, which a software adapter does not do by
//! default.

use super::*;

/// Every reason for an answer's end, at each number of tokens read ahead.
#[test]
fn reading_ahead_never_changes_the_text() {
    let told = |engine: &Engine, prompt: &[u32], options: &GenerateOptions| {
        let mut generation = engine.session().generate(prompt, options).unwrap();
        let (mut ids, mut text) = (Vec::new(), String::new());
        while let Some(delta) = block_on(generation.next()) {
            let delta = delta.unwrap();
            ids.extend(delta.token);
            text.push_str(&delta.text);
        }
        (ids, text, generation.finish_reason(), generation.timings().predicted_n)
    };
    let engines: Vec<_> = AHEAD
        .iter()
        .map(|n| engine_with("tiny-a", |b| b.sequences(2).context_length(48).read_ahead(*n)))
        .collect();
    for (engine, ahead) in engines.iter().zip(AHEAD) {
        assert_eq!(engine.read_ahead(), ahead);
    }
    let vocab = engines[0].config().vocab_size;
    let ends = GenerateOptions { ignore_end: false, max_tokens: None, ..sampled(3, 1) };
    let greedy = GenerateOptions { sampling: Some(SamplingOptions::greedy()), ..sampled(1, 12) };
    for (n, options) in
        [(9, sampled(1, 1)), (9, sampled(1, 2)), (9, sampled(1, 30)), (30, ends), (46, greedy)]
    {
        let prompt = tokens(n, 3, vocab);
        let all: Vec<_> = engines.iter().map(|e| told(e, &prompt, &options)).collect();
        assert!(!all[0].0.is_empty());
        assert!(all.iter().all(|one| *one == all[0]), "{n}: {all:?}");
    }
}

/// Nothing is submitted beyond the last token of an answer whose length is known.
#[test]
fn no_token_is_computed_in_vain_at_a_known_end() {
    for ahead in AHEAD {
        let own = block_on(Device::request(&DeviceOptions::default())).unwrap();
        let engine = engine_with("tiny-a", |b| b.gpu(own).read_ahead(ahead));
        let before = engine.device().counters().submissions;
        fresh(&engine, &[1, 2, 3], &sampled(1, 3));
        assert_eq!(engine.device().counters().submissions - before, 3);
    }
    let builder = Engine::builder().directory(fixture("tiny-a")).unwrap().gpu(device());
    let refused = block_on(builder.read_ahead(5).build()).err();
    assert!(matches!(refused, Some(Error::Option { option: "read_ahead", .. })), "{refused:?}");
}

fn bits(values: Vec<f32>) -> Vec<u32> {
    values.into_iter().map(f32::to_bits).collect()
}

/// The logits of a prompt, the tokens after it, and the number of submissions of the prompt.
fn run(engine: &Engine, pace: Pace, prompt: &[u32]) -> (Vec<u32>, Vec<u32>, u64) {
    *engine.runner().pace.lock().unwrap() = pace;
    let before = engine.device().counters().submissions;
    let logits = block_on(engine.sequence().unwrap().logits(prompt, 512)).unwrap();
    let submissions = engine.device().counters().submissions - before;
    let (ids, _) = generate(engine, prompt, &sampled(5, 8));
    (bits(logits), ids, submissions)
}

/// A long chunk gives the same bits in as many submissions as it has steps, in some, in one, and
/// while the device's speed is being learnt.
#[test]
fn a_chunk_cut_into_many_submissions_equals_one_uncut() {
    let reduces = [Reduce::serial(device().caps()), Reduce::shared_rows(device().caps())];
    for (name, n) in [("tiny-a", 100), ("long", 300)] {
        for reduce in reduces {
            let own = block_on(Device::request(&DeviceOptions::default())).unwrap();
            let choices = Choices { reduce, ..Choices::by_capability(device().caps()) };
            let engine = engine_with(name, |b| b.gpu(own).choices(choices));
            let prompt = tokens(n, 4, engine.config().vocab_size);
            let pace = |macs_per_second, known| Pace { macs_per_second, known };
            let (logits, ids, submissions) = run(&engine, pace(1e15, true), &prompt);
            assert_eq!(submissions, 1);
            for (speed, known, least) in [(1.0, true, 20), (1e8, true, 2), (1e8, false, 2)] {
                let cut = run(&engine, pace(speed, known), &prompt);
                assert!(cut.2 >= least, "{name} {reduce:?} {speed}: {} submissions", cut.2);
                assert!(cut.0 == logits && cut.1 == ids, "{name} {reduce:?} {speed} {known}");
            }
        }
    }
}
