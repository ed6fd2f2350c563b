// SPDX-License-Identifier: Apache-2.0

//! Whether a new image is good enough to stay.
//!
//! An image under test proves itself in stages and notes each in the journal, so that the
//! image MCUboot reverts to can say how far it came. It is confirmed when the appliance
//! has come up and a controller was answered; if that takes longer than the deadline, or a
//! check fails, the device is reset and MCUboot reverts.

use rekindle_session::appliance::Event;
use rekindle_session::receiver;
use rekindle_zephyr::device::Request;

/// Numbers of the stages in the journal and in the outcome that a controller reads.
const STAGE_UP: u32 = 1;
const STAGE_ANSWERED: u32 = 2;
/// The code of a stage that was not reached in time (`ETIMEDOUT`).
const CODE_TIMEOUT: i32 = -116;
/// How long a note may take before the reset that must not come ahead of it.
const NOTE_MS: u64 = 500;

/// What the self-test does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The running image is not under test.
    Idle,
    /// Waiting for the appliance to come up.
    Up,
    /// Waiting for a controller to be answered.
    Answered,
    /// Everything passed.
    Passed,
    /// A check failed and was noted; the reset follows.
    Failed { at_ms: u64 },
    /// Nothing more to do but to wait for the end.
    Done,
}

/// The self-test of the running image.
pub(crate) struct SelfTest {
    state: State,
    answered: bool,
    deadline_ms: u64,
}

impl SelfTest {
    pub(crate) fn new() -> Self {
        let deadline_ms = u64::try_from(zephyr::kconfig::CONFIG_APPLIANCE_CONFIRM_DEADLINE_MS);
        Self { state: State::Idle, answered: false, deadline_ms: deadline_ms.unwrap_or(u64::MAX) }
    }

    pub(crate) fn event(&mut self, event: &Event) {
        if let Event::Update(receiver::Event::UnderTest { .. }) = event {
            self.state = State::Up;
        }
    }

    pub(crate) fn answered(&mut self) {
        self.answered = true;
    }

    /// What to ask for now; `up` says that the appliance has come up.
    pub(crate) fn next(&mut self, now_ms: u64, up: bool) -> Option<Request> {
        let late = now_ms >= self.deadline_ms;
        let (state, request) = match self.state {
            State::Up if up => match verdict() {
                Verdict::Good => (State::Answered, Some(stage(STAGE_UP, 0))),
                Verdict::Silent => (State::Done, None),
                Verdict::Bad(code) => fail(now_ms, STAGE_UP, code),
            },
            State::Up if late => fail(now_ms, STAGE_UP, CODE_TIMEOUT),
            State::Answered if self.answered => (State::Passed, Some(stage(STAGE_ANSWERED, 0))),
            State::Answered if late => fail(now_ms, STAGE_ANSWERED, CODE_TIMEOUT),
            State::Passed => (State::Idle, Some(Request::Confirm)),
            State::Failed { at_ms } if now_ms >= at_ms => (State::Done, Some(Request::Reboot)),
            // A test that never ends is over at the deadline, whatever it is that hangs.
            State::Done if late => (State::Done, Some(Request::Reboot)),
            state => (state, None),
        };
        self.state = state;
        request
    }
}

fn stage(stage: u32, code: i32) -> Request {
    Request::Stage { stage, code }
}

fn fail(now_ms: u64, at: u32, code: i32) -> (State, Option<Request>) {
    (State::Failed { at_ms: now_ms.saturating_add(NOTE_MS) }, Some(stage(at, code)))
}

/// What the appliance's own checks say.
enum Verdict {
    Good,
    #[cfg_attr(not(CONFIG_APPLIANCE_SELF_TEST_IMAGE), expect(dead_code))]
    Silent,
    #[cfg_attr(not(CONFIG_APPLIANCE_SELF_TEST_IMAGE), expect(dead_code))]
    Bad(i32),
}

#[cfg(not(CONFIG_APPLIANCE_SELF_TEST_IMAGE))]
fn verdict() -> Verdict {
    Verdict::Good
}

/// Where a test writes the verdict into the finished image, before it signs it: `g`, `s` or
/// `b` behind the label, and for `b` the code as four little-endian bytes.
#[cfg(CONFIG_APPLIANCE_SELF_TEST_IMAGE)]
#[used]
static MARK: [u8; 24] = *b"rekindle-self-test:g\0\0\0\0";

#[cfg(CONFIG_APPLIANCE_SELF_TEST_IMAGE)]
fn verdict() -> Verdict {
    // Not what the compiler saw: the image was changed since.
    let mark = core::hint::black_box(&MARK);
    match mark[19] {
        b's' => Verdict::Silent,
        b'b' => Verdict::Bad(i32::from_le_bytes([mark[20], mark[21], mark[22], mark[23]])),
        _ => Verdict::Good,
    }
}
