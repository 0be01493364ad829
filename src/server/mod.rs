//! An HTTP server in the formats of OpenAI's and Anthropic's APIs, on an [`Engine`](crate::Engine).
//!
//! [`Server::new`] starts without a model, so that clients learn that it is loading; [`Server::ready`] gives it the
//! engine. [`Server::run`] serves a [`Listener`] until [`Server::drain`] has let all answers end.
//!
//! A client that disconnects ends its answer within a step of the engine. A client that reads slowly holds up nobody:
//! the engine does not wait for readers, and a connection that takes no bytes for a minute is closed.

mod access;
mod answers;
mod body;
mod chat;
mod common;
mod completions;
mod error;
mod info;
mod listen;
mod messages;
mod metrics;
mod page;
mod responses;
mod routes;
mod sse;
mod state;
mod stored;
#[cfg(all(test, feature = "demo-model", feature = "structure"))]
mod tests;
mod tokens;

pub use listen::Listener;
pub use state::{Server, ServerOptions};
