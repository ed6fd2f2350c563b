// SPDX-License-Identifier: Apache-2.0
//! What a Zephyr application does with littlefs for the controller: one file is open for writing at a time, `fs_write`
//! for an append, `fs_sync` for a sync, `fs_rename` over the old name for a commit.
//!
//! The crate's safe interface has an open file only inside of a closure. So all of it runs on a thread that asks for
//! its next request wherever it stands, and unwinds to close a file.

use crate::chip::{Chip, name};
use littlefs2::fs::{File as Handle, Filesystem, OpenOptions};
use littlefs2::io::{Error, Result, SeekFrom};
use littlefs2::path::Path;
use rekindle_relay::{File, StoreFault, StoreOp};
use rekindle_sim::relay_world::{Plant, PowerLost, StoreTear};
use std::sync::mpsc::{Receiver, Sender};

/// An operation of the port that owns its bytes.
#[derive(Debug)]
pub(crate) enum Op {
    Append(File, u32, Vec<u8>),
    Sync(File),
    Read(File, u32, u32),
    Commit(File, File),
    Remove(File),
}

impl From<&StoreOp<'_>> for Op {
    fn from(op: &StoreOp<'_>) -> Self {
        match *op {
            StoreOp::Append { file, at, data } => Self::Append(file, at, data.to_vec()),
            StoreOp::Sync { file } => Self::Sync(file),
            StoreOp::Read { file, offset, len } => Self::Read(file, offset, len),
            StoreOp::Commit { from, to } => Self::Commit(from, to),
            StoreOp::Remove { file } => Self::Remove(file),
        }
    }
}

/// What the world wants.
#[derive(Debug)]
pub(crate) enum Request {
    Perform(Op),
    LenOf(File),
    PlanCut(u64, StoreTear),
    ClearPlans,
    PowerOff,
}

/// What became of it, and the number of flash operations so far.
pub(crate) type Reply = (core::result::Result<Done, PowerLost>, u64);
/// Bytes read, or a length.
pub(crate) type Done = core::result::Result<(Vec<u8>, usize), StoreFault>;

/// The thread's end of the talk.
pub(crate) struct Desk<const SECTOR: usize, const COUNT: usize> {
    pub(crate) chip: Chip<SECTOR, COUNT>,
    pub(crate) plant: Option<Plant>,
    pub(crate) requests: Receiver<Request>,
    pub(crate) replies: Sender<Reply>,
}

/// Why a run of the file system is over.
enum End {
    PowerOff,
    /// The world is gone.
    Gone,
}

/// Why a file is closed: for an operation that needs it closed, or because the run is over.
type Closing = core::result::Result<Option<Op>, End>;

fn path(file: File) -> &'static Path {
    Path::from_bytes_with_nul(name(file)).expect("a name")
}

impl<const SECTOR: usize, const COUNT: usize> Desk<SECTOR, COUNT> {
    /// Serves a store until the world is gone. An unformatted partition is formatted, once.
    ///
    /// # Panics
    /// When a power cut has left something that cannot be mounted.
    pub(crate) fn run(self) {
        let mut storage = self.chip.clone();
        Filesystem::format(&mut storage).expect("an erased partition can be formatted");
        loop {
            let end = Filesystem::mount_and_then(&mut storage, |fs| Ok(self.serve(fs)));
            match end.expect("littlefs can be mounted after every cut") {
                End::Gone => return,
                End::PowerOff => self.chip.power_on(),
            }
            if self.plant == Some(Plant::RosterLost) {
                let lost = Filesystem::mount_and_then(&mut storage, |fs| fs.remove(path(File::State)));
                assert!(matches!(lost, Ok(()) | Err(Error::NO_SUCH_ENTRY)), "{lost:?}");
            }
            self.answer(Ok((Vec::new(), 0)));
        }
    }

    /// The next operation; everything else is answered here.
    fn next(&self, mut len_of: impl FnMut(File) -> Result<usize>) -> core::result::Result<Op, End> {
        loop {
            match self.requests.recv() {
                Err(_) => return Err(End::Gone),
                Ok(Request::Perform(op)) => return Ok(op),
                Ok(Request::PowerOff) => {
                    self.chip.cut_power();
                    return Err(End::PowerOff);
                }
                Ok(Request::LenOf(file)) => {
                    let len = len_of(file).map(|len| (Vec::new(), len));
                    self.settle(len);
                }
                Ok(Request::PlanCut(operation, tear)) => {
                    self.chip.plan_cut(operation, tear);
                    self.answer(Ok((Vec::new(), 0)));
                }
                Ok(Request::ClearPlans) => {
                    self.chip.clear_plans();
                    self.answer(Ok((Vec::new(), 0)));
                }
            }
        }
    }

    fn answer(&self, done: Done) {
        // A world that is gone is noticed at the next request.
        let _ = self.replies.send((Ok(done), self.chip.operations()));
    }

    /// Answers with what came of an operation: a fault while power is there, a cut when it is not.
    fn settle(&self, result: Result<(Vec<u8>, usize)>) {
        if self.chip.is_powered() {
            self.answer(result.map_err(|_| StoreFault));
        } else {
            let _ = self.replies.send((Err(PowerLost), self.chip.operations()));
        }
    }

