//! An answer as a stream of JSON texts.

use std::sync::Arc;
use std::time::Instant;

use lfm2_wgpu::Engine;
use lfm2_wgpu::api::{ReplyHead, summary};
use lfm2_wgpu::engine::{Completed, Generation};

use crate::failure::Failure;
use crate::signal::{Signal, Waited};

/// A step of an answer.
pub enum Step {
    /// A delta as JSON.
    Piece(String),
    /// The end of the answer as JSON; `None` after it.
    End(Option<String>),
    /// The answer has failed.
    Failed(Failure),
    /// Nothing came before the deadline.
    Pending,
}

/// An answer.
pub struct Stream {
    engine: Engine,
    /// `None` after its end.
    generation: Option<Generation>,
    /// The answer so far, if it is to be returned whole.
    whole: Option<(ReplyHead, Completed)>,
}

impl Stream {
    /// The answer of `generation`, in pieces or as a whole.
    pub fn new(engine: Engine, generation: Generation, whole: Option<ReplyHead>) -> Self {
        let whole = whole.map(|head| (head, Completed::default()));
        Self { engine, generation: Some(generation), whole }
    }

    /// Waits for the next step until `deadline`; `None` waits for ever.
    pub fn next(&mut self, signal: &Arc<Signal>, deadline: Option<Instant>) -> Step {
        let Some(generation) = &mut self.generation else { return Step::End(None) };
        loop {
            let delta = match signal.wait_for(generation, deadline) {
                Waited::Late => return Step::Pending,
                Waited::Step(Some(Ok(delta))) => delta,
                Waited::Step(Some(Err(error))) => {
                    self.generation = None;
                    return Step::Failed(error.into());
                }
                Waited::Step(None) | Waited::Cancelled => break,
            };
            if let Some((_, answer)) = &mut self.whole {
                answer.append(delta);
                continue;
            }
            let piece = self.engine.piece(&delta);
            // Most chunks of a prompt, and tokens that end inside a character, have nothing to tell.
            if piece.as_object().is_some_and(|fields| !fields.is_empty()) {
                return Step::Piece(piece.to_string());
            }
        }
        let (finish, timings) = (generation.finish_reason(), generation.timings());
        let end = match &mut self.whole {
            Some((head, answer)) => {
                (answer.finish, answer.timings) = (finish, timings);
                self.engine.completion(head, std::slice::from_ref(answer))
            }
            None => summary(finish, &timings),
        };
        self.generation = None;
        Step::End(Some(end.to_string()))
    }
}
