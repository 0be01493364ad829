//! The pool of pages: who uses each page.

/// Page numbers with two counts: sequences that use the page, and entries of the prefix cache that
/// keep it. A page without either is free.
#[derive(Debug)]
pub struct Pool {
    free: Vec<u32>,
    /// Pages that a sequence uses.
    in_use: usize,
    users: Vec<u32>,
    kept: Vec<u32>,
}

impl Pool {
    /// A pool of `count` free pages.
    #[must_use]
    pub fn new(count: u32) -> Self {
        let none = vec![0; count as usize];
        Self { free: (0..count).rev().collect(), in_use: 0, users: none.clone(), kept: none }
    }

    /// Takes a free page for one sequence.
    pub fn take(&mut self) -> Option<u32> {
        let page = self.free.pop()?;
        self.share(page);
        Some(page)
    }

    /// Counts one more sequence that uses a page.
    pub fn share(&mut self, page: u32) {
        self.in_use += usize::from(self.users[page as usize] == 0);
        self.users[page as usize] += 1;
    }

    /// Counts one sequence less.
    pub fn release(&mut self, page: u32) {
        self.users[page as usize] -= 1;
        self.in_use -= usize::from(self.users[page as usize] == 0);
        self.free_unless_needed(page);
    }

    /// Counts one more cache entry that keeps a page.
    pub fn keep(&mut self, page: u32) {
        self.kept[page as usize] += 1;
    }

    /// Counts one cache entry less.
    pub fn drop_kept(&mut self, page: u32) {
        self.kept[page as usize] -= 1;
        self.free_unless_needed(page);
    }

    /// Whether a sequence uses the page.
    #[must_use]
    pub fn is_used(&self, page: u32) -> bool {
        self.users[page as usize] > 0
    }

    /// Number of free pages.
    #[must_use]
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// Number of pages that no sequence uses: free ones, and those that only the cache keeps.
    #[must_use]
    pub fn unused(&self) -> usize {
        self.users.len() - self.in_use
    }

    fn free_unless_needed(&mut self, page: u32) {
        if self.users[page as usize] == 0 && self.kept[page as usize] == 0 {
            self.free.push(page);
        }
    }
}
