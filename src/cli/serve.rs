//! `lfm2 serve`: answers HTTP requests in the formats of OpenAI's and Anthropic's APIs.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;

use super::error::CliError;
use super::input::read_text;
use super::interrupt::{self, Meaning};
use super::options::Common;
use super::{load, stats};
use crate::engine::Engine;
use crate::server::{Listener, Server, ServerOptions};

/// Threads that read requests and write answers. The engine has a thread of its own.
const HTTP_THREADS: usize = 2;

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Serve {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", env = "LFM2_HOST")]
    host: String,
    /// Port to listen on; 0 chooses a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080, env = "LFM2_PORT")]
    port: u16,
    /// Listen on this Unix socket instead
    #[arg(long, value_name = "PATH", env = "LFM2_SOCKET", conflicts_with_all = ["host", "port"])]
    socket: Option<PathBuf>,
    /// Key that clients must send. Other users of this machine can see it; --api-key-file hides it
    #[arg(long, value_name = "KEY", env = "LFM2_API_KEY", hide_env_values = true)]
    api_key: Vec<String>,
    /// File with keys, one per line
    #[arg(long, value_name = "FILE", env = "LFM2_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
    /// Listen on a public address without a key: everybody who reaches it can use the model
    #[arg(long, env = "LFM2_NO_API_KEY", conflicts_with_all = ["api_key", "api_key_file"])]
    no_api_key: bool,
    /// Answers generated at once; further requests wait
    #[arg(long, value_name = "N", default_value_t = 4, env = "LFM2_PARALLEL",
        value_parser = clap::value_parser!(u32).range(1..=256))]
    parallel: u32,
    /// Requests that may wait; further ones get status 429
    #[arg(long, value_name = "N", default_value_t = 128, env = "LFM2_MAX_QUEUE")]
    max_queue: u16,
    /// Time limit of an answer in seconds, waiting included
    #[arg(long, value_name = "SECONDS", default_value_t = 600, env = "LFM2_TIMEOUT",
        value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,
    /// Origin of web pages that may call the server, e.g. https://example.org; `*` is any
    #[arg(long, value_name = "ORIGIN", env = "LFM2_CORS")]
    cors: Vec<String>,
    /// Another name of the model, for clients with a fixed model name
    #[arg(long, value_name = "NAME", env = "LFM2_ALIAS")]
    alias: Vec<String>,
    /// Ignore unknown fields of requests, and name them in the header `x-ignored-fields`; accept any
    /// model name
    #[arg(long, env = "LFM2_LENIENT")]
    lenient: bool,
    /// Format of the log on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "LFM2_LOG_FORMAT")]
    log_format: LogFormat,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines of text
    #[default]
    Text,
    /// A JSON object per line
    Json,
}

const NOTES: &str = "\
Routes: /v1/chat/completions, /v1/responses, /v1/messages (Anthropic's API), /v1/completions, /v1/models, \
/lora-adapters, /tokenize, /detokenize, /tokenizer_info, /apply-template, /health and /metrics (Prometheus). \
docs/server.md describes them.
A request may name a LoRA adapter (--lora) in `model` or `lora`; otherwise it uses the model alone.
The base URL is http://127.0.0.1:8080/v1 for clients of OpenAI's API, and http://127.0.0.1:8080 for those \
of Anthropic's. A server without keys accepts any key.
After Ctrl-C or SIGTERM, running answers end and new requests are refused. A second one ends the server \
at once.
The log has no prompts and no answers.

Examples:
  lfm2 -m MODEL.gguf serve
  lfm2 -m MODEL.gguf serve --host 0.0.0.0 --api-key-file keys.txt --parallel 16";

