//! Responses that are kept in memory, for requests that continue them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::StoredResponse;

/// Most responses that are kept.
pub(super) const MOST_RESPONSES: usize = 1024;
/// Most bytes of all of them.
pub(super) const MOST_BYTES: usize = 64 << 20;
/// Most bytes of a conversation: those of a request.
pub(super) const MOST_CONVERSATION: usize = 8 << 20;

/// The responses, the oldest first. The oldest ones make room for new ones.
#[derive(Default)]
pub(super) struct Stored(Mutex<VecDeque<StoredResponse>>);

fn bytes(one: &StoredResponse) -> usize {
    one.id.len() + one.response.len() + one.messages.len()
}

impl Stored {
    fn all(&self) -> MutexGuard<'_, VecDeque<StoredResponse>> {
        // A panic elsewhere leaves the list whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a response, unless its conversation is longer than a request may be.
    pub fn keep(&self, response: StoredResponse) {
        if response.messages.len() > MOST_CONVERSATION {
            return;
        }
        let mut all = self.all();
        all.push_back(response);
        let mut total: usize = all.iter().map(bytes).sum();
        while all.len() > MOST_RESPONSES || total > MOST_BYTES {
            let Some(oldest) = all.pop_front() else { return };
            total -= bytes(&oldest);
        }
    }

    /// The response with an id, as JSON.
    pub fn response(&self, id: &str) -> Option<String> {
        self.all().iter().find(|one| one.id == id).map(|one| one.response.clone())
    }

    /// The messages of the conversation up to the response with an id, as JSON.
    pub fn messages(&self, id: &str) -> Option<String> {
        self.all().iter().find(|one| one.id == id).map(|one| one.messages.clone())
    }

    /// Forgets the response with an id. Returns whether it was there.
    pub fn forget(&self, id: &str) -> bool {
        let mut all = self.all();
        let before = all.len();
        all.retain(|one| one.id != id);
        all.len() < before
    }
}
