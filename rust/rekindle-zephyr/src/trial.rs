// SPDX-License-Identifier: Apache-2.0

//! Whether a new image is good enough to stay.
//!
//! MCUboot starts a new image once; unless it is confirmed, the next reset goes back to the
//! old one. An image under test proves itself in stages. Each stage stands in the journal
//! before the application works on it, so that the image MCUboot reverts to can say how far
//! this one came, whichever way it ended: by a failure, by the deadline, or by a hang that the
//! watchdog ended.

use crate::device::Application;
use crate::{boot, policy};

/// Stage in which the self-test has passed and a controller has yet to be answered. Stages
/// below are the application's, 0 is "booted".
pub const STAGE_CONTROLLER: u32 = 100;
/// Stage in which the bootloader was asked to keep the image.
pub const STAGE_CONFIRM: u32 = 101;
/// The code of a stage that did not end in time (`ETIMEDOUT`).
pub const CODE_TIMEOUT: i32 = -116;
/// The code of a confirmation that the bootloader's flash refused (`EIO`).
pub const CODE_IO: i32 = -5;

/// What the application's self-test says each time it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Works on this stage, 1 to 99. It is asked again, and not before the stage's number
    /// stands in the journal: what may hang belongs behind that.
    At(u32),
    /// Everything that was to be checked is well.
    Passed,
    /// Something is not: the image goes.
    Failed {
        /// Where.
        stage: u32,
        /// Why, in the application's own numbers; a negative `errno` by custom.
        code: i32,
    },
}

/// What the application may want to tell about its trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A stage began, or ended with a code.
    Stage {
        /// Its number.
        stage: u32,
        /// 0 while all is well.
        code: i32,
    },
    /// The running image is confirmed.
    Confirmed,
    /// The image has failed; the device is reset as soon as the application says it may be.
    Failed,
}

/// What the device is to do for the trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Note { stage: u32, code: i32 },
    Confirm,
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is nothing to prove.
    Over,
    /// The application's self-test runs, at this stage.
    Testing { stage: u32 },
    /// It has passed; a controller is still to be answered.
    Waiting,
    /// The last stage is noted: confirm.
    Passed,
    /// The bootloader was asked.
    Confirming,
    /// The bootloader's flash refused that.
    Unkept,
    /// The failure is noted: reset.
    Failed,
}

/// The trial of the running image.
#[derive(Debug)]
pub(crate) struct Trial {
    state: State,
    answered: bool,
}

impl Trial {
    pub(crate) fn new(confirmed: bool) -> Self {
        let state = if confirmed { State::Over } else { State::Testing { stage: 0 } };
        Self { state, answered: false }
    }

    /// A controller was answered: somebody is there.
    pub(crate) fn answered(&mut self) {
        self.answered = true;
    }

    /// The bootloader's answer to [`Step::Confirm`].
    pub(crate) fn confirmed(&mut self, application: &mut impl Application, right: bool) {
        if self.state == State::Confirming {
            if right {
                self.state = State::Over;
                application.trial(Notice::Confirmed);
            } else {
                self.state = State::Unkept;
            }
        }
    }

    /// What to do next. To be called only while everything noted before is on flash.
    pub(crate) fn step(&mut self, now_ms: u64, application: &mut impl Application) -> Option<Step> {
        if !matches!(self.state, State::Over | State::Confirming) && boot::is_confirmed() {
            // By another way, such as SMP; the session shall know.
            self.state = State::Confirming;
            return Some(Step::Confirm);
        }
        let late = now_ms >= policy::deadline_ms();
        match self.state {
            State::Over | State::Confirming => None,
            State::Unkept => Some(self.fail(application, STAGE_CONFIRM, CODE_IO)),
            State::Testing { stage } if late => Some(self.fail(application, stage, CODE_TIMEOUT)),
            State::Testing { stage } => self.test(now_ms, application, stage),
            State::Waiting if self.answered || !policy::needs_controller() => {
                self.state = State::Passed;
                Some(note(application, STAGE_CONFIRM, 0))
            }
            State::Waiting if late => Some(self.fail(application, STAGE_CONTROLLER, CODE_TIMEOUT)),
            State::Waiting => None,
            State::Passed => {
                self.state = State::Confirming;
                Some(Step::Confirm)
            }
            State::Failed => Some(Step::Reset),
        }
    }

    fn test(&mut self, now_ms: u64, application: &mut impl Application, stage: u32) -> Option<Step> {
        match application.self_test(now_ms) {
            Check::At(now) if now == stage => None,
            Check::At(next) => {
                self.state = State::Testing { stage: next };
                Some(note(application, next, 0))
            }
            Check::Passed => {
                self.state = State::Waiting;
                Some(note(application, STAGE_CONTROLLER, 0))
            }
            Check::Failed { stage, code } => Some(self.fail(application, stage, code)),
        }
    }

    fn fail(&mut self, application: &mut impl Application, stage: u32, code: i32) -> Step {
        self.state = State::Failed;
        let step = note(application, stage, code);
        application.trial(Notice::Failed);
        step
    }
}

fn note(application: &mut impl Application, stage: u32, code: i32) -> Step {
    application.trial(Notice::Stage { stage, code });
    Step::Note { stage, code }
}
