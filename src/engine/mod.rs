//! Answers of a loaded model: requests, the loop that runs them together, sampling options.
//!
//! ```no_run
//! # async fn example() -> Result<(), lfm2_wgpu::Error> {
//! use lfm2_wgpu::{Engine, GenerateOptions, text::{Conversation, Message}};
//!
//! let engine = Engine::builder().directory("LFM2.5-8B-A1B")?.build().await?;
//! let session = engine.session();
//! let conversation = Conversation::new([Message::user("What is WebGPU?")]);
//! let mut answer = session.respond(&conversation, &GenerateOptions::default())?;
//! while let Some(delta) = answer.next().await {
//!     print!("{}", delta?.text);
//! }
//! # Ok(()) }
//! ```
//!
//! # Many at once, and the cost
//!
//! [`Engine::generate`] returns at once; any number of requests may be made, from any thread. The engine runs
//! as many together as [`EngineBuilder::sequences`] says, and the others wait in the order of their arrival.
//! In each step every running answer gets one token, and prompts get a chunk: of at most
//! [`EngineBuilder::chunk`] tokens, or 64 while answers run, so that a long prompt delays their next token by
//! little.
//!
//! All sequences and the prefix cache share one pool of keys and values, made when the engine is built: for the
//! contexts of all sequences if they fit [`EngineBuilder::memory`], and for one context at least
//! ([`Engine::memory`] has the bytes). If the pool is full, cached prefixes are freed, those used least recently
//! first. If it is still full, the answer that began last gives up its pages and computes them again later; none
//! of its tokens is lost or changed. For LFM2-8B-A1B with a context of 32,768, a further sequence costs 13 MB: a ring
//! of convolution inputs (2.4 MB), four snapshots of them (1.2 MB), partial results of attention (8.9 MB), its row of
//! logits and its history of tokens.
//!
//! A token does not depend on the answers beside it, bit for bit, as long as the same kernels compute it. Passes of
//! at most 64 rows have kernels of their own, and so has the attention of a sequence with at most 8 rows in a pass
//! (fewer if there are many sequences on a device with small bindings). Attention of more rows cuts a long context by
//! the number of the sequence's rows in the pass, so its last bits depend on that number too. A prompt in longer chunks
//! alone, and in chunks of 64 tokens beside others, differs in the last bits, and so does the state that an answer
//! computes again. [`EngineBuilder::reproducible`] lets all passes have the same kernels.
//!
//! If the device is lost, e.g. because its driver was reset, the answers continue from their tokens on another one
//! ([`OnDeviceLost`]). Loading the weights takes as long as at the start.

mod adapt;
mod adapters;
mod allowed;
mod answer;
mod builder;
mod core;
mod end_tokens;
mod gate;
mod generation;
mod handle;
mod inspect;
mod job;
mod lazy_grammars;
mod loader;
mod logprobs;
mod loras;
mod model_text;
mod opened;
#[cfg(feature = "cli")]
mod parallel;
mod passes;
mod planning;
mod progress;
mod recommended;
mod runner;
mod sampling;
mod saved;
mod scoring;
mod sequence;
mod session;
mod speed;
mod state_file;
mod stats;
mod step_logprobs;
mod step_masks;
mod stepper;
mod structured;
#[cfg(test)]
mod tests;

pub use crate::kernels::{Choices, LogprobsMode, MAX_TOP_LOGPROBS};
pub use crate::schedule::{CacheCounts, Lack, QueueCounts};
pub use allowed::{AllowedTokens, TokenMask};
pub use answer::{
    Completed, Delta, FinishReason, GenerateOptions, GenerateRequest, LoraChoice, PrefillProgress,
};
pub use builder::{EngineBuilder, OnDeviceLost};
pub use generation::Generation;
pub use handle::Engine;
pub use inspect::Trace;
pub use logprobs::{LogprobsOptions, TokenLogprobs};
pub use loras::LoraInfo;
pub use model_text::ModelText;
pub use opened::OpenedModel;
#[cfg(feature = "cli")]
pub(crate) use parallel::Parallel;
pub use progress::BuildProgress;
pub use recommended::Recommendation;
pub use sampling::SamplingOptions;
pub use sequence::Sequence;
pub use session::Session;
pub use speed::DeviceSpeed;
pub use state_file::StateHeader;
pub use stats::Timings;
