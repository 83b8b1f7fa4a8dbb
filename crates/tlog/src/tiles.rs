//! Tiles (C2SP `tlog-tiles`): a tree cut into pieces of 256 hashes, and its entries into bundles of 256.
//!
//! In scope: names of tiles, which of them a tree has, and their bytes. Out of scope: serving and storing them.

use std::fmt;
use tlog_tiles::{Error, Hash, HashReader, stored_hash_index};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Levels of the tree that one tile spans.
const TILE_HEIGHT: u8 = 8;
/// Highest level of tiles in a tree whose size fits into 64 bits.
const MAX_LEVEL: u8 = 7;
/// Longest entry that a bundle can hold: its length stands before it in 16 bits.
pub const MAX_BUNDLED: usize = u16::MAX as usize;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileKind {
    /// Hashes of subtrees with 256 to the power of `level` leaves each.
    Hashes {
        /// From 0, the leaf hashes, to 7.
        level: u8,
    },
    /// The entries themselves.
    Entries,
}

/// One tile: `tile/<level>/<index>` or `tile/entries/<index>`, with `.p/<width>` behind it when it is not full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// What it holds.
    pub kind: TileKind,
    /// Its number in its level.
    pub index: u64,
    /// How many hashes or entries it holds, from 1 to [`TILE_WIDTH`].
    pub width: u16,
}

