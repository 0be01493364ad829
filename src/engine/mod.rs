//! Sessions, batches and sampling on a loaded model.
//!
//! ```no_run
//! # async fn example() -> Result<(), lfm2_wgpu::Error> {
//! use lfm2_wgpu::{Engine, GenerateOptions, text::{Conversation, Message}};
//!
//! let engine = Engine::builder().directory("LFM2.5-8B-A1B")?.build().await?;
//! let mut session = engine.session()?;
//! let conversation = Conversation::new([Message::user("What is WebGPU?")]);
//! let mut answer = session.respond(&conversation, &GenerateOptions::default())?;
//! while let Some(delta) = answer.next().await {
//!     print!("{}", delta?.text);
//! }
//! # Ok(()) }
//! ```

mod builder;
mod end_tokens;
mod generation;
mod handle;
mod inspect;
mod model_text;
mod opened;
#[cfg(feature = "cli")]
mod parallel;
mod planning;
mod progress;
mod recommended;
mod request;
mod respond;
mod runner;
mod sampling;
mod session;
mod speed;
mod stats;
#[cfg(test)]
mod tests;

pub use crate::kernels::Choices;
pub use builder::EngineBuilder;
pub use generation::{Delta, FinishReason, GenerateOptions, Generation, PrefillProgress};
pub use handle::Engine;
pub use inspect::Trace;
pub use model_text::ModelText;
pub use opened::OpenedModel;
#[cfg(feature = "cli")]
pub(crate) use parallel::Parallel;
pub use progress::BuildProgress;
pub use recommended::Recommendation;
pub use request::{ChatRequest, piece, summary};
pub use sampling::SamplingOptions;
pub use session::Session;
pub use speed::DeviceSpeed;
pub use stats::Timings;
