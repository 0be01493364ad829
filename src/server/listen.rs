//! Accepts connections, within limits.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures_util::future::{Either, select};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutWriter;
use tower::ServiceExt;

use super::state::Server;

/// Limits of connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most connections at a time. Further clients wait in the system's queue.
    pub connections: usize,
    /// Most bytes of a request's line and headers. Up to twice as many may pass, as hyper reads ahead.
    pub header_bytes: usize,
    /// Most headers of a request.
    pub headers: usize,
    /// Time in which a request's headers must arrive. A connection that is kept alive ends after it too.
    pub headers_arrive: Duration,
    /// Time in which a client must take bytes that are ready for it.
    pub client_reads: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            header_bytes: 64 << 10,
            headers: 100,
            headers_arrive: Duration::from_secs(30),
            client_reads: Duration::from_secs(60),
        }
    }
}

/// Time for connections to send their last bytes when the server ends.
const LAST_BYTES: Duration = Duration::from_secs(5);
/// Pause after an error of the system, e.g. too many open files.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// An address that clients connect to.
pub enum Listener {
    /// A TCP address.
    Tcp(TcpListener),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

impl Listener {
    /// The TCP address, with the port that was chosen if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }
}

impl Server {
    /// Answers requests until the server was told to [drain](Server::drain) and all answers have ended. Errors of a
    /// connection end only this one.
    pub async fn run(&self, listener: Listener) {
        self.run_within(listener, Limits::default()).await;
    }

    pub(super) async fn run_within(&self, listener: Listener, limits: Limits) {
        let router = self.router();
        let connections = Connections {
            limits,
            places: Arc::new(Semaphore::new(limits.connections)),
            graceful: GracefulShutdown::new(),
        };
        let mut drained = pin!(self.shared.drained());
        loop {
            let place = pin!(connections.places.clone().acquire_owned());
            let place = match select(place, &mut drained).await {
                Either::Left((Ok(place), _)) => place,
                // The semaphore is never closed.
                Either::Left((Err(_), _)) | Either::Right(_) => break,
            };
            let accepted = match &listener {
                Listener::Tcp(tcp) => match select(pin!(tcp.accept()), &mut drained).await {
                    Either::Left((Ok((stream, _)), _)) => {
                        // Tokens are sent as they come.
                        let _ = stream.set_nodelay(true);
                        connections.serve(stream, router.clone(), place);
                        Ok(())
                    }
                    Either::Left((Err(error), _)) => Err(error),
                    Either::Right(_) => break,
                },
                #[cfg(unix)]
                Listener::Unix(unix) => match select(pin!(unix.accept()), &mut drained).await {
                    Either::Left((Ok((stream, _)), _)) => {
                        connections.serve(stream, router.clone(), place);
                        Ok(())
                    }
                    Either::Left((Err(error), _)) => Err(error),
                    Either::Right(_) => break,
                },
            };
            if let Err(error) = accepted {
                log::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
        let _ = tokio::time::timeout(LAST_BYTES, connections.graceful.shutdown()).await;
    }
}

struct Connections {
    limits: Limits,
    places: Arc<Semaphore>,
    graceful: GracefulShutdown,
}

impl Connections {
    fn serve<S>(&self, stream: S, router: Router, place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(self.limits.client_reads));
        let service = service_fn(move |request: Request<Incoming>| {
            router.clone().oneshot(request.map(Body::new))
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.limits.headers_arrive)
            .max_buf_size(self.limits.header_bytes)
            .max_headers(self.limits.headers);
        let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = self.graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("a connection ended: {error}");
            }
            drop(place);
        });
    }
}
