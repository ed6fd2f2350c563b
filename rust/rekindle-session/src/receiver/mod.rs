// SPDX-License-Identifier: Apache-2.0
//! The receiving side of an update session: one image on its way into this device's secondary slot.
//!
//! The receiver does nothing by itself. A driver gives it commands while it is [`ready`](Receiver::ready),
//! drains [`poll`](Receiver::poll) until it says [`Output::Wait`], carries out what it is asked for and answers
//! each flash operation with [`flash_done`](Receiver::flash_done), each boot request with
//! [`boot_done`](Receiver::boot_done). Dropping it between two calls is a power cut; a new one made from the
//! same flash goes on where the durable part ends.

mod activate;
mod boot;
mod command;
mod config;
mod data;
mod history;
mod job;
#[cfg(feature = "signature")]
mod signature;
mod start;
mod verify;

pub use config::{BootFacts, Config, ConfigError, DowngradePolicy, EraseMode, Safety};
#[cfg(feature = "signature")]
pub use signature::Signed;
pub use verify::Verified;

use crate::elapsed_ms;
use crate::journal::Journal;
use crate::journal::record::{Checksum, Session, Stage};
use crate::port::{Area, FlashFault, FlashOp, WRITE_MAX};
use fusain::{
    Constraint, EncodeError, Info, InvalidCommand, Mode, OtaActivate, OtaState, OtaStatus, Outcome,
    OutcomeReport, StateReject, Version,
};
use job::{Job, JobOp};
use mcuboot_image::trailer::SwapType;

/// Room for one write buffer and the part of a chunk that goes beyond it.
const BUFFER_LEN: usize = WRITE_MAX + 128;

/// Events that can wait at once; one command causes at most three.
const EVENTS_MAX: usize = 6;

/// How often a flash read is asked for before its failure counts.
pub const READ_TRIES: u8 = 3;

/// What the driver must do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Carry out this flash operation and answer with [`Receiver::flash_done`].
    Flash(FlashOp<'a>),
    /// Check a signature, then answer with [`Receiver::signature_done`].
    #[cfg(feature = "signature")]
    CheckSignature(Signed<'a>),
    /// Ask the bootloader to install the verified image, then answer with [`Receiver::boot_done`].
    RequestUpgrade {
        /// Proof that the image was read back and found right.
        image: &'a Verified,
        /// Test or permanent.
        mode: Mode,
    },
    /// Mark the running image as good, then answer with [`Receiver::boot_done`].
    Confirm,
    /// Send this message to whoever sent the last command.
    Reply(Reply),
    /// Tell the application.
    Event(Event),
    /// Reboot once everything sent has left the device and the application agrees; emitted once.
    Reboot,
    /// Nothing to do until a command comes or this time has passed.
    Wait {
        /// Time at which [`Receiver::poll`] wants to be called again, on the clock of `now_ms`.
        until_ms: Option<u64>,
    },
}

/// A message to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// OTA_STATUS.
    Status(OtaStatus),
    /// ERROR_INVALID_CMD.
    Invalid(InvalidCommand),
    /// ERROR_STATE_REJECT.
    Reject(StateReject),
    /// Answer to an extension INFO_REQUEST.
    Info(Info),
    /// Answer to an extension OUTCOME_REQUEST.
    Outcome(OutcomeReport),
}

impl Reply {
    /// Encodes the message's payload into `out` and returns its length in bytes.
    ///
    /// # Errors
    /// `out` is too short; [`fusain::PAYLOAD_MAX`] always suffices.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        match self {
            Self::Status(status) => status.encode(out),
            Self::Invalid(invalid) => invalid.encode(out),
            Self::Reject(reject) => reject.encode(out),
            Self::Info(info) => info.encode(out),
            Self::Outcome(report) => report.encode(out),
        }
    }
}

