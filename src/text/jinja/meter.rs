//! The limit on a template's work: every step, value and 64 bytes of text cost fuel.

use super::error::{Res, error};
use std::cell::Cell;

/// The fuel left to a template. A step costs one unit.
#[derive(Debug)]
pub(super) struct Meter {
    fuel: Cell<u64>,
}

impl Meter {
    pub(super) fn new(fuel: u64) -> Self {
        Self { fuel: Cell::new(fuel) }
    }

    pub(super) fn pay(&self, steps: usize) -> Res<()> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        let left = self.fuel.get().checked_sub(steps);
        self.fuel.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| error!(Fuel, "out of steps"))
    }

    /// Pays for text that is read or written.
    pub(super) fn pay_bytes(&self, bytes: usize) -> Res<()> {
        self.pay(bytes / 64)
    }

    /// Pays for values that are read or copied.
    pub(super) fn pay_values(&self, values: usize) -> Res<()> {
        self.pay(values / 8)
    }
}
