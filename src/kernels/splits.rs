//! Splits: the ranges of positions into which the kernels of attention cut a context, so that several workgroups
//! share it. `attention_combine` joins their results.

/// Positions in a page of the KV cache.
pub const PAGE: u32 = 64;

/// Most rows of a sequence in a pass that `attention` computes, unless `Choices::attention_rows` says otherwise;
/// `flash_attention` computes longer ones.
pub const ATTENTION_ROWS: u32 = 8;

/// Pages of the longest split of `attention`, and of the longest context that is one split. Its results need not be
/// joined, which saves a dispatch (2 us on an H100) and costs about as much where more workgroups would share
/// the work.
const MOST_SPLIT_PAGES: u32 = 4;
/// Pages of a split of a longer context: 1,000 positions of LFM2-8B-A1B's 8 kv heads fill 64
/// processors.
const SPLIT_PAGES: u32 = 2;
/// Pages of the longest context with such splits: they are 1,024 workgroups for 8 kv heads, and more
/// would only add partial results. At 30,000 positions these are 3 % of the bytes of keys and values.
const SHORT_SPLITS_UP_TO: u32 = 256;
/// Most workgroups of `flash_attention` for one kv head of a sequence whose context is cut. With 8 kv heads they are
/// 128; an H100 has 132 processors.
pub(super) const TILES: u32 = 16;

/// Positions of the longest split of `attention`.
pub const LONGEST_SPLIT: u32 = MOST_SPLIT_PAGES * PAGE;

/// Positions of a split of the context of a row at `position`, if `attention` computes the row. It depends on nothing
/// else, so a row's result does not depend on other rows.
#[must_use]
pub fn split_positions(position: u32) -> u32 {
    match position / PAGE + 1 {
        pages if pages <= MOST_SPLIT_PAGES || pages > SHORT_SPLITS_UP_TO => LONGEST_SPLIT,
        _ => SPLIT_PAGES * PAGE,
    }
}

/// Positions of a split of the contexts of a sequence that `flash_attention` computes. The sequence has `rows` rows in
/// the pass, in tiles of `tile_rows`, and `last` is the position of the last one. A few tiles behind a long context
/// would leave most of a GPU idle, so their contexts have several splits. Their partial results need at most the
/// space of `attention_rows` rows of `attention`.
#[must_use]
pub(super) fn tiled_split_positions(
    rows: u32,
    last: u32,
    tile_rows: u32,
    attention_rows: u32,
) -> u32 {
    let pages = last / PAGE + 1;
    let rows = rows.max(1);
    let tiles = rows.div_ceil(tile_rows);
    let space = attention_rows.saturating_mul(max_splits(last + 1));
    let most = (TILES / tiles).min(space / rows).max(1);
    pages.div_ceil(most).max(MOST_SPLIT_PAGES) * PAGE
}

/// Most splits of any row that `attention` computes of a sequence of at most `context` positions.
#[must_use]
pub fn max_splits(context: u32) -> u32 {
    let pages = context.div_ceil(PAGE);
    if pages <= MOST_SPLIT_PAGES {
        return 1;
    }
    let short = pages.min(SHORT_SPLITS_UP_TO).div_ceil(SPLIT_PAGES);
    short.max(pages.div_ceil(MOST_SPLIT_PAGES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_cover_every_context() {
        let splits = |position: u32| position / split_positions(position) + 1;
        let mut most = 1;
        for position in 0..40_000 {
            let split = split_positions(position);
            assert!(split.is_multiple_of(PAGE), "a step of attention lies in one page");
            most = most.max(splits(position));
            assert_eq!(most, max_splits(position + 1), "{position}");
        }
        assert_eq!((splits(255), splits(256), splits(29_999)), (1, 3, 118));
        assert_eq!((max_splits(256), max_splits(257), max_splits(40_000)), (1, 3, 157));
    }

    /// Contexts are cut as long as there are few tiles, and their partial results fit.
    #[test]
    fn few_tiles_behind_long_contexts_are_cut() {
        for (rows, last, tile_rows, splits) in [
            (9, 100, 8, 1),
            (9, 255, 8, 1),
            (9, 4104, 8, 8),
            (20, 4115, 8, 5),
            (64, 4159, 8, 2),
            (65, 4160, 8, 1),
            (9, 4104, 16, 13),
            (16, 30_015, 16, 16),
            (64, 30_063, 16, 4),
            // Partial results of eight rows of `attention` have 9 splits each.
            (40, 1063, 8, 1),
            (512, 30_511, 8, 1),
        ] {
            let split = tiled_split_positions(rows, last, tile_rows, ATTENTION_ROWS);
            assert_eq!(last / split + 1, splits, "{rows} rows up to {last}: {split}");
        }
        for (rows, attention_rows) in (2..=130).flat_map(|rows| [1, 8, 64].map(|most| (rows, most)))
        {
            for last in (rows - 1..40_000).step_by(61).filter(|_| rows > attention_rows) {
                for tile_rows in [1, 3, 8, 16, 64] {
                    let split = tiled_split_positions(rows, last, tile_rows, attention_rows);
                    assert!(split.is_multiple_of(PAGE) && split >= LONGEST_SPLIT);
                    let (splits, tiles) = (last / split + 1, rows.div_ceil(tile_rows));
                    assert!(splits == 1 || splits * tiles <= TILES);
                    assert!(splits == 1 || splits * rows <= attention_rows * max_splits(last + 1));
                    // 64 workgroups for 8 kv heads, in tiles of LFM2.
                    let wide = attention_rows < 8 || tile_rows > 16;
                    assert!(splits * tiles >= 8 || last < 4096 || rows > 64 || wide);
                }
            }
        }
    }
}
