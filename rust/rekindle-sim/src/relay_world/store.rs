// SPDX-License-Identifier: Apache-2.0
//! The controller's store: what a world asks of one, and one in memory that does what a directory of a host does. Only
//! a sync makes bytes durable, and power may go at any operation.

use crate::rng::Rng;
use alloc::collections::BTreeMap;
use rekindle_relay::{File, STORE_MAX, StoreFault, StoreOp};

/// A driver or core that does not do what it must, to see whether it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Files get their names before their bytes are durable: a sync does nothing.
    CommitBeforeSync,
    /// The state file does not outlive a reboot.
    RosterLost,
    /// Policy is asked only when the image is on its way.
    PolicyLate,
}

/// What a power cut does to the operation in which it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreTear {
    /// Nothing of it happened.
    Before,
    /// All of it happened; whoever asked never learnt it.
    After,
    /// Some of its bytes.
    Half,
}

/// Power went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerLost;

/// A store of which power can be cut at every operation that changes it.
pub trait Medium {
    /// Carries an operation out.
    ///
    /// # Errors
    /// [`PowerLost`] when power goes in it.
    ///
    /// # Panics
    /// When the operation breaks a rule of the port.
    fn perform(&mut self, op: &StoreOp<'_>) -> Result<Result<Vec<u8>, StoreFault>, PowerLost>;

    /// Operations so far at which power could have been cut. What one is, the store decides: an operation of the
    /// port, or one of the flash below.
    fn operations(&self) -> u64;

    /// Cuts power at the operation of this number.
    fn plan_cut(&mut self, operation: u64, tear: StoreTear);

    /// Nothing is cut any more.
    fn clear_plans(&mut self);

    /// Power is gone, and comes back: what was not durable may be lost.
    fn power_off(&mut self);

    /// Length of a file in bytes, 0 if there is none; `None` if power went since the last operation was answered.
    fn len_of(&mut self, file: File) -> Option<usize>;
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: usize,
}

/// The store in memory.
#[derive(Debug)]
pub struct SimStore {
    files: BTreeMap<u8, Content>,
    rng: Rng,
    plant: Option<Plant>,
    operations: u64,
    cut: Option<(u64, StoreTear)>,
}

fn key(file: File) -> u8 {
    match file {
        File::Image => 0,
        File::State => 1,
        File::StateNew => 2,
        File::Audit => 3,
        File::AuditOld => 4,
    }
}

impl SimStore {
    /// An empty store.
    #[must_use]
    pub fn new(seed: u64, plant: Option<Plant>) -> Self {
        let rng = Rng::new(seed).fork(0x5704E);
        Self { files: BTreeMap::new(), rng, plant, operations: 0, cut: None }
    }

    /// Bytes of a file; `None` if there is none.
    fn file(&self, file: File) -> Option<&[u8]> {
        self.files.get(&key(file)).map(|content| content.bytes.as_slice())
    }

    fn apply(&mut self, op: &StoreOp<'_>, half: bool) -> Option<()> {
        match *op {
            StoreOp::Append { file, at, data } => {
                assert!(!data.is_empty() && data.len() <= STORE_MAX, "an append of {} bytes", data.len());
                let content = self.files.entry(key(file)).or_default();
                let at = at as usize;
                if content.bytes.len() < at {
                    return None;
                }
                content.bytes.truncate(at);
                content.synced = content.synced.min(at);
                let len = if half { data.len() / 2 } else { data.len() };
                content.bytes.extend(&data[..len]);
            }
            StoreOp::Sync { file } => {
                let content = self.files.get_mut(&key(file))?;
                if self.plant != Some(Plant::CommitBeforeSync) && !half {
                    content.synced = content.bytes.len();
                }
            }
            StoreOp::Commit { from, to } => {
                if !half {
                    let content = self.files.remove(&key(from))?;
                    self.files.insert(key(to), content);
                }
            }
            StoreOp::Remove { file } => {
                self.files.remove(&key(file));
            }
            StoreOp::Read { .. } => {}
        }
        Some(())
    }
}

impl Medium for SimStore {
    fn perform(&mut self, op: &StoreOp<'_>) -> Result<Result<Vec<u8>, StoreFault>, PowerLost> {
        if let StoreOp::Read { file, offset, len } = *op {
            assert!(len > 0 && len as usize <= STORE_MAX, "a read of {len} bytes");
            let bytes = self.file(file).unwrap_or_default();
            let from = bytes.len().min(offset as usize);
            let to = bytes.len().min(from + len as usize);
            return Ok(Ok(bytes[from..to].to_vec()));
        }
        self.operations += 1;
        let tear = self.cut.take_if(|(at, _)| *at <= self.operations).map(|(_, tear)| tear);
        if tear != Some(StoreTear::Before) {
            let half = tear == Some(StoreTear::Half);
            if self.apply(op, half).is_none() {
                return Ok(Err(StoreFault));
            }
        }
        match tear {
            None => Ok(Ok(Vec::new())),
            Some(_) => {
                self.power_off();
                Err(PowerLost)
            }
        }
    }

    /// Reads do not count.
    fn operations(&self) -> u64 {
        self.operations
    }

    fn plan_cut(&mut self, operation: u64, tear: StoreTear) {
        self.cut = Some((operation, tear));
    }

    fn clear_plans(&mut self) {
        self.cut = None;
    }

    fn len_of(&mut self, file: File) -> Option<usize> {
        Some(self.file(file).map_or(0, <[u8]>::len))
    }

    /// Power goes: of what was not synced, any part may be there, and its end may be noise.
    fn power_off(&mut self) {
        let Self { files, rng, .. } = self;
        for content in files.values_mut() {
            let loose = content.bytes.len() - content.synced;
            let kept = content.synced + rng.below(loose as u64 + 1) as usize;
            content.bytes.truncate(kept);
            if kept > content.synced && rng.coin() {
                let noise = content.synced + rng.below((kept - content.synced) as u64) as usize;
                content.bytes[noise] ^= rng.byte() | 1;
            }
            content.synced = content.bytes.len();
        }
        if self.plant == Some(Plant::RosterLost) {
            self.files.remove(&key(File::State));
        }
    }
}
