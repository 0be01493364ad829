//! The server and its engine under load: streaming clients that disconnect, read slowly or ask for much.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lfm2_wgpu::engine::Engine;
use lfm2_wgpu::gpu::{Device, DeviceOptions};
use lfm2_wgpu::selftest::Rng;
use lfm2_wgpu::server::{Listener, Server, ServerOptions};
use pollster::block_on;
use serde_json::{Value, json};

use super::load::{percentile, seconds};

/// Clients at once.
const CLIENTS: u64 = 64;
/// Answers at once.
const PARALLEL: u32 = 16;

fn requests() -> Vec<Value> {
    let questions =
        ["What is 2 + 3?", "Tell me a joke", "Hello!", "What can you do?", "Who are you? "];
    let request = |i: usize| {
        let repeat = if i % 4 == 3 { 30 } else { 1 };
        let text = questions[i % 5].repeat(repeat);
        let mut request = json!({
            "messages": [{ "role": "user", "content": text }],
            "max_tokens": 6 + 3 * i, "temperature": i % 3, "seed": i, "ignore_eos": i.is_multiple_of(2),
        });
        if i % 5 == 4 {
            request["stop"] = " a".into();
        }
        request
    };
    (0..12).map(request).collect()
}

fn send(address: SocketAddr, body: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
    let body = body.to_string();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

/// The text of a whole answer.
fn whole(address: SocketAddr, request: &Value) -> Result<String, u16> {
    let mut text = String::new();
    send(address, request).read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    match head.split(' ').nth(1).unwrap().parse().unwrap() {
        200 => {
            let reply: Value = serde_json::from_str(body).unwrap();
            Ok(reply["choices"][0]["message"]["content"].as_str().unwrap().to_owned())
        }
        status => Err(status),
    }
}

#[derive(Default)]
struct Seen {
    answers: u32,
    left: u32,
    refused: u32,
    first_token: Vec<Duration>,
    between_tokens: Vec<Duration>,
}

/// Manner of a client.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Reads,
    ReadsSlowly,
    Leaves(usize),
    Whole,
    Wrong,
}

/// One client: a request after another, until `deadline`.
fn client(
    address: SocketAddr,
    seed: u64,
    deadline: Instant,
    (requests, texts): (&[Value], &[String]),
    seen: &Mutex<Seen>,
) {
    let mut random = Rng::new(seed);
    while Instant::now() < deadline {
        let index = random.below(requests.len());
        let manner = match random.below(10) {
            0 => Manner::Leaves(random.below(12)),
            1 => Manner::ReadsSlowly,
            2 => Manner::Whole,
            3 => Manner::Wrong,
            _ => Manner::Reads,
        };
        let mut request = requests[index].clone();
        match manner {
            Manner::Whole => {
                assert_eq!(whole(address, &request).as_ref(), Ok(&texts[index]), "{request}");
                seen.lock().unwrap().answers += 1;
                continue;
            }
            Manner::Wrong => {
                request["no_such_field"] = 1.into();
                assert_eq!(whole(address, &request), Err(400));
                seen.lock().unwrap().refused += 1;
                continue;
            }
            _ => request["stream"] = true.into(),
        }
        let (mut last, mut first, mut between) = (Instant::now(), None, Vec::new());
        let (mut text, mut pieces, mut done) = (String::new(), 0, false);
        for line in BufReader::new(send(address, &request)).lines() {
            let line = line.unwrap();
            let Some(data) = line.strip_prefix("data: ") else { continue };
            if data == "[DONE]" {
                done = true;
                break;
            }
            let chunk: Value = serde_json::from_str(data).unwrap();
            let content = chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
            if !content.is_empty() {
                pieces += 1;
                text.push_str(content);
                let waited = last.elapsed();
                match first {
                    None => first = Some(waited),
                    Some(_) => between.push(waited),
                }
                last = Instant::now();
            }
            match manner {
                Manner::ReadsSlowly => std::thread::sleep(Duration::from_millis(20)),
                Manner::Leaves(after) if pieces >= after => break,
                _ => {}
            }
        }
        if done {
            assert_eq!(text, texts[index], "{request}");
        } else {
            assert!(matches!(manner, Manner::Leaves(_)), "an answer was lost: {request}");
            assert!(texts[index].starts_with(&text), "{request}: {text:?}");
        }
        let mut seen = seen.lock().unwrap();
        seen.answers += u32::from(done);
        seen.left += u32::from(!done);
        if manner == Manner::Reads {
            seen.first_token.extend(first);
            seen.between_tokens.extend(between);
        }
    }
}

/// Bytes of this process's memory.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[cfg(not(target_os = "linux"))]
fn resident() -> u64 {
    0
}

/// No request is lost or wrong, each text equals the text alone, and in the end all memory is back.
#[test]
fn many_clients_of_a_server_get_their_own_texts() {
    let device = block_on(Device::request(&DeviceOptions::default())).unwrap();
    // All passes have at most 64 rows, so that a text does not depend on the others.
    let builder = Engine::builder().demo().gpu(device.clone()).context_length(512).chunk(64);
    let engine = block_on(builder.sequences(PARALLEL).build()).unwrap();
    let server = Server::new(ServerOptions::default());
    server.ready(engine.clone());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_io().enable_time().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let listener = Listener::Tcp(listener);
    let address = listener.address().unwrap();
    let running = runtime.spawn({
        let server = server.clone();
        async move { server.run(listener).await }
    });
    let requests = requests();
    let alone = |request: &Value| {
        let mut request = request.clone();
        request["cache_prompt"] = false.into();
        whole(address, &request).unwrap()
    };
    let texts: Vec<String> = requests.iter().map(alone).collect();
    let load = |seconds: u64, seen: &Mutex<Seen>| {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        std::thread::scope(|scope| {
            for seed in 0..CLIENTS {
                let (requests, texts) = (&requests, &texts);
                scope.spawn(move || client(address, seed, deadline, (requests, texts), seen));
            }
        });
    };
    // Allocators and drivers grow to the load first.
    let total = seconds(60);
    load(total / 4, &Mutex::default());
    let (gpu, host) = (device.counters().allocated_bytes, resident());
    let seen = Mutex::default();
    load(total - total / 4, &seen);
    let mut seen = seen.into_inner().unwrap();
    assert_eq!(device.counters().allocated_bytes, gpu);
    let growth = resident().saturating_sub(host);
    assert!(growth < 64 << 20, "the process has grown by {} MiB", growth >> 20);
    server.drain();
    runtime.block_on(running).unwrap();
    let leased: Vec<_> = (0..PARALLEL).map(|_| engine.sequence()).collect();
    assert!(leased.iter().all(Result::is_ok) && engine.sequence().is_err());
    println!(
        "{} answers, {} left, {} refused; first token p50 {:?}, p99 {:?}; between pieces p50 {:?}, p99 {:?}; grown by {} KiB; {:?}",
        seen.answers,
        seen.left,
        seen.refused,
        percentile(&mut seen.first_token, 50),
        percentile(&mut seen.first_token, 99),
        percentile(&mut seen.between_tokens, 50),
        percentile(&mut seen.between_tokens, 99),
        growth >> 10,
        engine.cache_counts(),
    );
    // A slow host answers few clients within the time.
    assert!(seen.answers > 10 && seen.left > 0, "too few answers");
}