    /// One run, from a mount to a power cut.
    fn serve(&self, fs: &Filesystem<'_, Chip<SECTOR, COUNT>>) -> End {
        let mut carried = None;
        loop {
            let next = carried.take().map_or_else(|| self.next(|file| len_of(fs, file)), Ok);
            let op = match next {
                Ok(op) => op,
                Err(end) => return end,
            };
            match op {
                Op::Append(file, ..) => match self.write(fs, file, op) {
                    Ok(op) => carried = op,
                    Err(end) => return end,
                },
                op => self.settle(self.closed(fs, op)),
            }
        }
    }

    /// An operation on files none of which is open.
    fn closed(&self, fs: &Filesystem<'_, Chip<SECTOR, COUNT>>, op: Op) -> Result<(Vec<u8>, usize)> {
        match op {
            Op::Read(file, offset, len) => Ok((read(fs, file, offset, len)?, 0)),
            // It was written out when it was closed.
            Op::Sync(file) => fs.metadata(path(file)).map(|_| (Vec::new(), 0)),
            Op::Commit(from, to) => fs.rename(path(from), path(to)).map(|()| (Vec::new(), 0)),
            Op::Remove(file) => match fs.remove(path(file)) {
                Ok(()) | Err(Error::NO_SUCH_ENTRY) => Ok((Vec::new(), 0)),
                Err(error) => Err(error),
            },
            Op::Append(..) => Err(Error::INVALID),
        }
    }

    /// Opens a file for writing and serves whatever leaves it open.
    fn write(&self, fs: &Filesystem<'_, Chip<SECTOR, COUNT>>, file: File, first: Op) -> Closing {
        let mut closing = None;
        let opened =
            OpenOptions::new().read(true).write(true).create(true).open_and_then(fs, path(file), |handle| {
                closing = Some(self.opened(fs, file, handle, first));
                Ok(())
            });
        match (opened, closing) {
            (Ok(()), Some(closing)) => closing,
            // Whoever waits for an answer gets it: the first append, or what the file was to be closed for.
            (Err(error), None | Some(Ok(Some(_)))) => {
                self.settle(Err(error));
                Ok(None)
            }
            // Power is gone; what was not synced is lost.
            (_, Some(Err(end))) => Err(end),
            (_, None | Some(Ok(None))) => Ok(None),
        }
    }

    fn opened(
        &self,
        fs: &Filesystem<'_, Chip<SECTOR, COUNT>>,
        file: File,
        handle: &Handle<'_, '_, Chip<SECTOR, COUNT>>,
        first: Op,
    ) -> Closing {
        let mut op = first;
        let lies = self.plant == Some(Plant::CommitBeforeSync);
        let next = || self.next(|which| if which == file { handle.len() } else { len_of(fs, which) });
        loop {
            let result = match op {
                Op::Append(to, at, data) if to == file => append(handle, at, &data),
                Op::Sync(which) if which == file && lies => Ok(()),
                Op::Sync(which) if which == file => handle.sync(),
                Op::Read(from, offset, len) => {
                    let bytes = if from == file {
                        read_open(handle, offset, len)
                    } else {
                        read(fs, from, offset, len)
                    };
                    self.settle(bytes.map(|bytes| (bytes, 0)));
                    op = next()?;
                    continue;
                }
                // The planted one gives the name first, and only then closes the file.
                Op::Commit(from, to) if from == file && lies => {
                    self.settle(fs.rename(path(from), path(to)).map(|()| (Vec::new(), 0)));
                    return Ok(None);
                }
                op => return Ok(Some(op)),
            };
            self.settle(result.map(|()| (Vec::new(), 0)));
            op = next()?;
        }
    }
}

fn len_of<const S: usize, const N: usize>(fs: &Filesystem<'_, Chip<S, N>>, file: File) -> Result<usize> {
    match fs.metadata(path(file)) {
        Ok(metadata) => Ok(metadata.len()),
        Err(Error::NO_SUCH_ENTRY) => Ok(0),
        Err(error) => Err(error),
    }
}

fn append<const S: usize, const N: usize>(
    handle: &Handle<'_, '_, Chip<S, N>>,
    at: u32,
    data: &[u8],
) -> Result<()> {
    let (len, at_byte) = (handle.len()?, at as usize);
    if len < at_byte {
        return Err(Error::INVALID);
    }
    if len > at_byte {
        handle.set_len(at_byte)?;
    }
    handle.seek(SeekFrom::Start(at))?;
    let written = handle.write(data)?;
    if written == data.len() { Ok(()) } else { Err(Error::NO_SPACE) }
}

fn read_open<const S: usize, const N: usize>(
    handle: &Handle<'_, '_, Chip<S, N>>,
    offset: u32,
    len: u32,
) -> Result<Vec<u8>> {
    if handle.len()? <= offset as usize {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; len as usize];
    handle.seek(SeekFrom::Start(offset))?;
    let read = handle.read(&mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn read<const S: usize, const N: usize>(
    fs: &Filesystem<'_, Chip<S, N>>,
    file: File,
    offset: u32,
    len: u32,
) -> Result<Vec<u8>> {
    match fs.open_file_and_then(path(file), |handle| read_open(handle, offset, len)) {
        Err(Error::NO_SUCH_ENTRY) => Ok(Vec::new()),
        result => result,
    }
}
