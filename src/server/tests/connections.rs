//! Connections that are slow, long or many.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::super::listen::{Limits, Listener};
use super::*;

/// A server on a port of its own, in a thread that never ends.
fn listening(server: &Server, limits: Limits) -> SocketAddr {
    let (server, (sender, address)) = (server.clone(), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_io().enable_time().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            server.run_within(Listener::Tcp(listener), limits).await;
        });
    });
    address.recv().unwrap()
}

fn connected(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// The first line of the reply; empty if the connection was closed.
fn status(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A closed connection may be an error or an end.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned()
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[test]
fn slow_and_long_headers_end_a_connection() {
    let headers_arrive = Duration::from_millis(300);
    let limits = Limits { headers_arrive, connections: 3, ..Limits::default() };
    let address = listening(&server(ServerOptions::default()), limits);
    // All places are taken by clients that send nothing; they end, and the next client is served.
    let began = Instant::now();
    let slow: Vec<_> = (0..3).map(|_| connected(address, "GET /health HTTP/1.1\r\nx: ")).collect();
    assert!(status(connected(address, HEALTH)).contains("200"));
    assert!(began.elapsed() >= headers_arrive);
    for stream in slow {
        assert!(!status(stream).contains("200"));
    }
    let many: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    let many = format!("GET /health HTTP/1.1\r\n{many}\r\n");
    assert!(status(connected(address, &many)).contains("431"));
    let long = format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let mut stream = TcpStream::connect(address).unwrap();
    // The server may close the connection before it has all bytes.
    let _ = stream.write_all(long.as_bytes());
    assert!(!status(stream).contains("200"));
    assert!(status(connected(address, "no HTTP at all\r\n\r\n")).contains("400"));
    assert!(status(connected(address, HEALTH)).contains("200"));
}

/// A client that reads nothing loses its connection, and its answer does not wait for it.
#[test]
fn a_client_that_does_not_read_is_left() {
    let limits = Limits { client_reads: Duration::from_millis(300), ..Limits::default() };
    // Enough text to fill all buffers of the network, without the time of a real answer.
    let pieces = vec!["word ".repeat(2000); 5000];
    let script = Mutex::new((AnswerFormat::default(), pieces));
    let scripted = Arc::new(Scripted { engine: engine(), script });
    let server = Server::new(ServerOptions::default());
    server.ready_with(engine(), scripted);
    let address = listening(&server, limits);
    let body = chat(json!({ "stream": true })).to_string();
    let stream = connected(
        address,
        &format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    std::thread::sleep(5 * limits.client_reads);
    // The answer has ended for the engine, whoever reads it.
    assert_eq!(server.shared.in_flight(), 0);
    assert!(status(connected(address, HEALTH)).contains("200"));
    let (mut stream, mut rest) = (stream, Vec::new());
    let _ = stream.read_to_end(&mut rest);
    let end = &rest[rest.len().saturating_sub(64)..];
    assert!(!String::from_utf8_lossy(end).contains("[DONE]"), "{} bytes", rest.len());
}