impl Serve {
    /// The format of the log.
    pub fn log_format(&self) -> LogFormat {
        self.log_format
    }

    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let mut options = self.options()?;
        let builder = &mut tokio::runtime::Builder::new_multi_thread();
        let builder = builder.worker_threads(HTTP_THREADS).thread_name("lfm2-http");
        let runtime = builder.enable_io().enable_time().build();
        let runtime =
            runtime.map_err(|e| CliError::Internal(format!("cannot start threads: {e}")))?;
        // Before the model is loaded, so that a taken port is told at once and /health answers meanwhile.
        let place = self.place(&options)?;
        options.local = options.keys.is_empty() && place.is_local();
        let listener = runtime.block_on(place.bind())?;
        let url = match listener.address() {
            Some(address) => format!("http://{address}"),
            None => place.to_string(),
        };
        let server = Server::new(options);
        let running = runtime.spawn({
            let server = server.clone();
            async move { server.run(listener).await }
        });
        let engine = self.load(common).inspect_err(|_| place.remove())?;
        interrupt::on_drain({
            let server = server.clone();
            move || server.drain()
        });
        interrupt::means(Meaning::Drain);
        server.ready(engine.clone());
        if !common.quiet {
            eprintln!(
                "listening on {url}: model {}, context {}, {} at once, {} of GPU memory",
                engine.name(),
                engine.context_length(),
                engine.sequences(),
                stats::size(engine.memory().total()),
            );
        }
        let ended = runtime.block_on(running);
        place.remove();
        ended.map_err(|e| CliError::Internal(format!("the server has failed: {e}")))
    }

    fn load(&self, common: &Common) -> Result<Engine, CliError> {
        let model = load::open(common)?;
        let engine = load::engine_of(model, common, |builder| builder.sequences(self.parallel))?;
        if let Some(lora) = engine.loras().iter().find(|lora| self.alias.contains(&lora.name)) {
            let problem = format!("--alias {}: a LoRA adapter has this name", lora.name);
            let tip = "choose a name of the adapter: --lora NAME=PATH".to_owned();
            return Err(CliError::Advised { problem, tip });
        }
        pollster::block_on(engine.warm_up())?;
        // Ctrl-C while the kernels were compiled.
        if interrupt::take() { Err(CliError::Interrupted) } else { Ok(engine) }
    }

    fn options(&self) -> Result<ServerOptions, CliError> {
        let mut keys = self.api_key.clone();
        if let Some(file) = &self.api_key_file {
            let text = read_text(file)?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            keys.extend(lines.map(str::to_owned));
            if keys.is_empty() {
                return Err(CliError::User(format!("{}: has no keys", file.display())));
            }
        }
        if keys.iter().any(String::is_empty) {
            return Err(CliError::User("--api-key: must not be empty".to_owned()));
        }
        for origin in &self.cors {
            let is_origin = origin.split_once("://").is_some_and(|(_, host)| !host.contains('/'));
            if origin != "*" && !is_origin {
                let problem = format!("--cors: {origin:?} is not `*` or an origin");
                let tip = "an origin is a scheme and a host, e.g. https://example.org".to_owned();
                return Err(CliError::Advised { problem, tip });
            }
        }
        Ok(ServerOptions {
            keys,
            cors: self.cors.clone(),
            timeout: Duration::from_secs(self.timeout.into()),
            max_queue: self.max_queue.into(),
            lenient: self.lenient,
            aliases: self.alias.clone(),
            local: false,
        })
    }

    fn place(&self, options: &ServerOptions) -> Result<Place, CliError> {
        if let Some(path) = &self.socket {
            return Ok(Place::Socket(path.clone()));
        }
        let unknown = |e: &std::io::Error| CliError::User(format!("--host {}: {e}", self.host));
        let found = (self.host.as_str(), self.port).to_socket_addrs().map_err(|e| unknown(&e))?;
        let addresses: Vec<SocketAddr> = found.collect();
        let public = addresses.iter().any(|address| !address.ip().is_loopback());
        if public && options.keys.is_empty() && !self.no_api_key {
            return Err(CliError::Advised {
                problem: format!("--host {}: other machines could use the model", self.host),
                tip: "give --api-key-file FILE, or --no-api-key to allow it".to_owned(),
            });
        }
        Ok(Place::Tcp(addresses))
    }
}

/// An address to listen on.
enum Place {
    Tcp(Vec<SocketAddr>),
    Socket(PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(addresses) => {
                let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                f.write_str(&all.join(", "))
            }
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Place {
    /// Whether only this machine reaches it, by the network.
    fn is_local(&self) -> bool {
        match self {
            Self::Tcp(addresses) => addresses.iter().all(|address| address.ip().is_loopback()),
            // Web pages reach no Unix sockets.
            Self::Socket(_) => false,
        }
    }

    async fn bind(&self) -> Result<Listener, CliError> {
        match self {
            Self::Tcp(addresses) => match TcpListener::bind(addresses.as_slice()).await {
                Ok(listener) => Ok(Listener::Tcp(listener)),
                Err(e) => Err(CliError::Advised {
                    problem: format!("{self}: cannot listen: {e}"),
                    tip: "choose another --port; 0 takes any free one".to_owned(),
                }),
            },
            Self::Socket(path) => bind_socket(path),
        }
    }

    /// Removes the socket's file.
    fn remove(&self) {
        if let Self::Socket(path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(unix)]
fn bind_socket(path: &Path) -> Result<Listener, CliError> {
    use std::os::unix::fs::FileTypeExt;
    // A server that was killed leaves its socket behind. Nobody answers it.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    let refused = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
    let connected = std::os::unix::net::UnixStream::connect(path);
    if is_socket && connected.is_err_and(|e| refused(&e)) {
        let _ = std::fs::remove_file(path);
    }
    let listener = tokio::net::UnixListener::bind(path);
    let failed = |e: &std::io::Error| CliError::file(path, "listen on this socket", e);
    listener.map(Listener::Unix).map_err(|e| failed(&e))
}

#[cfg(not(unix))]
fn bind_socket(_: &Path) -> Result<Listener, CliError> {
    Err(CliError::User(
        "--socket: this system has no Unix sockets; use --host and --port".to_owned(),
    ))
}
