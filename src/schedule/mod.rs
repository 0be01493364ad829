//! Plans steps for many sequences: who runs, on which slot and pages, and which state is reused.
//!
//! Plain Rust without a GPU. A [`Scheduler`] decides; `engine/` does what its [`Step`]s say, in their
//! order. All sequences share one pool of pages. A [`PrefixCache`] keeps the pages of ended sequences
//! until the pool needs them.

mod chunks;
mod place;
mod pool;
mod prefix;
mod scheduler;
mod step;
#[cfg(test)]
mod tests;

pub use pool::Pool;
pub use prefix::{Hit, PrefixCache};
pub use scheduler::Scheduler;
pub use step::{
    CacheCounts, Capture, ChunkRows, DecodeRow, Draw, Lack, Limits, Op, QueueCounts, SeqId, Step,
    Use,
};
