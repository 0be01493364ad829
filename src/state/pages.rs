//! The free pages of the KV cache.

/// A pool of page numbers.
#[derive(Debug)]
pub struct Pages {
    free: Vec<u32>,
}

impl Pages {
    /// A pool of `count` free pages.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self { free: (0..count).rev().collect() }
    }

    /// Takes a page.
    pub fn take(&mut self) -> Option<u32> {
        self.free.pop()
    }

    /// Returns pages to the pool.
    pub fn give_back(&mut self, pages: impl IntoIterator<Item = u32>) {
        self.free.extend(pages);
    }

    /// Number of free pages.
    #[must_use]
    pub fn available(&self) -> usize {
        self.free.len()
    }
}
