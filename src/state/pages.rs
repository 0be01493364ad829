//! Which pages of the KV pool are free.

/// A pool of page numbers.
#[derive(Debug)]
pub struct Pages {
    free: Vec<u32>,
}

impl Pages {
    /// All of `count` pages free.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self { free: (0..count).rev().collect() }
    }

    /// Takes a page.
    pub fn take(&mut self) -> Option<u32> {
        self.free.pop()
    }

    /// Gives pages back.
    pub fn give_back(&mut self, pages: impl IntoIterator<Item = u32>) {
        self.free.extend(pages);
    }

    /// Pages that are free.
    #[must_use]
    pub fn available(&self) -> usize {
        self.free.len()
    }
}