impl Tile {
    /// Reads a name. There is one name for each tile: leading zeros and empty pieces are refused.
    pub fn parse(path: &str) -> Option<Tile> {
        // The longest name of an index of 64 bits is shorter.
        if path.len() > 64 {
            return None;
        }
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes { level: level.parse().ok().filter(|level| *level <= MAX_LEVEL)? },
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().ok().filter(|width| (1..TILE_WIDTH).contains(width))?),
            None => (rest, TILE_WIDTH),
        };
        let mut number = 0_u64;
        for piece in index.split('/') {
            let digits = piece.strip_prefix('x').unwrap_or(piece);
            let digits = Some(digits).filter(|digits| digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()))?;
            number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let tile = Tile { kind, index: number, width };
        (tile.to_string() == path).then_some(tile)
    }

    /// The level whose nodes it stands for; a bundle stands beside level 0.
    fn level(&self) -> u8 {
        match self.kind {
            TileKind::Hashes { level } => level,
            TileKind::Entries => 0,
        }
    }

    /// Number of its first hash or entry in its level.
    pub fn first(&self) -> u64 {
        self.index.saturating_mul(TILE_WIDTH.into())
    }

    /// Whether a tree of `size` leaves has all of it.
    pub fn is_in(&self, size: u64) -> bool {
        let nodes = size >> (TILE_HEIGHT * self.level());
        self.index.checked_mul(TILE_WIDTH.into()).and_then(|first| first.checked_add(self.width.into())).is_some_and(|end| end <= nodes)
    }

    /// The bytes of a tile of hashes, 32 for each. The tile must be in the tree ([`Tile::is_in`]).
    ///
    /// # Errors
    /// What `stored` gives when it cannot read; [`Error::InvalidTile`] for a bundle, which is not made of hashes.
    pub fn hashes<R: HashReader>(&self, stored: &R) -> Result<Vec<u8>, Error> {
        let TileKind::Hashes { level } = self.kind else { return Err(Error::InvalidTile) };
        let indexes: Vec<u64> = (0..u64::from(self.width)).map(|n| stored_hash_index(TILE_HEIGHT * level, self.first() + n)).collect();
        Ok(stored.read_hashes(&indexes)?.iter().flat_map(|hash: &Hash| hash.0).collect())
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
            TileKind::Entries => write!(f, "tile/entries/")?,
        }
        let mut above = Vec::new();
        let mut rest = self.index / 1000;
        while rest > 0 {
            above.push(rest % 1000);
            rest /= 1000;
        }
        for piece in above.iter().rev() {
            write!(f, "x{piece:03}/")?;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.width < TILE_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// The tiles of hashes of a tree, full ones and the last of each level, lowest level first.
pub fn hash_tiles(size: u64) -> impl Iterator<Item = Tile> {
    (0..=MAX_LEVEL).flat_map(move |level| tiles_of(TileKind::Hashes { level }, size >> (TILE_HEIGHT * level)))
}

/// The bundles of entries of a tree.
pub fn entry_bundles(size: u64) -> impl Iterator<Item = Tile> {
    tiles_of(TileKind::Entries, size)
}

fn tiles_of(kind: TileKind, nodes: u64) -> impl Iterator<Item = Tile> {
    let width = u64::from(TILE_WIDTH);
    let full = (0..nodes / width).map(move |index| Tile { kind, index, width: TILE_WIDTH });
    let rest = (nodes % width) as u16;
    full.chain((rest > 0).then_some(Tile { kind, index: nodes / width, width: rest }))
}

/// Puts an entry behind those of a bundle: its length in two bytes, the highest first, and its bytes. `false`, and nothing is
/// added, when it is longer than [`MAX_BUNDLED`].
#[must_use]
pub fn bundle_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(len) = u16::try_from(entry.len()) else { return false };
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(entry);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frontier, leaf_hash};
    use proptest::prelude::*;

    struct Stored(Vec<Hash>);

    impl HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
            indexes.iter().map(|&i| self.0.get(i as usize).copied().ok_or(Error::IndexesNotInTree)).collect()
        }
    }

    #[test]
    fn names_are_those_of_the_specification() {
        let tile = |kind, index, width| Tile { kind, index, width }.to_string();
        assert_eq!(tile(TileKind::Hashes { level: 0 }, 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(tile(TileKind::Hashes { level: 1 }, 0, 1), "tile/1/000.p/1");
        assert_eq!(tile(TileKind::Entries, 273, 112), "tile/entries/273.p/112");
        for bad in [
            "tile/0/1",
            "tile/0/0001",
            "tile/8/000",
            "tile/00/000",
            "tile/+0/000",
            "tile/0/x000/001",
            "tile/0/000/001",
            "tile/0/x001",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/../000",
            "tile/0/",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/entries/000.p/",
            "checkpoint",
        ] {
            assert_eq!(Tile::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_back(level in 0_u8..=7, entries in any::<bool>(), index in any::<u64>(), width in 1_u16..=256) {
            let kind = if entries { TileKind::Entries } else { TileKind::Hashes { level } };
            let tile = Tile { kind, index, width };
            prop_assert_eq!(Tile::parse(&tile.to_string()), Some(tile));
        }

        #[test]
        fn no_name_breaks_the_reader(path in "tile/[0-9a-z./x]{0,40}", size in any::<u64>()) {
            if let Some(tile) = Tile::parse(&path) {
                let _ = tile.is_in(size);
            }
        }
    }

    /// From the tiles alone comes the root of the tree.
    #[test]
    fn tiles_lead_to_the_root() {
        for size in [1_u64, 2, 255, 256, 257, 700, 65_536 + 300] {
            let mut frontier = Frontier::default();
            let stored = Stored((0..size).flat_map(|n| frontier.push(leaf_hash(&n.to_be_bytes()))).collect());
            let mut leaves = Vec::new();
            for tile in hash_tiles(size) {
                assert!(tile.is_in(size), "{tile}");
                let bytes = tile.hashes(&stored).unwrap();
                assert_eq!(bytes.len(), usize::from(tile.width) * 32);
                let hashes = bytes.chunks(32).map(|hash| Hash(hash.try_into().unwrap()));
                match tile.kind {
                    TileKind::Hashes { level: 0 } => leaves.extend(hashes),
                    // A node of the next level is the root of the 256 below it.
                    TileKind::Hashes { level: 1 } => hashes.enumerate().for_each(|(n, node)| {
                        let first = (tile.first() as usize + n) * 256;
                        let mut below = Frontier::default();
                        leaves[first..first + 256].iter().for_each(|leaf| drop(below.push(*leaf)));
                        assert_eq!(below.root(), node);
                    }),
                    _ => {}
                }
            }
            let mut again = Frontier::default();
            leaves.iter().for_each(|leaf| drop(again.push(*leaf)));
            assert_eq!(again.root(), frontier.root());
            let one_more = Tile { kind: TileKind::Hashes { level: 0 }, index: size / 256, width: (size % 256 + 1) as u16 };
            assert!(!one_more.is_in(size));
            assert_eq!(entry_bundles(size).map(|bundle| u64::from(bundle.width)).sum::<u64>(), size);
        }
    }
}