/// What the application may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new session began.
    Started {
        /// Image size in bytes.
        size: u32,
    },
    /// A session of an earlier boot goes on.
    Resumed {
        /// Offset of the first byte that is still missing.
        offset: u32,
        /// Image size in bytes.
        size: u32,
    },
    /// Another sector of the image is on flash.
    Progress {
        /// Durable bytes.
        durable: u32,
        /// Image size in bytes.
        size: u32,
    },
    /// The image was read back and found right.
    Verified {
        /// Version in its header.
        version: Version,
    },
    /// An upgrade is pending: it happens at **any** reset from now on.
    SwapPending {
        /// Test or permanent.
        mode: Mode,
    },
    /// The session ended without an activation.
    Closed,
    /// The running image is under test and must be confirmed.
    UnderTest {
        /// Number of the attempt.
        attempt: u32,
    },
    /// An attempt's outcome is known.
    Settled {
        /// Number of the attempt.
        attempt: u32,
        /// How it ended.
        outcome: Outcome,
    },
    /// A flash operation failed.
    Fault {
        /// Where.
        area: Area,
    },
}

/// Whether another writer may have the secondary slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lend {
    /// It has it.
    Lent,
    /// Not yet: ask again.
    Soon,
    /// No: a session is in use, an upgrade is pending, or the slot holds the image to revert to.
    Refused,
}

/// The running image as its header and TLVs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Running {
    version: Version,
    hash: Option<[u8; 32]>,
}

/// The session, as far as this boot knows it.
#[derive(Clone, Debug)]
struct Transfer {
    size: u32,
    digest: [u8; 32],
    version: Option<Version>,
    /// Image bytes on flash with a checkpoint in the journal.
    durable: u32,
    /// Image bytes on flash; `buffer` holds the ones from here on.
    flushed: u32,
    /// Image offset up to which the slot is erased.
    erased_to: u32,
    /// CRC-32 of the bytes `0..flushed`.
    crc: Checksum,
    /// Bytes of `buffer` in use.
    fill: usize,
}

impl Transfer {
    /// Next expected offset: everything below it is acknowledged.
    #[inline(never)]
    fn next(&self) -> u32 {
        self.flushed.wrapping_add(u32::try_from(self.fill).unwrap_or(0))
    }
}

/// How a DATA command is answered.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Acknowledge,
    Gap,
    Silence,
}

/// An answer to DATA that waits for a quiet half-duplex line.
#[derive(Clone, Copy, Debug)]
struct Deferred {
    frames: u8,
    gap: bool,
    due_ms: u64,
}

/// The receiver; see the [module's documentation](self).
// What every command touches comes first: Thumb's short loads reach 124 bytes. Half a kilobyte of code.
#[derive(Debug)]
#[repr(C)]
pub struct Receiver {
    job: Job,
    op: Option<JobOp>,
    /// The sender knows the window: a gap is answered once.
    windowed: bool,
    gap_answered: bool,
    reboot: bool,
    /// The session is of an earlier boot: a cut may have left anything in the trailer.
    recovered: bool,
    /// The bootloader refused a request of this boot.
    request_failed: bool,
    /// Another writer has the secondary slot.
    lent: bool,
    /// A verification is part of an activation, which goes on after it.
    activating: bool,
    /// Swap type that the primary trailer names: how the running image came to be where it is.
    swap_info: u8,
    /// How often the open read has been asked for.
    read_tries: u8,
    /// Idle while there is no transfer, and only then.
    state: OtaState,
    /// How the image is to be activated.
    asked: OtaActivate,
    safety: Safety,
    transfer: Option<Transfer>,
    deferred: Option<Deferred>,
    boot: BootFacts,
    /// Time of the last OTA command of this boot.
    last_command_ms: Option<u64>,
    /// Time of the first poll: a session of an earlier boot counts as idle since then.
    began_ms: Option<u64>,
    /// Requests of the application, taken up when no job runs.
    wanted: Wanted,
    /// The trusted key whose signature is looked for, by its place in the configuration.
    #[cfg(feature = "signature")]
    key: usize,
    /// Offset in the slot from which a job erases on.
    erase_at: u32,
    /// Where the last attempt's image lies after the boot.
    target: boot::Presence,
    walk: history::Walk,
    reread: boot::Reread,
    config: Config,
    running: Running,
    /// What a START that is being carried out announced.
    coming: Session,
    journal: Journal,
    buffer: [u8; BUFFER_LEN],
    events: [Option<Event>; EVENTS_MAX],
    reply: Option<Reply>,
    hashing: Option<verify::Hashing>,
    /// The walk over an image, at boot and at VERIFY.
    scan: Option<mcuboot_image::Scan>,
    proof: Option<Verified>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    stage: Option<Stage>,
    confirm: bool,
    close: bool,
}

