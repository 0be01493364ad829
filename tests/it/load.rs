//! Many requests at once for some time: with cancels, slow readers, long prompts and stop strings.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use lfm2_wgpu::engine::{Engine, GenerateOptions, GenerateRequest, SamplingOptions};
use lfm2_wgpu::gpu::{Device, DeviceOptions};
use lfm2_wgpu::selftest::Rng;
use lfm2_wgpu::text::{Conversation, Message};
use pollster::block_on;

/// Clients at once, and sequences of the engine.
const CLIENTS: u32 = 64;

/// Seconds of a load: `LFM2_LOAD_SECONDS`, or `by_default`.
pub fn seconds(by_default: u64) -> u64 {
    std::env::var("LFM2_LOAD_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(by_default)
}

fn requests(engine: &Engine) -> Vec<GenerateRequest> {
    let questions = [
        "What is 2 + 3?",
        "Tell me a joke",
        "Hello!",
        "What can you do?",
        "What is WebGPU? ",
        "Who are you?",
    ];
    (0u64..12)
        .map(|i| {
            let repeat = if i % 4 == 3 { 30 } else { 1 };
            let text = questions[i as usize % 6].repeat(repeat);
            let system = Message::system("You are a helpful assistant. Answer in one sentence.");
            let messages = [system, Message::user(text)];
            let conversation = Conversation::new(messages.into_iter().skip(i as usize % 2));
            let (prompt, format) = engine.chat_prompt(&conversation).unwrap();
            let sampling = match i % 3 {
                0 => SamplingOptions::greedy(),
                _ => SamplingOptions { temperature: 1.0, seed: Some(i), ..Default::default() },
            };
            let options = GenerateOptions {
                sampling: Some(sampling),
                max_tokens: Some(6 + 3 * i as usize),
                stop: if i % 5 == 4 { vec![" a".to_owned()] } else { Vec::new() },
                ignore_end: i % 2 == 0,
                ..Default::default()
            };
            GenerateRequest { prompt, format, options }
        })
        .collect()
}

#[derive(Default)]
struct Seen {
    answers: u32,
    cancelled: u32,
    first_token: Vec<Duration>,
    between_tokens: Vec<Duration>,
}

/// One client: a request after another, until `deadline`.
fn client(
    engine: &Engine,
    seed: u64,
    deadline: Instant,
    (requests, texts): (&[GenerateRequest], &[String]),
    seen: &Mutex<Seen>,
) {
    let mut random = Rng::new(seed);
    while Instant::now() < deadline {
        let index = random.below(requests.len());
        let (cancel_after, slow) = match random.below(8) {
            0 => (Some(random.below(12)), false),
            1 => (None, true),
            _ => (None, false),
        };
        let mut last = Instant::now();
        let mut generation = engine.generate(requests[index].clone()).unwrap();
        let (mut text, mut tokens, mut first, mut between) = (String::new(), 0, None, Vec::new());
        while let Some(delta) = block_on(generation.next()) {
            let delta = delta.unwrap();
            text.push_str(&delta.text);
            if delta.token.is_some() {
                tokens += 1;
                let waited = last.elapsed();
                match first {
                    None => first = Some(waited),
                    Some(_) => between.push(waited),
                }
                last = Instant::now();
            }
            if slow {
                std::thread::sleep(Duration::from_millis(20));
            }
            if cancel_after.is_some_and(|after| tokens >= after) {
                break;
            }
        }
        let whole = generation.finish_reason().is_some();
        assert!(whole || cancel_after.is_some());
        if whole {
            assert_eq!(text, texts[index], "request {index}");
        } else {
            assert!(texts[index].starts_with(&text), "request {index}: {text:?}");
        }
        let mut seen = seen.lock().unwrap();
        seen.answers += u32::from(whole);
        seen.cancelled += u32::from(!whole);
        if !slow {
            seen.first_token.extend(first);
            seen.between_tokens.extend(between);
        }
    }
}

pub fn percentile(times: &mut [Duration], p: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * p / 100).copied().unwrap_or_default()
}

/// Nothing is lost, every text equals the text alone, and in the end all sequences and all memory are back.
#[test]
fn many_clients_get_their_own_texts() {
    let device = block_on(Device::request(&DeviceOptions::default())).unwrap();
    // All passes have at most 64 rows, so that a text does not depend on the others.
    let builder = Engine::builder().demo().gpu(device.clone()).context_length(512).chunk(64);
    let engine = block_on(builder.sequences(CLIENTS).build()).unwrap();
    let requests = requests(&engine);
    let alone = |request: &GenerateRequest| {
        let options = GenerateOptions { no_cache: true, ..request.options.clone() };
        let mut generation =
            engine.generate(GenerateRequest { options, ..request.clone() }).unwrap();
        block_on(generation.text()).unwrap()
    };
    let texts: Vec<String> = requests.iter().map(alone).collect();
    let before = device.counters().allocated_bytes;
    let deadline = Instant::now() + Duration::from_secs(seconds(30));
    let seen = Mutex::new(Seen::default());
    std::thread::scope(|scope| {
        for seed in 0..u64::from(CLIENTS) {
            let (engine, seen) = (&engine, &seen);
            let (requests, texts) = (&requests, &texts);
            scope.spawn(move || client(engine, seed, deadline, (requests, texts), seen));
        }
    });
    let mut seen = seen.into_inner().unwrap();
    assert_eq!(device.counters().allocated_bytes, before);
    // Waits for the last cancelled answer.
    assert_eq!(alone(&requests[0]), texts[0]);
    let leased: Vec<_> = (0..CLIENTS).map(|_| engine.sequence()).collect();
    assert!(leased.iter().all(Result::is_ok) && engine.sequence().is_err());
    let counts = engine.cache_counts();
    println!(
        "{} answers, {} cancelled; first token p50 {:?}, p99 {:?}; between tokens p50 {:?}, p99 {:?}; {counts:?}",
        seen.answers,
        seen.cancelled,
        percentile(&mut seen.first_token, 50),
        percentile(&mut seen.first_token, 99),
        percentile(&mut seen.between_tokens, 50),
        percentile(&mut seen.between_tokens, 99),
    );
    assert!(seen.answers > CLIENTS && seen.cancelled > 0, "too few answers");
}
