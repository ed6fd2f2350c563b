// SPDX-License-Identifier: Apache-2.0
//! Root mode: unsigned images may be forwarded.
//!
//! Somebody has to stand before the controller to switch it on: a physical act (a button held at boot; on a host, a
//! file that only an administrator can create), then a confirmation in time. There is no message for it. It skips
//! the signature and nothing else; downgrades are a second switch that needs it.

use crate::record::AuditKind;

/// How long a wish waits for its confirmation, in milliseconds.
pub const CONFIRM_MS: u64 = 60_000;

/// What somebody wants and has not confirmed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Enable,
    Disable,
}

/// Why a step was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootError {
    /// Nothing waits for a confirmation, or it came too late.
    NotArmed,
    /// Root mode is off.
    Locked,
    /// An earlier change is still being recorded.
    Busy,
}

impl core::fmt::Display for RootError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotArmed => "nothing waits for a confirmation: begin again with the physical act",
            Self::Locked => "root mode is off",
            Self::Busy => "an earlier change is still being recorded",
        })
    }
}

impl core::error::Error for RootError {}

/// The switches, and a wish that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RootMode {
    on: bool,
    downgrade: bool,
    wish: Option<(Wish, u64)>,
}

impl RootMode {
    /// The switches as they were recorded.
    pub(crate) const fn recorded(on: bool, downgrade: bool) -> Self {
        Self { on, downgrade: on && downgrade, wish: None }
    }

    /// Whether unsigned images pass.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// Whether older images pass.
    #[must_use]
    pub const fn allows_downgrade(&self) -> bool {
        self.on && self.downgrade
    }

    /// The physical act was done: root mode waits for its confirmation.
    pub(crate) const fn arm(&mut self, now_ms: u64) {
        self.wish = Some((Wish::Enable, now_ms.saturating_add(CONFIRM_MS)));
    }

    /// Somebody wants root mode off: that waits for its confirmation, too.
    pub(crate) const fn ask_off(&mut self, now_ms: u64) -> Result<(), RootError> {
        if !self.on {
            return Err(RootError::Locked);
        }
        self.wish = Some((Wish::Disable, now_ms.saturating_add(CONFIRM_MS)));
        Ok(())
    }

    /// The confirmation: says what is to be recorded before it counts.
    pub(crate) fn confirm(&mut self, now_ms: u64) -> Result<Option<AuditKind>, RootError> {
        match self.wish.take() {
            Some((wish, until_ms)) if now_ms <= until_ms => Ok(match wish {
                Wish::Enable => (!self.on).then_some(AuditKind::RootEnabled),
                Wish::Disable => self.on.then_some(AuditKind::RootDisabled),
            }),
            _ => Err(RootError::NotArmed),
        }
    }

    /// The second switch: says what is to be recorded before it counts.
    pub(crate) const fn downgrade(&self, allow: bool) -> Result<Option<AuditKind>, RootError> {
        match (self.on, allow == self.downgrade) {
            (false, _) => Err(RootError::Locked),
            (true, true) => Ok(None),
            (true, false) if allow => Ok(Some(AuditKind::DowngradeAllowed)),
            (true, false) => Ok(Some(AuditKind::DowngradeForbidden)),
        }
    }

    /// The change is on record: it counts.
    pub(crate) const fn apply(&mut self, kind: AuditKind) {
        match kind {
            AuditKind::RootEnabled => self.on = true,
            AuditKind::RootDisabled => (self.on, self.downgrade) = (false, false),
            AuditKind::DowngradeAllowed => self.downgrade = self.on,
            AuditKind::DowngradeForbidden => self.downgrade = false,
            AuditKind::UnsignedReleased => {}
        }
    }

    pub(crate) const fn switches(&self) -> (bool, bool) {
        (self.on, self.downgrade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_the_act_and_then_the_confirmation_in_time() {
        let mut root = RootMode::default();
        assert_eq!(root.confirm(0), Err(RootError::NotArmed));
        root.arm(1_000);
        assert!(!root.is_on(), "the act alone does nothing");
        assert_eq!(root.confirm(1_001 + CONFIRM_MS), Err(RootError::NotArmed), "too late");
        assert_eq!(root.confirm(1_002), Err(RootError::NotArmed), "the late one used the act up");
        root.arm(1_000);
        assert_eq!(root.confirm(1_000 + CONFIRM_MS), Ok(Some(AuditKind::RootEnabled)));
        assert!(!root.is_on(), "only on record it counts");
        root.apply(AuditKind::RootEnabled);
        assert!(root.is_on() && !root.allows_downgrade());
    }

    #[test]
    fn the_second_switch_needs_the_first_and_goes_with_it() {
        let mut root = RootMode::default();
        assert_eq!(root.downgrade(true), Err(RootError::Locked));
        root.apply(AuditKind::DowngradeAllowed);
        assert!(!root.allows_downgrade());
        root.apply(AuditKind::RootEnabled);
        assert_eq!(root.downgrade(true), Ok(Some(AuditKind::DowngradeAllowed)));
        root.apply(AuditKind::DowngradeAllowed);
        assert!(root.allows_downgrade());
        root.ask_off(5).unwrap();
        assert_eq!(root.confirm(6), Ok(Some(AuditKind::RootDisabled)));
        root.apply(AuditKind::RootDisabled);
        assert!(!root.is_on() && !root.allows_downgrade());
        assert_eq!(root.ask_off(7), Err(RootError::Locked));
        root.apply(AuditKind::RootEnabled);
        assert!(!root.allows_downgrade(), "the second switch does not come back by itself");
    }
}
