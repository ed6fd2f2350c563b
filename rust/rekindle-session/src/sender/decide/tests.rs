// SPDX-License-Identifier: Apache-2.0
extern crate std;

use std::format;
use std::string::String;

use super::*;

const STEPS: [Step; 22] = [
    Step::Info,
    Step::Start,
    Step::Data,
    Step::Verify,
    Step::Before,
    Step::Activate,
    Step::Abort,
    Step::Query(Why::Entry),
    Step::Query(Why::Lost),
    Step::Query(Why::Refused(CommandKind::Start, Class::State)),
    Step::Query(Why::Refused(CommandKind::Data, Class::State)),
    Step::Query(Why::Refused(CommandKind::Verify, Class::Hash)),
    Step::Query(Why::Refused(CommandKind::Verify, Class::Fatal)),
    Step::Query(Why::Refused(CommandKind::Activate, Class::Unsafe)),
    Step::Query(Why::Rebooted),
    Step::Query(Why::Taken),
    Step::Reboot,
    Step::Outcome,
    Step::Pause(Pause::Unsafe),
    Step::Pause(Pause::Activate),
    Step::Offline,
    Step::Last(Ending::Rebooted(Verdict::Reported)),
];

fn triggers() -> std::vec::Vec<Trigger> {
    let classes = [Class::Conflict, Class::Hash, Class::Fatal, Class::Unsafe, Class::Busy, Class::State];
    let states = OtaState::ALL.iter().map(|state| Trigger::Status(*state));
    let outcomes = Outcome::ALL.iter().map(|outcome| Trigger::Outcome(*outcome));
    let rest = [
        Trigger::Info,
        Trigger::Uptime { back: true },
        Trigger::Uptime { back: false },
        Trigger::Silent,
        Trigger::Elapsed,
        Trigger::LinkLost,
        Trigger::LinkUp,
    ];
    states.chain(classes.map(Trigger::Refused)).chain(outcomes).chain(rest).collect()
}

fn facts(extension: bool, activating: bool) -> Facts {
    Facts {
        task: Task::Push,
        activate: true,
        reboot: true,
        follow: true,
        force: false,
        extension,
        running: if extension { Running::Other } else { Running::Unknown },
        confirmed: extension,
        swap_pending: false,
        complete: false,
        estranged: false,
        in_circles: false,
        stepped_back: false,
        activating,
        rebooted: None,
        was_activated: false,
        repeated: false,
        seen: None,
        ours: if extension { Some(true) } else { Some(false) },
        foreign: false,
        stale: false,
        prior: false,
        once_more: true,
    }
}

/// Every step with every trigger, for a push to each kind of device, before and after ACTIVATE. What is not
/// in the table is ignored. A change here is a change of behaviour: read the difference, then
/// `UPDATE_TABLE=1 cargo test -p rekindle-session` writes the new table.
#[test]
fn the_table_of_decisions_is_the_one_on_record() {
    let mut table = String::new();
    for (name, facts) in [
        ("base device", facts(false, false)),
        ("base device, after ACTIVATE", facts(false, true)),
        ("device with the extension", facts(true, false)),
        ("device with the extension, after ACTIVATE", facts(true, true)),
    ] {
        table += &format!("# push to a {name}\n");
        for step in STEPS {
            for trigger in triggers() {
                let next = decide(step, trigger, &facts);
                if next != Next::Ignore {
                    table += &format!("{step:?} + {trigger:?} -> {next:?}\n");
                }
            }
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sender/decisions.txt");
    if std::env::var_os("UPDATE_TABLE").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap();
    for (number, (is, was)) in table.lines().zip(recorded.lines()).enumerate() {
        assert_eq!(is, was, "line {}", number + 1);
    }
    assert_eq!(table.lines().count(), recorded.lines().count());
}

#[test]
fn a_lost_link_is_never_ignored_and_silence_always_leads_somewhere() {
    for step in STEPS {
        for facts in [facts(false, false), facts(true, true)] {
            if !matches!(step, Step::Offline | Step::Last(_)) {
                assert_eq!(decide(step, Trigger::LinkLost, &facts), Next::Go(Step::Offline));
            }
            let asks = !matches!(step, Step::Offline | Step::Pause(_) | Step::Reboot);
            assert_eq!(decide(step, Trigger::Silent, &facts) != Next::Ignore, asks, "{step:?}");
            let waits = matches!(step, Step::Offline | Step::Pause(_) | Step::Reboot | Step::Outcome);
            assert_eq!(decide(step, Trigger::Elapsed, &facts) != Next::Ignore, waits, "{step:?}");
        }
    }
}
