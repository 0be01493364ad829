//! Tests of the loss of a device while answers run.

use super::*;
use crate::engine::OnDeviceLost;
use crate::gpu::GpuError;

fn own() -> Device {
    block_on(Device::request(&DeviceOptions::default())).unwrap()
}

/// The same device as an application's, which has its own handlers.
fn host() -> Device {
    let device = own();
    Device::from_wgpu(device.wgpu_device().clone(), device.queue().clone())
}

fn is_lost<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Gpu(GpuError::DeviceLost { .. })))
}

/// Prompts and options of answers that differ in everything.
fn requests(vocab: usize) -> Vec<(Vec<u32>, GenerateOptions)> {
    let lengths = [3, 60, 21, 130];
    let prompt = |i: usize| tokens(lengths[i], i as u32, vocab);
    (0..4)
        .map(|i| (prompt(i), GenerateOptions { ignore_end: true, ..sampled(i as u64, 25) }))
        .collect()
}

fn start(engine: &Engine) -> Vec<Generation> {
    let requests = requests(engine.config().vocab_size);
    requests.iter().map(|(p, options)| engine.session().generate(p, options).unwrap()).collect()
}

fn all_tokens(mut generation: Generation) -> Vec<u32> {
    std::iter::from_fn(|| next_token(&mut generation)).collect()
}

/// Without the will to continue, a device that is lost during an answer causes an error, no panic and no hang, and the
/// session refuses further work with the same error.
#[test]
fn a_lost_device_is_an_error() {
    for (whose, device) in [("own", own()), ("host", host())] {
        let engine = engine_with("tiny-a", |b| b.gpu(device).on_device_lost(OnDeviceLost::Fail));
        let session = engine.session();
        let mut generation = session.generate(&[1, 2, 3], &sampled(1, 500)).unwrap();
        next_token(&mut generation).unwrap();
        engine.device().wgpu_device().destroy();
        let mut results = Vec::new();
        while let Some(result) = block_on(generation.next()) {
            results.push(result);
            assert!(results.len() < 12, "{whose}: {results:?}");
        }
        let last = results.pop().unwrap();
        assert!(is_lost(&last), "{whose}: {last:?}");
        drop(generation);
        let mut again = session.generate(&[1, 2, 3], &sampled(1, 4)).unwrap();
        assert!(block_on(again.next()).unwrap().is_err(), "{whose}");
        let resumed = engine.resume(own());
        assert!(matches!(block_on(resumed), Err(Error::EngineStopped)), "{whose}");
    }
}

/// The device is lost at random steps of four answers, of which three run at once: each answer continues and has the
/// tokens that it has without a loss.
#[test]
fn answers_continue_on_a_new_device() {
    let losses = if std::env::var("LFM2_TESTS").is_ok_and(|all| all == "all") { 50 } else { 5 };
    let alone: Vec<Vec<u32>> = {
        let engine = engine_with("tiny-a", |b| b);
        start(&engine).into_iter().map(all_tokens).collect()
    };
    let engine = engine_with("tiny-a", |b| b.gpu(own()).sequences(3).read_ahead(2));
    let mut random = 7u64;
    for loss in 0..losses {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let read = (random >> 40) as usize % 20;
        let mut running = start(&engine);
        let mut got = vec![Vec::new(); running.len()];
        for _ in 0..read {
            got[0].extend(next_token(&mut running[0]));
        }
        engine.device().wgpu_device().destroy();
        for (generation, got) in running.into_iter().zip(&mut got) {
            got.extend(all_tokens(generation));
        }
        assert_eq!(got, alone, "loss {loss} after {read} tokens");
    }
    assert_eq!(engine.device_losses(), losses);
    // Its state is gone, which a caller's own sequence must not read as zeros.
    let mut sequence = engine.sequence().unwrap();
    block_on(sequence.feed(&[1, 2, 3])).unwrap();
    engine.device().wgpu_device().destroy();
    let refused = block_on(sequence.feed(&[4]));
    assert!(is_lost(&refused), "{refused:?}");
    assert_eq!(start(&engine).into_iter().map(all_tokens).collect::<Vec<_>>(), alone);
    assert!(is_lost(&block_on(sequence.feed(&[4]))), "also when the engine has a new device");
    drop(sequence);
    assert!(block_on(engine.sequence().unwrap().feed(&[1])).is_ok());
}

/// An answer ends if its devices are lost again and again before it has a token; the next one gets a new device.
#[test]
fn losses_in_a_row_end_an_answer_and_not_the_engine() {
    let engine = engine_with("tiny-a", |b| b.gpu(own()));
    let prompt = tokens(500, 1, engine.config().vocab_size);
    let alone = all_tokens(engine.session().generate(&prompt, &sampled(1, 5)).unwrap());
    engine.clear_cache();
    let losing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while losing.load(std::sync::atomic::Ordering::Relaxed) {
                engine.device().wgpu_device().destroy();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let mut generation = engine.session().generate(&prompt, &sampled(1, 5)).unwrap();
        let last = std::iter::from_fn(|| block_on(generation.next())).last().unwrap();
        losing.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(is_lost(&last), "{last:?}");
    });
    assert_eq!(engine.device_losses(), 3);
    assert_eq!(all_tokens(engine.session().generate(&prompt, &sampled(1, 5)).unwrap()), alone);
}

/// On an application's device, each answer reports the loss once and continues after `resume`; new ones wait too.
#[test]
fn an_application_resumes_on_its_new_device() {
    let engine = engine_with("tiny-a", |b| b.gpu(host()).sequences(3));
    let alone: Vec<Vec<u32>> = start(&engine).into_iter().map(all_tokens).collect();
    let mut running = start(&engine);
    let mut got = vec![Vec::new(); running.len()];
    got[0].extend(next_token(&mut running[0]));
    engine.device().wgpu_device().destroy();
    let interrupted = |generation: &mut Generation, got: &mut Vec<u32>| loop {
        match block_on(generation.next()).unwrap() {
            Ok(delta) => got.extend(delta.token),
            error => return assert!(is_lost(&error), "{error:?}"),
        }
    };
    running.iter_mut().zip(&mut got).for_each(|(one, got)| interrupted(one, got));
    let mut late = start(&engine).remove(1);
    interrupted(&mut late, &mut Vec::new());
    // One reader leaves meanwhile.
    drop(running.remove(2));
    got.remove(2);
    let resumed = engine.resume(engine.device());
    assert!(is_lost(&block_on(resumed)), "the lost device again");
    block_on(engine.resume(host())).unwrap();
    for (generation, got) in running.into_iter().zip(&mut got) {
        got.extend(all_tokens(generation));
    }
    assert_eq!(got, [&alone[0][..], &alone[1], &alone[3]]);
    assert_eq!(all_tokens(late), alone[1]);
    // An engine that has lost nothing moves too.
    let mut running = start(&engine);
    let first = next_token(&mut running[0]);
    block_on(engine.resume(host())).unwrap();
    let rest = all_tokens(running.remove(0));
    assert_eq!(first.into_iter().chain(rest).collect::<Vec<_>>(), alone[0]);
}
