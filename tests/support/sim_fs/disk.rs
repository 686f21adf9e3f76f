//! The bytes of one file: as they read now, as they surely are on the medium, and what may be there after a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// A crash keeps or loses so many bytes together: the smallest unit that disks write whole.
pub(crate) const SECTOR_BYTES: usize = 512;

type Sector = [u8; SECTOR_BYTES];

/// A file's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Of each sector that changed since it was last made durable: what it was after each change.
    pending: BTreeMap<usize, Vec<Sector>>,
    /// Sectors that a failed sync gave up: the system takes them for clean and does not write them again.
    given_up: BTreeSet<usize>,
    /// The lengths that the file had since the last sync.
    lengths: Vec<usize>,
}

impl Content {
    /// A file that is on the medium.
    pub(super) fn durable(bytes: &[u8]) -> Self {
        Self {
            live: bytes.to_vec(),
            durable: bytes.to_vec(),
            ..Self::default()
        }
    }

    /// What reads see.
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn write(&mut self, position: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = position + bytes.len();
        if end > self.live.len() {
            self.live.resize(end, 0);
            self.lengths.push(end);
        }
        self.live[position..end].copy_from_slice(bytes);
        self.touch(position..end);
    }

    pub(super) fn set_len(&mut self, length: usize) {
        let before = self.live.len();
        self.live.resize(length, 0);
        self.lengths.push(length);
        // What is cut off reads as zeros if the file grows again.
        self.touch(length..before);
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        self.lengths.clear();
        let Self {
            pending,
            given_up,
            durable,
            live,
            ..
        } = self;
        pending.retain(|sector, _| {
            if !given_up.contains(sector) {
                put(durable, *sector, &sector_of(live, *sector));
            }
            given_up.contains(sector)
        });
    }

    /// A sync failed: what was to be written may be on the medium or not, and no later sync changes that.
    pub(super) fn give_up(&mut self) {
        self.given_up.extend(self.pending.keys());
    }

    /// Makes the file what a crash leaves of it.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let survival = Survival::choose(random);
        let length = self.length_after_crash(survival, random);
        let mut left = self.durable.clone();
        left.resize(length, 0);
        for (sector, versions) in &self.pending {
            let kept = match survival {
                Survival::Nothing => 0,
                Survival::Everything => versions.len(),
                Survival::Some => random.below(versions.len() + 1),
            };
            if let Some(version) = kept.checked_sub(1) {
                put(&mut left, *sector, &versions[version]);
            }
        }
        *self = Self::durable(&left);
    }

    fn length_after_crash(&self, survival: Survival, random: &mut Random) -> usize {
        let durable = self.durable.len();
        match survival {
            Survival::Nothing => durable,
            Survival::Everything => self.live.len(),
            Survival::Some => match random.below(self.lengths.len() + 2) {
                0 => durable,
                // Growth can stop half way.
                1 => {
                    let lengths = || self.lengths.iter().copied().chain([durable]);
                    let (least, most) = (
                        lengths().min().unwrap_or(durable),
                        lengths().max().unwrap_or(durable),
                    );
                    least + random.below(most - least + 1)
                }
                which => self.lengths[which - 2],
            },
        }
    }

    fn touch(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        for sector in range.start / SECTOR_BYTES..=(range.end - 1) / SECTOR_BYTES {
            self.pending
                .entry(sector)
                .or_default()
                .push(sector_of(&self.live, sector));
            self.given_up.remove(&sector);
        }
    }
}

/// A sector of a file, with zeros behind the file's end.
fn sector_of(bytes: &[u8], sector: usize) -> Sector {
    let mut content = [0; SECTOR_BYTES];
    let start = (sector * SECTOR_BYTES).min(bytes.len());
    let end = (start + SECTOR_BYTES).min(bytes.len());
    content[..end - start].copy_from_slice(&bytes[start..end]);
    content
}

/// Writes the part of a sector that is inside the file.
fn put(bytes: &mut [u8], sector: usize, content: &Sector) {
    let start = (sector * SECTOR_BYTES).min(bytes.len());
    let end = (start + SECTOR_BYTES).min(bytes.len());
    bytes[start..end].copy_from_slice(&content[..end - start]);
}

/// How a crash treats what was not synced. The extremes are the likeliest in life, and rare in a fair mixture.
#[derive(Clone, Copy, Debug)]
pub(super) enum Survival {
    Nothing,
    Everything,
    Some,
}

impl Survival {
    pub(super) fn choose(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::Nothing,
            1 => Self::Everything,
            _ => Self::Some,
        }
    }
}

/// Chance from a seed, the same for ever: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `0..count`; the bias is far below what a test can see.
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % count as u64) as usize
    }

    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}
