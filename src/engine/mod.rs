//! Sessions, batches and sampling on a loaded model.

mod batch;

pub use batch::{Batch, FROM_SLOT, Row, SampleParams, SeqRows};
