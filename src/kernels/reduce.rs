//! Ways of summation.

use crate::gpu::Caps;

/// Summation within a workgroup: the import `reduce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduce {
    /// A tree in workgroup memory.
    Tree,
    /// Subgroup operations.
    Subgroup,
    /// Each lane computes whole rows (in matvec, four), so no barrier is needed: fastest on CPU drivers.
    Serial,
    /// As `Serial`; lanes of a subgroup also pass each other the inputs that all of them need.
    SerialSubgroup,
}

impl Reduce {
    /// Rows of a workgroup of `lanes` lanes.
    pub(crate) fn rows(self, lanes: u32) -> u32 {
        if self.is_serial() { lanes } else { 1 }
    }

    /// Whether each lane owns a row.
    #[must_use]
    pub fn is_serial(self) -> bool {
        matches!(self, Self::Serial | Self::SerialSubgroup)
    }

    /// Whether eight lanes of a subgroup can pass each other a block of 32 inputs. Subgroups must be full: a
    /// workgroup has at least 64 lanes.
    fn can_broadcast(caps: &Caps) -> bool {
        caps.subgroups && caps.min_subgroup >= 8 && caps.max_subgroup <= 64
    }

    /// The best choice of a device in which each lane owns rows.
    #[must_use]
    pub fn serial(caps: &Caps) -> Self {
        if Self::can_broadcast(caps) { Self::SerialSubgroup } else { Self::Serial }
    }

    /// The choices of a device.
    #[must_use]
    pub fn available(caps: &Caps) -> Vec<Self> {
        let mut all = vec![Self::Tree, Self::Serial];
        if caps.subgroups {
            all.push(Self::Subgroup);
        }
        if Self::can_broadcast(caps) {
            all.push(Self::SerialSubgroup);
        }
        all
    }

    /// The best choice of a device in which the lanes of a workgroup share a row.
    #[must_use]
    pub fn shared_rows(caps: &Caps) -> Self {
        if caps.subgroups { Self::Subgroup } else { Self::Tree }
    }
}
