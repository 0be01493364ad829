//! The state that all requests share: options, the engine, and the answers in progress.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::{Semaphore, watch};

use super::error::ApiError;
use super::metrics::Metrics;
use super::stored::Stored;
use crate::api::{ReplyHead, Unknown};
use crate::engine::{Engine, GenerateRequest, Generation};
use crate::error::Error;

/// Bytes of bodies that are read and processed at a time. Parsed JSON takes up to 36 times as many.
const BODIES_KIB: usize = 32 << 10;
/// Longer times of an answer are as long as this.
const FOR_EVER: Duration = Duration::from_secs(30 * 24 * 3600);
/// Requests whose JSON, templates and texts are processed at a time.
const AT_WORK: usize = 2;

/// Options of a server.
#[derive(Clone)]
pub struct ServerOptions {
    /// Keys of clients; empty: none is needed.
    pub keys: Vec<String>,
    /// Origins of web pages that may call the server; `*` is any.
    pub cors: Vec<String>,
    /// Longest time of an answer, waiting included.
    pub timeout: Duration,
    /// Most answers that wait while others run.
    pub max_queue: usize,
    /// Whether unknown fields of requests are ignored and named in the header `x-ignored-fields`, and any model name
    /// is accepted.
    pub lenient: bool,
    /// Names of the model beside its own.
    pub aliases: Vec<String>,
    /// Whether the server is for this machine only, so that requests must address it by an IP address or as
    /// `localhost`: a page of another site may have made its own name resolve to this machine.
    pub local: bool,
}

impl fmt::Debug for ServerOptions {
    /// Leaves out the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = format_args!("{} keys", self.keys.len());
        f.debug_struct("ServerOptions").field("keys", &keys).finish_non_exhaustive()
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            cors: Vec::new(),
            timeout: Duration::from_secs(600),
            max_queue: 128,
            lenient: false,
            aliases: Vec::new(),
            local: false,
        }
    }
}

/// Makes answers: the engine, or a script in tests.
pub(super) trait Generates: Send + Sync {
    /// Begins an answer.
    ///
    /// # Errors
    /// As [`Engine::generate`].
    fn generate(&self, request: GenerateRequest) -> Result<Generation, Error>;
}

impl Generates for Engine {
    fn generate(&self, request: GenerateRequest) -> Result<Generation, Error> {
        Engine::generate(self, request)
    }
}

/// A server. Cloning shares it.
#[derive(Clone)]
pub struct Server {
    pub(super) shared: Arc<Shared>,
}

/// Everything that requests share.
pub(super) struct Shared {
    pub options: ServerOptions,
    pub metrics: Metrics,
    served: OnceLock<Served>,
    /// Answers in progress and waiting.
    in_flight: watch::Sender<usize>,
    draining: watch::Sender<bool>,
    /// Places of bodies, in KiB.
    pub bodies: Arc<Semaphore>,
    /// Places of requests that are processed.
    pub at_work: Arc<Semaphore>,
    /// Responses that later requests continue.
    pub stored: Stored,
    /// SHA-256 of each key: hashes of one length are compared in constant time.
    keys: Vec<[u8; 32]>,
    began: SystemTime,
    next_id: AtomicU64,
}

/// The engine, once it is loaded.
pub(super) struct Served {
    pub engine: Engine,
    pub generates: Arc<dyn Generates>,
    /// When it was loaded, in seconds since 1970.
    pub created: u64,
}

