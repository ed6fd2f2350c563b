// SPDX-License-Identifier: Apache-2.0
//! What is sent to the controller itself: its own update, and the operations that only a controller knows
//! (PROTOCOL.md §7.5).

use fusain::relay::{Campaign, CampaignFlags, Relay as Operation, Stage};
use fusain::{Address, Constraint, Extension, Mode, OtaActivate, OtaState, Reason};
use mcuboot_image::HEADER_SIZE;

use crate::controller::Relay;
use crate::outbox::To;
use crate::session::Session;

impl<const N: usize, const L: usize, const C: usize> Relay<N, L, C> {
    /// An update command, or an operation, for the controller's own address.
    pub(crate) fn own_update(&mut self, client: u8, address: Address, code: u8, payload: &[u8]) {
        if code == Extension::CODE {
            match Operation::decode(payload) {
                Ok(Operation::Other) => {}
                Ok(operation) => return self.operation_of(client, address, &operation),
                Err(error) => {
                    if let Some(wrong) = error.invalid_command() {
                        self.outbox.push(To::client(client), address, |out| wrong.encode(out));
                    }
                    return;
                }
            }
        }
        if !self.config.updates_itself {
            return;
        }
        // Appliances first, each seen to come back, then the controller: its reboot waits for them.
        if code == OtaActivate::CODE && self.roster.iter().any(|(_, device)| device.needs_image()) {
            let reject = fusain::StateReject::because(
                i32::from(OtaState::Verified.number()),
                Reason::UpdateInProgress,
            );
            return self.outbox.push(To::client(client), address, |out| reject.encode(out));
        }
        self.own.keep(client, address, payload);
    }

    fn operation_of(&mut self, client: u8, address: Address, operation: &Operation) {
        match *operation {
            Operation::RosterRequest { index } => self.answer_roster(client, address, index),
            Operation::CampaignRequest => self.answer_campaign(client, address),
            Operation::CampaignAdd { address: appliance, size, digest, mode } => {
                if self.planned.is_some() {
                    // Another client's is not durable yet; a client asks again.
                    return;
                }
                let image = Session::new(size, digest, None);
                match self.plan(appliance, image, mode) {
                    Ok(index) => {
                        let version = self.meta.touch();
                        self.planned = Some(Planned { client, address, index, version });
                    }
                    Err(Plan::Invalid(field, constraint)) => {
                        self.refuse(client, address, Some(field), constraint);
                    }
                    Err(Plan::Rejected(reason)) => {
                        let state = self.stored().0.number();
                        let reject = fusain::StateReject::because(i32::from(state), reason);
                        self.outbox.push(To::client(client), address, |out| reject.encode(out));
                    }
                }
            }
            Operation::CampaignCancel { address: appliance } => {
                for slot in 0..N {
                    let concerned = self.roster.get(slot).is_some_and(|device| {
                        appliance.is_none_or(|appliance| device.address == appliance)
                            && device.needs_image()
                            // What was activated cannot be taken back, but nobody waits for a reset for ever.
                            && (device.stage != Stage::Activating || device.waits_for_reset())
                    });
                    if concerned {
                        self.cancel(slot);
                    }
                }
                self.drop_unneeded();
                self.answer_campaign(client, address);
            }
            // Answers are not for a controller.
            Operation::Roster { .. } | Operation::Campaign(_) | Operation::Other => {}
        }
    }

    /// Answers a plan that has become durable, or that the store refuses.
    pub(crate) fn pump_planned(&mut self) {
        let Some(Planned { client, address, index, version }) = self.planned else { return };
        if self.meta.durable(version) {
            self.planned = None;
            self.answer_roster(client, address, index);
        } else if self.meta.failed() {
            self.planned = None;
            self.refuse(client, address, None, Constraint::FlashWriteFailed);
        }
    }

    /// Plans an image for an appliance; gives the appliance's place on the roster.
    fn plan(&mut self, appliance: Address, image: Session, mode: Mode) -> Result<u8, Plan> {
        let smallest = u32::try_from(HEADER_SIZE).unwrap_or(32);
        if self.is_transparent() {
            return Err(Plan::Rejected(Reason::InvalidInState));
        }
        if image.size < smallest || image.size > self.config.image_max {
            let small = image.size < smallest;
            let constraint = if small { Constraint::ValueTooLow } else { Constraint::ImageTooLarge };
            return Err(Plan::Invalid(4, constraint));
        }
        let Some(slot) = self.slot_of(appliance).filter(|_| appliance.is_device()) else {
            return Err(Plan::Invalid(3, Constraint::IndexNotFound));
        };
        match &self.session {
            Some(session) if session.is(image.size, &image.digest) => {}
            Some(_) if !self.may_take_over() => return Err(Plan::Rejected(Reason::UpdateInProgress)),
            Some(_) => {
                self.give_up_others();
                self.open_session(image);
            }
            None => self.open_session(image),
        }
        let Some(device) = self.roster.get_mut(slot) else {
            return Err(Plan::Invalid(3, Constraint::IndexNotFound));
        };
        match device.stage {
            Stage::None | Stage::Settled | Stage::Waiting => device.plan(true, mode),
            // It is being served already; from now on without its client.
            _ => (device.auto, device.activate) = (true, true),
        }
        device.mode = mode;
        self.meta.touch();
        if self.approved.is_some() && self.roster.get(slot).is_some_and(|d| d.stage == Stage::Waiting) {
            // A refusal shows in the entry that answers.
            let _ = self.queue(slot);
            self.drop_unneeded();
        }
        let index = self.roster.iter().position(|(place, _)| place == slot);
        Ok(index.and_then(|index| u8::try_from(index).ok()).unwrap_or(u8::MAX))
    }

    fn answer_roster(&mut self, client: u8, address: Address, index: u8) {
        let total = u8::try_from(self.roster.len()).unwrap_or(u8::MAX);
        let entry = self.roster.nth(usize::from(index)).map(|device| device.entry());
        let answer = Operation::Roster { index, total, entry };
        self.outbox.push(To::client(client), address, |out| answer.encode(out));
    }

    fn answer_campaign(&mut self, client: u8, address: Address) {
        let (stored, offset, size) = self.stored();
        let unsigned = self.approved.as_ref().is_some_and(|approved| approved.is_unsigned());
        let flags = CampaignFlags::default()
            .with(CampaignFlags::ROOT_MODE, self.root.is_on())
            .with(CampaignFlags::DOWNGRADE_ALLOWED, self.root.allows_downgrade())
            .with(CampaignFlags::TRANSPARENT, self.is_transparent())
            .with(CampaignFlags::UNSIGNED, unsigned);
        let open = self.roster.iter().filter(|(_, device)| device.needs_image()).count();
        let answer = Operation::Campaign(Campaign {
            stored,
            offset,
            size,
            digest: self.session.as_ref().map(|session| session.digest),
            flags,
            appliances: u8::try_from(self.roster.len()).unwrap_or(u8::MAX),
            open: u8::try_from(open).unwrap_or(u8::MAX),
            version: self.approved.as_ref().map(|approved| approved.version()),
        });
        self.outbox.push(To::client(client), address, |out| answer.encode(out));
    }
}

/// A plan that is answered when it is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) client: u8,
    address: Address,
    index: u8,
    version: u32,
}

/// Why an image was not planned.
enum Plan {
    Invalid(i32, Constraint),
    Rejected(Reason),
}
