//! Twin of `shaders/moe_group.wgsl`.

/// A tile: at most `tile` items of one expert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The expert.
    pub expert: u32,
    /// Its first item in [`Groups::items`].
    pub first: u32,
    /// Number of items.
    pub count: u32,
}

/// Items grouped by expert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Tiles, ordered by expert, then by item.
    pub tiles: Vec<Tile>,
    /// All items `row * top_k + j`, sorted by expert, then by item.
    pub items: Vec<u32>,
}

/// Sorts the items `0 .. ids.len()` by their expert in `ids`.
#[must_use]
pub fn moe_group(ids: &[u32], experts: u32, tile: u32) -> Groups {
    let (mut tiles, mut items) = (Vec::new(), Vec::new());
    for expert in 0..experts {
        let mine: Vec<u32> =
            (0..).zip(ids).filter(|(_, id)| **id == expert).map(|(i, _)| i).collect();
        for part in mine.chunks(tile as usize) {
            tiles.push(Tile { expert, first: items.len() as u32, count: part.len() as u32 });
            items.extend(part);
        }
    }
    Groups { tiles, items }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_equal_those_made_by_hand() {
        let groups = moe_group(&[2, 0, 2, 2, 0, 2], 4, 3);
        assert_eq!(groups.items, [1, 4, 0, 2, 3, 5]);
        let tile = |expert, first, count| Tile { expert, first, count };
        assert_eq!(groups.tiles, [tile(0, 0, 2), tile(2, 2, 3), tile(2, 5, 1)]);
    }
}