impl Receiver {
    /// A receiver for one boot of the device. Recovery (journal, running image, outcome of the last attempt,
    /// resume) runs through the first calls of [`poll`](Self::poll).
    ///
    /// # Errors
    /// [`ConfigError`] when the layout cannot work.
    // Out of line: inlined, every part is made in a place of its own and copied from there.
    #[inline(never)]
    pub fn new(config: Config, boot: BootFacts) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self::unchecked(config, boot))
    }

    /// As [`new`](Self::new), with a configuration that has been checked.
    #[inline]
    pub(crate) fn unchecked(config: Config, boot: BootFacts) -> Self {
        Self {
            config,
            boot,
            journal: Journal::new(&config.layout),
            running: Running::default(),
            swap_info: 0,
            state: OtaState::Idle,
            transfer: None,
            proof: None,
            coming: Session { size: 0, digest: [0; 32], version: None },
            scan: None,
            hashing: None,
            reread: boot::Reread::new(),
            buffer: [0; BUFFER_LEN],
            job: Job::Boot(boot::Step::Journal),
            op: None,
            reply: None,
            deferred: None,
            events: [None; EVENTS_MAX],
            safety: Safety { state: 0, safe: false },
            last_command_ms: None,
            began_ms: None,
            windowed: false,
            gap_answered: false,
            reboot: false,
            recovered: false,
            request_failed: false,
            lent: false,
            read_tries: 1,
            wanted: Wanted::default(),
            asked: OtaActivate { mode: Mode::Test, reboot: false },
            activating: false,
            #[cfg(feature = "signature")]
            key: 0,
            erase_at: 0,
            target: boot::Presence::Gone,
            walk: history::Walk::default(),
        }
    }

    /// Whether a command can be given now. While a flash job runs or an answer waits to be taken, frames must
    /// be kept in the driver's queue.
    #[must_use]
    pub fn ready(&self) -> bool {
        matches!(self.job, Job::None)
            && self.reply.is_none()
            && !self.wanted.close
            && !self.wanted.confirm
            && self.wanted.stage.is_none()
    }

    /// Every command that was given is done with, and no answer waits to be taken or for a quiet line.
    #[must_use]
    pub fn owes_nothing(&self) -> bool {
        self.ready() && self.deferred.is_none()
    }

    /// The state that OTA_STATUS reports.
    #[must_use]
    pub fn state(&self) -> OtaState {
        self.state
    }

    /// Next expected offset and image size of the session, in bytes.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, u32)> {
        self.transfer.as_ref().map(|t| (t.next(), t.size))
    }

    /// Bytes of the session's image that survive a power cut.
    #[must_use]
    pub fn durable(&self) -> Option<u32> {
        self.transfer.as_ref().map(|t| t.durable)
    }

    /// An update is under way, an upgrade is pending or the running image is under test: the application should
    /// not start anything that a reboot or a stalled CPU would harm.
    ///
    /// A session that nobody has used for the takeover time, or not since the boot, does not count: half an
    /// image must not keep a heater off for good. Should the application start something, the next DATA is
    /// refused as unsafe, and the transfer goes on when it is safe again.
    #[must_use]
    pub fn busy(&self, now_ms: u64) -> bool {
        let used =
            self.last_command_ms.is_some_and(|last_ms| elapsed_ms(now_ms, last_ms) < self.config.takeover_ms);
        let working = !matches!(self.job, Job::None | Job::Boot(_));
        working
            || self.lent
            || !self.boot.confirmed
            || self.state == OtaState::Activated
            || (self.transfer.is_some() && used)
    }

    /// What this boot is, as far as the bootloader has been asked for something since.
    #[must_use]
    pub fn boot(&self) -> &BootFacts {
        &self.boot
    }

    /// Whether the running image is confirmed.
    #[must_use]
    pub fn confirmed(&self) -> bool {
        self.boot.confirmed
    }

    /// Version of the running image, all zero when its header could not be read.
    #[must_use]
    pub fn running_version(&self) -> Version {
        self.running.version
    }

    /// Records how far the running image's self-test came: `stage` is the application's number (0 is "booted"),
    /// `code` 0 while all is well. Kept in the journal while the image is under test, so that the old image can
    /// name the stage after a revert.
    pub fn report_stage(&mut self, stage: u32, code: i32) {
        self.wanted.stage = Some(Stage { stage, code });
    }

    /// Confirms the running image: its self-test has passed.
    pub fn confirm(&mut self) {
        self.wanted.confirm = true;
    }

    /// Ends the session at once in favour of the application (EMERGENCY). A pending upgrade stays pending.
    pub fn emergency(&mut self) {
        self.wanted.close = true;
    }

    /// Another writer asks for the secondary slot; to be called again, between polls, while the answer is
    /// [`Lend::Soon`]. It is lent when the session and an attempt that cannot be judged later are closed in
    /// the journal: whatever is cut short then, nothing is resumed, activated or claimed over foreign bytes.
    /// Until [`take_back`](Self::take_back) START is refused as "update in progress".
    pub fn lend(&mut self, now_ms: u64) -> Lend {
        if !self.ready() {
            return Lend::Soon;
        }
        if self.lent {
            return Lend::Lent;
        }
        if self.busy(now_ms) || !self.boot.confirmed {
            return Lend::Refused;
        }
        self.lent = true;
        self.wanted.close = true;
        Lend::Soon
    }

    /// The slot is lent, or about to be.
    #[must_use]
    pub fn lent(&self) -> bool {
        self.lent
    }

    /// The other writer is done, or was refused. It may have asked the bootloader for something, so the facts that the
    /// bootloader decides are those of now.
    pub fn take_back(&mut self, confirmed: bool, swap_type: SwapType) {
        self.lent = false;
        self.boot.confirmed = confirmed;
        self.boot.swap_type = swap_type;
    }

    /// What to do next. Call again after each output but [`Output::Wait`]; a flash operation or boot request
    /// is named again until it is answered.
    #[inline(never)]
    pub fn poll(&mut self, now_ms: u64) -> Output<'_> {
        if let Some(event) = self.take_event() {
            return Output::Event(event);
        }
        self.pump(now_ms);
        if let Some(event) = self.take_event() {
            return Output::Event(event);
        }
        // An answer waits until what it answers for stands in the journal.
        if self.journal.idle()
            && let Some(reply) = self.reply.take()
        {
            return Output::Reply(reply);
        }
        if let Some(status) = self.take_deferred(now_ms) {
            return Output::Reply(Reply::Status(status));
        }
        if matches!(self.job, Job::None) && core::mem::take(&mut self.reboot) {
            return Output::Reboot;
        }
        self.output()
    }

    /// Answers the last [`Output::Flash`]: the bytes for a read, anything for a write or an erase.
    ///
    /// A read that fails is asked for again, at most [`READ_TRIES`] times in all: what the journal says
    /// decides too much to be judged from a passing fault.
    #[inline(never)]
    pub fn flash_done(&mut self, result: Result<&[u8], FlashFault>) {
        let reading = matches!(self.output(), Output::Flash(FlashOp::Read { .. }));
        if result.is_err() && reading && self.read_tries < READ_TRIES {
            self.read_tries = self.read_tries.wrapping_add(1);
            return;
        }
        self.read_tries = 1;
        if self.op.is_none() && !self.journal.idle() {
            if self.journal.done(result).is_err() {
                self.fault(Area::Journal);
            }
            return;
        }
        if let Some(op) = self.op.take() {
            self.op_done(op, result);
        }
    }

    /// Answers the last [`Output::RequestUpgrade`] or [`Output::Confirm`].
    pub fn boot_done(&mut self, result: Result<(), FlashFault>) {
        match self.op.take() {
            Some(JobOp::RequestUpgrade) => self.upgrade_requested(result),
            Some(JobOp::Confirm) => self.confirm_done(result),
            other => self.op = other,
        }
    }

    fn output(&self) -> Output<'_> {
        match self.op {
            None => match self.journal.poll() {
                Some(op) => Output::Flash(op),
                None => Output::Wait { until_ms: self.deferred.map(|d| d.due_ms) },
            },
            Some(JobOp::Read { area, offset, len }) => Output::Flash(FlashOp::Read { area, offset, len }),
            Some(JobOp::Write { offset, len }) => {
                let data = self.buffer.get(..len).unwrap_or_default();
                Output::Flash(FlashOp::Write { area: Area::Secondary, offset, data })
            }
            Some(JobOp::Erase { offset }) => {
                let len = self.config.layout.sector_size;
                Output::Flash(FlashOp::Erase { area: Area::Secondary, offset, len })
            }
            #[cfg(feature = "signature")]
            Some(JobOp::CheckSignature { len }) => self.signed(len),
            Some(JobOp::Confirm) => Output::Confirm,
            Some(JobOp::RequestUpgrade) => match &self.proof {
                Some(image) => Output::RequestUpgrade { image, mode: self.asked.mode },
                // No proof, no request: `pump` never leaves it so.
                None => Output::Wait { until_ms: None },
            },
        }
    }

    /// Opens a read of the secondary slot, from `offset` of the image on.
    #[inline(never)]
    fn read_slot(&mut self, offset: u32, len: u32) {
        let offset = self.config.layout.image_offset.wrapping_add(offset);
        self.op = Some(JobOp::Read { area: Area::Secondary, offset, len });
    }

    fn take_event(&mut self) -> Option<Event> {
        self.events.iter_mut().find_map(Option::take)
    }

    #[inline(never)]
    fn event(&mut self, event: Event) {
        if let Some(free) = self.events.iter_mut().find(|e| e.is_none()) {
            *free = Some(event);
        }
    }

    /// Answers DATA: at once on a full-duplex link, else when the window is full or the line is quiet.
    fn answer_data(&mut self, now_ms: u64, answer: Answer) {
        if !self.config.defers() || !self.windowed {
            return match answer {
                Answer::Acknowledge => self.acknowledge(),
                Answer::Gap => self.refuse_offset(),
                Answer::Silence => {}
            };
        }
        let before = self.deferred.map_or((0, false), |d| (d.frames, d.gap));
        let frames = before.0.saturating_add(1);
        let gap = match answer {
            Answer::Acknowledge => before.1,
            Answer::Gap => true,
            Answer::Silence => before.1,
        };
        let full = frames >= self.config.window;
        let wait_ms = if full { 0 } else { u64::from(self.config.quiet_ms) };
        self.deferred = Some(Deferred { frames, gap, due_ms: now_ms.saturating_add(wait_ms) });
    }

    /// The acknowledgement that waited for a quiet line; when a frame was missing, the refusal follows it.
    fn take_deferred(&mut self, now_ms: u64) -> Option<OtaStatus> {
        let deferred = self.deferred.filter(|_| self.config.defers())?;
        if now_ms < deferred.due_ms || !matches!(self.job, Job::None) {
            return None;
        }
        self.deferred = None;
        if deferred.gap {
            self.refuse_offset();
        }
        Some(self.progress_status())
    }

    /// A chunk that does not begin where it must (PROTOCOL.md, OTA_DATA).
    fn refuse_offset(&mut self) {
        self.refuse(Some(0), Constraint::ValueConflict);
    }

    /// OTA_STATUS without the version, as DATA is answered.
    fn progress_status(&self) -> OtaStatus {
        let transfer = self.transfer.as_ref();
        OtaStatus { state: self.state, offset: transfer.map(Transfer::next), version: None }
    }

    #[inline(never)]
    fn acknowledge(&mut self) {
        self.reply = Some(Reply::Status(self.progress_status()));
    }

    /// Answers with OTA_STATUS as QUERY wants it.
    #[inline(never)]
    fn answer_status(&mut self) {
        let version = self.transfer.as_ref().and_then(|t| t.version);
        self.reply = Some(Reply::Status(OtaStatus { version, ..self.progress_status() }));
    }
}
