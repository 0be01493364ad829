//! Tests of what engines and sessions share: a device, its memory, logits, slots and pages; and of
//! kernel choices.

use std::sync::{Arc, Barrier};

use super::*;
use crate::formats::ModelFiles;
use crate::gpu::{Caps, LimitsChoice};
use crate::kernels::{Activations, KvFormat, MatmulCoop, Multiply};
use crate::model::{Recipe, WeightChoice};

/// Greedy tokens of transformers after a prompt.
fn golden(name: &str) -> (Vec<u32>, Vec<u32>) {
    let text = std::fs::read(fixture(name).join("golden.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let ids = |key: &str| -> Vec<u32> {
        let ids = json[key].as_array().unwrap();
        ids.iter()
            .flat_map(|id| id.as_array().cloned().unwrap_or(vec![id.clone()]))
            .map(|id| id.as_u64().unwrap() as u32)
            .collect()
    };
    (ids("input_ids"), ids("greedy_16"))
}

/// Two models on one device at WebGPU's default limits, their answers interleaved token by token:
/// each answer equals that of transformers.
#[test]
fn engines_at_default_limits_share_a_device() {
    let options = DeviceOptions { limits: LimitsChoice::Default, ..Default::default() };
    let core = block_on(Device::request(&options)).unwrap();
    assert_eq!(Caps { software: core.caps().software, ..Caps::core() }, *core.caps());
    let greedy = GenerateOptions { sampling: Some(SamplingOptions::greedy()), ..sampled(1, 16) };
    let models = ["tiny-a", "tiny-b"].map(|name| {
        let builder = Engine::builder().directory(fixture(name)).unwrap().gpu(core.clone());
        let engine = builder.context_length(64).kv_format(KvFormat::F32).build();
        (block_on(engine).unwrap(), golden(name))
    });
    let answer = |(engine, (prompt, _)): &(Engine, (Vec<u32>, Vec<u32>))| {
        engine.session().generate(prompt, &greedy).unwrap()
    };
    let mut answers: Vec<_> = models.iter().map(answer).collect();
    let mut got = [Vec::new(), Vec::new()];
    for _ in 0..16 {
        for (answer, got) in answers.iter_mut().zip(&mut got) {
            got.extend(next_token(answer));
        }
    }
    for ((_, (_, want)), got) in models.iter().zip(&got) {
        assert_eq!((got, want.len()), (want, 16));
    }
}

/// More requests than the engine has slots for, of all lengths: each gets the tokens that it gets
/// alone, and then all slots and pages are unused. In the last cases the pool has too few pages for all.
#[test]
fn many_requests_equal_those_alone() {
    for (sequences, context, ahead, pool) in [
        (1, 128, 0, 1),
        (3, 128, 1, 1),
        (4, 100, 2, 1),
        (16, 96, 1, 1),
        (8, 256, 1, 6),
        (8, 256, 2, 8),
    ] {
        let build = |b: EngineBuilder| {
            b.sequences(sequences).context_length(context).read_ahead(ahead).chunk(32)
        };
        let whole = *engine_with("tiny-a", build).memory();
        let memory = whole.total() - whole.kv + whole.kv / pool;
        let engine = engine_with("tiny-a", |b| build(b).memory(memory));
        let vocab = engine.config().vocab_size;
        let unused = engine.scheduler().unused();
        let requests: Vec<_> = (0..16)
            .map(|i: u32| {
                // Half of them share a beginning.
                let mut prompt = tokens(if i.is_multiple_of(2) { 30 } else { 3 }, i % 2, vocab);
                prompt.extend(tokens((i * 7 % 40) as usize, i, vocab));
                let length = if pool > 1 { 90 } else { 5 } + (i * 5 % 17) as usize;
                let mut options = sampled(u64::from(i), length);
                if i.is_multiple_of(3) {
                    options.sampling = Some(SamplingOptions::greedy());
                }
                (prompt, options)
            })
            .collect();
        let start = |(prompt, options): &(Vec<u32>, GenerateOptions)| {
            engine.session().generate(prompt, options).unwrap()
        };
        let mut answers: Vec<_> = requests.iter().map(start).collect();
        let mut lacks = Vec::new();
        for ((prompt, options), answer) in requests.iter().zip(&mut answers) {
            let mut next = || {
                lacks.extend(engine.queue_counts().lack);
                next_token(answer)
            };
            let together: Vec<u32> = std::iter::from_fn(&mut next).collect();
            assert_eq!(together, fresh(&engine, prompt, options), "{sequences}");
        }
        assert_eq!(engine.scheduler().unused(), unused, "{sequences}");
        assert_eq!(engine.cache_counts().preemptions > 0, pool > 1, "{sequences}");
        assert_eq!(lacks.contains(&Lack::Pages), pool > 1, "{sequences}");
        assert_eq!(lacks.contains(&Lack::Sequences), pool == 1 && sequences < 16, "{sequences}");
        assert_eq!(engine.queue_counts(), QueueCounts::default());
    }
}

/// More sequences decode at once than a chunk has rows.
#[test]
fn sequences_may_exceed_the_rows_of_a_chunk() {
    let engine = engine_with("tiny-a", |b| b.sequences(8).chunk(4).context_length(64));
    let vocab = engine.config().vocab_size;
    let prompts: Vec<_> = (0..8).map(|i| tokens(5 + i as usize, i, vocab)).collect();
    let options = sampled(1, 20);
    let request = |prompt: &Vec<u32>| GenerateRequest {
        prompt: prompt.clone(),
        options: options.clone(),
        ..GenerateRequest::default()
    };
    let all = block_on(engine.generate_batch(prompts.iter().map(request)));
    for (prompt, done) in prompts.iter().zip(all) {
        assert_eq!(done.unwrap().timings.predicted_n, 20);
        let (ids, _) = generate(&engine, prompt, &options);
        assert_eq!(ids, fresh(&engine, prompt, &options));
    }
}

/// A request that can only wait for a leased slot is refused, since its caller may hold the lease.
#[test]
fn leased_slots_are_refused_and_returned() {
    let engine = engine_with("tiny-a", |b| b.context_length(128));
    let unused = engine.scheduler().unused();
    let mut sequence = engine.sequence().unwrap();
    assert!(matches!(engine.sequence().err(), Some(Error::NoFreeSequence { slots: 1 })));
    block_on(sequence.feed(&[1, 2, 3])).unwrap();
    let mut refused = engine.session().generate(&[1, 2], &sampled(1, 2)).unwrap();
    let error = block_on(refused.next()).unwrap().err();
    assert!(matches!(error, Some(Error::NoFreeSequence { slots: 1 })), "{error:?}");
    drop(sequence);
    assert_eq!(engine.scheduler().unused(), unused);
    assert_eq!(fresh(&engine, &[1, 2], &sampled(1, 2)).len(), 2);
}

/// Two sequences read logits at the same time, each its own: logits are copied in their pass's
/// submission.
#[test]
fn logits_are_a_sequences_own_while_another_runs() {
    let engine = engine_with("tiny-a", |b| b.sequences(2));
    let vocab = engine.config().vocab_size;
    let run = |engine: &Engine, prompt: &[u32]| -> Vec<u32> {
        let logits = block_on(engine.sequence().unwrap().logits(prompt, 7)).unwrap();
        logits.into_iter().map(f32::to_bits).collect()
    };
    let prompts = [tokens(35, 1, vocab), tokens(35, 2, vocab)];
    let want = prompts.clone().map(|prompt| run(&engine, &prompt));
    assert!(want[0] != want[1]);
    let together = Arc::new(Barrier::new(2));
    let threads: Vec<_> = prompts
        .into_iter()
        .zip(want)
        .map(|(prompt, want)| {
            let (engine, together) = (engine.clone(), together.clone());
            std::thread::spawn(move || {
                for round in 0..12 {
                    together.wait();
                    assert!(run(&engine, &prompt) == want, "round {round}");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // The same without relying on timing: a second pass is submitted before the first one's logits
    // are read.
    let runner = engine.runner();
    let mut sequences = [engine.sequence().unwrap(), engine.sequence().unwrap()];
    block_on(runner.prepare(1, PassOutput::Logits, false)).unwrap();
    let mut submit = |i: usize, token: u32| {
        let sequence = &mut sequences[i];
        sequence.reserve(1).unwrap();
        let rows = sequence.rows(
            0,
            std::iter::once(token),
            1,
            SampleParams::GREEDY,
            vec![LogitRow::new(0)],
        );
        let target = block_on(engine.device().readback_for::<f32>(vocab)).unwrap();
        let batch = Batch { seqs: vec![rows] };
        let submission =
            runner.submit(&batch, PassOutput::Logits, &[(&target, Output::Logits)]).unwrap();
        (target, submission)
    };
    let passes = [submit(0, 5), submit(1, 9)];
    for ((target, submission), token) in passes.into_iter().zip([5, 9]) {
        let got = block_on(target.read::<f32>(Some(&submission))).unwrap();
        let got: Vec<u32> = got.into_iter().map(f32::to_bits).collect();
        let other = engine_with("tiny-a", |b| b);
        assert!(got == run(&other, &[token]), "token {token}");
    }
}

/// The live bytes of the counters are those of the plan and little more; they are freed with the
/// engine.
#[test]
fn counters_report_live_and_peak_bytes() {
    let own = block_on(Device::request(&DeviceOptions::default())).unwrap();
    let alive = || own.counters().allocated_bytes;
    assert_eq!((alive(), own.counters().peak_allocated_bytes), (0, 0));
    let mut peak = 0;
    for round in 0..3 {
        let engine = engine_with("tiny-a", |b| b.gpu(own.clone()).context_length(256));
        let planned = engine.memory().total();
        // The plans' parameters and the batch table are not in the memory plan.
        assert!((planned..planned + (1 << 20)).contains(&alive()), "{} of {planned}", alive());
        let built = alive();
        generate(&engine, &[1, 2, 3], &sampled(1, 4));
        // Readbacks of drawn tokens.
        assert!((built..built + 64).contains(&alive()));
        let mut sequence = engine.sequence().unwrap();
        // Sampling needs the logits of one row a sequence.
        let vocab = engine.config().vocab_size;
        assert_eq!(engine.runner().scratch.logits.len(), vocab);
        block_on(sequence.logits(&[4, 5], 2)).unwrap();
        assert!(alive() >= built + 4 * vocab as u64);
        let now = own.counters().peak_allocated_bytes;
        assert!(now >= alive() && (round == 0 || now == peak), "round {round}: {now}, {peak}");
        peak = now;
        drop(sequence);
        drop(engine);
        assert_eq!(alive(), 0, "round {round}");
    }
}

fn opened(name: &str, place: Option<&str>) -> OpenedModel {
    let files = Arc::new(ModelFiles::directory(fixture(name)).unwrap());
    let mut model = block_on(OpenedModel::open(&files)).unwrap();
    if let Some(place) = place {
        let none = ModelFiles::embedded(place, &[]);
        model.text = block_on(ModelText::open(&none, model.config.vocab_size)).unwrap();
    }
    model
}

/// The same device and model give the same choices, and reported choices can be passed to a
/// builder.
#[test]
fn reported_choices_can_be_passed_to_a_builder() {
    let engine = engine_with("tiny-b", |b| b);
    let chosen = engine.choices();
    assert_eq!(chosen, Choices::by_capability(device().caps()));
    let text = serde_json::to_string(&chosen).unwrap();
    let again: Choices = serde_json::from_str(&text).unwrap();
    assert_eq!(engine_with("tiny-b", |b| b.choices(again)).choices(), chosen);
    let other = Choices { reduce: Reduce::Tree, ..chosen };
    let engine = engine_with("tiny-b", |b| b.choices(other).activations(Activations::Int8));
    assert_eq!(engine.choices(), Choices { activations: Activations::Int8, ..other });
    if !MatmulCoop::available(device().caps()) {
        let builder = Engine::builder().directory(fixture("tiny-b")).unwrap().gpu(device());
        let refused = block_on(builder.multiply(Multiply::MatrixUnits).build()).err();
        assert!(matches!(refused, Some(Error::Option { option: "multiply", .. })), "{refused:?}");
    }
}

#[test]
fn choices_follow_from_device_and_model() {
    let gpu = Caps::everything();
    let choose = |builder: EngineBuilder, model: &OpenedModel, caps: &Caps| {
        let choices = builder.choose(model, caps).unwrap();
        (choices.activations, choices.multiply)
    };
    let (plain, f32) = (opened("tiny-b", None), opened("tiny-a", None));
    let q8 = || Engine::builder().weights(Recipe::new(WeightChoice::Q8));
    use {Activations::*, Multiply::*};
    assert_eq!(choose(Engine::builder(), &plain, &gpu), (Float, MatrixUnits));
    assert_eq!(choose(Engine::builder(), &plain, &Caps::core()), (Float, Lanes));
    // f32 weights are computed in f32, unless they are quantised.
    assert_eq!(choose(Engine::builder(), &f32, &gpu), (Float, Lanes));
    assert_eq!(choose(q8(), &f32, &gpu), (Float, MatrixUnits));
    assert_eq!(choose(Engine::builder().multiply(MatrixUnits), &f32, &gpu), (Float, MatrixUnits));
    // QAD files were trained with int8 activations, which need weights in blocks.
    let qad = opened("tiny-b", Some("models/LFM2.5-1.2B-Instruct-QAD-Q4_0.gguf"));
    assert_eq!(choose(q8(), &qad, &gpu), (Int8, MatrixUnits));
    assert_eq!(choose(q8().activations(Float), &qad, &gpu), (Float, MatrixUnits));
    assert_eq!(choose(Engine::builder(), &qad, &gpu), (Float, MatrixUnits));
    for (place, trained) in [
        ("x-qad.gguf", true),
        ("QAD/x-Q4_0.gguf", false),
        ("x/QAD", true),
        ("x/QAD/", true),
        ("aqad-Q4_0", false),
        ("embedded", false),
        ("", false),
    ] {
        assert_eq!(opened("tiny-b", Some(place)).trained_for_int8(), trained, "{place:?}");
    }
}

/// A pass with more logit rows than its buffer has room for is refused.
#[test]
fn more_logits_than_the_buffer_holds_are_refused() {
    let engine = engine_with("tiny-a", |b| b);
    let mut sequence = engine.sequence().unwrap();
    sequence.reserve(4).unwrap();
    let rows =
        sequence.rows(0, 1..5, 4, SampleParams::GREEDY, vec![LogitRow::new(0), LogitRow::new(1)]);
    let batch = Batch { seqs: vec![rows] };
    let refused = engine.runner().submit(&batch, PassOutput::Tokens, &[]).err();
    assert!(refused.as_ref().unwrap().to_string().contains("logits of 2 rows"), "{refused:?}");
}