impl Server {
    /// A server whose model is still loading.
    #[must_use]
    pub fn new(options: ServerOptions) -> Self {
        let keys = options.keys.iter().map(|key| Sha256::digest(key.as_bytes()).into()).collect();
        let shared = Shared {
            options,
            metrics: Metrics::new(),
            served: OnceLock::new(),
            in_flight: watch::Sender::new(0),
            draining: watch::Sender::new(false),
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            at_work: Arc::new(Semaphore::new(AT_WORK)),
            stored: Stored::default(),
            keys,
            began: SystemTime::now(),
            next_id: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Answers requests with this engine from now on. Only the first call has an effect.
    pub fn ready(&self, engine: Engine) {
        let generates = Arc::new(engine.clone());
        self.ready_with(engine, generates);
    }

    pub(super) fn ready_with(&self, engine: Engine, generates: Arc<dyn Generates>) {
        let created = now();
        self.shared.metrics.of(&engine);
        let _ = self.shared.served.set(Served { engine, generates, created });
    }

    /// Refuses new requests, and lets [`Server::run`] return when the answers in progress have ended.
    pub fn drain(&self) {
        self.shared.draining.send_replace(true);
    }
}

impl Shared {
    /// The engine.
    ///
    /// # Errors
    /// 503 while it is loading, and when the server ends.
    pub fn served(&self) -> Result<&Served, ApiError> {
        if self.is_draining() {
            return Err(ApiError::unavailable("shutting_down", "the server is shutting down", 5));
        }
        let loading = || ApiError::unavailable("loading", "the model is still loading", 2);
        self.served.get().ok_or_else(loading)
    }

    /// The engine, if it is loaded.
    pub fn loaded(&self) -> Option<&Served> {
        self.served.get()
    }

    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Answers in progress and waiting.
    pub fn in_flight(&self) -> usize {
        *self.in_flight.borrow()
    }

    /// Waits until the server has been told to end, and all answers have ended.
    pub async fn drained(&self) {
        // The senders live as long as `self`.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
        let _ = self.in_flight.subscribe().wait_for(|n| *n == 0).await;
    }

    /// Admits `n` answers, as many as `field` of the request asks for.
    ///
    /// # Errors
    /// 429 if the queue is full, 400 if it is too short for as many, and as [`Shared::served`].
    pub fn admit(self: &Arc<Self>, n: usize, field: &str) -> Result<Ticket, ApiError> {
        let engine = &self.served()?.engine;
        let most = engine.sequences().saturating_add(self.options.max_queue);
        if n > most {
            let problem =
                format!("asks for {n} answers, the server takes at most {most} at a time");
            return Err(ApiError::invalid(field, &problem));
        }
        let admitted = self.in_flight.send_if_modified(|running| {
            let fits = *running + n <= most;
            *running += if fits { n } else { 0 };
            fits
        });
        if !admitted {
            self.metrics.refused.inc();
            return Err(ApiError::full(most));
        }
        Ok(Ticket { shared: self.clone(), n })
    }

    /// Checks the key of a request.
    pub fn accepts_key(&self, key: Option<&str>) -> bool {
        if self.keys.is_empty() {
            return true;
        }
        let Some(key) = key else { return false };
        let given: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let equal = self.keys.iter().fold(Choice::from(0), |any, own| any | own.ct_eq(&given));
        equal.into()
    }

    /// The treatment of unknown fields.
    pub fn unknown(&self) -> Unknown {
        if self.options.lenient { Unknown::Ignore } else { Unknown::Refuse }
    }

    /// The name of the model in a reply to a request that names it so.
    ///
    /// # Errors
    /// 404 for another model.
    pub fn model_name(&self, asked: Option<&str>) -> Result<String, ApiError> {
        let engine = &self.served()?.engine;
        let own = engine.name();
        let is_known = |asked: &str| {
            let loras = engine.loras();
            asked == own
                || self.options.aliases.iter().any(|alias| alias == asked)
                || loras.iter().any(|lora| lora.name == asked)
        };
        match asked {
            Some(asked) if !self.options.lenient && !is_known(asked) => {
                Err(ApiError::no_model(asked, &own))
            }
            Some(asked) => Ok(asked.to_owned()),
            None => Ok(self.options.aliases.first().cloned().unwrap_or(own)),
        }
    }

    /// A new reply.
    pub fn head(&self, model: String) -> ReplyHead {
        ReplyHead { id: self.new_id(), created: now(), model }
    }

    /// An id that no other reply of this or another start of the server has.
    pub fn new_id(&self) -> String {
        let start = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        format!("{:x}{number:04x}", start.as_micros())
    }

    /// The time at which an answer that begins now has taken too long.
    pub fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.options.timeout).unwrap_or(now + FOR_EVER)
    }
}

/// The time in seconds since 1970.
pub(super) fn now() -> u64 {
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The place of answers in progress. Dropping it frees the place.
pub(super) struct Ticket {
    shared: Arc<Shared>,
    n: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.in_flight.send_modify(|running| *running -= self.n);
    }
}
