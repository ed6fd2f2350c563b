// SPDX-License-Identifier: Apache-2.0
//! `relay`: the controller daemon, and what its administrator does on its machine.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fusain::Address;
use rekindle_relay::AuditRecord;
use rekindle_router::config::Settings;
use rekindle_router::root_file::{STATUS_NAME, Wish};
use rekindle_router::{Daemon, StartError};
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{self, LogLevel, RelayAction, RootModeWish};
use crate::exit::{Exit, Failure, Outcome, chain};
use crate::interrupt;
use crate::output::{Output, hex};

/// Time between two looks at a flag or a file.
const NAP: Duration = Duration::from_millis(100);
/// How long the daemon may take to notice what the administrator wrote.
const NOTICE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &cli::Relay, output: Output) -> Outcome {
    let settings = Settings::read(&args.config).map_err(|error| {
        Failure::of(Exit::Input, &error).next("mend that line, then `rekindle relay check`")
    })?;
    match &args.action {
        None => serve(settings, args.log_level, output),
        Some(RelayAction::Check) => output.print(
            &json!({"event": "configuration", "file": args.config.display().to_string(), "ok": true}),
            format!("{} is right, and so is every file it names", args.config.display()),
        ),
        Some(RelayAction::Audit) => audit(&settings, output),
        Some(RelayAction::RootMode(asked)) => root_mode(&settings, asked, output),
    }
}

fn serve(settings: Settings, level: LogLevel, output: Output) -> Outcome {
    start_log(level, output);
    let interrupted = interrupt::flag()?;
    let daemon = Daemon::open(settings).map_err(|error| start_failed(&error))?;
    for target in daemon.targets() {
        output.print(
            &json!({"event": "listening", "target": target}),
            format!("controller listens at {target}"),
        )?;
    }
    // The flag of the signal handler is a static; the daemon's threads share one of their own.
    let stop = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&stop);
    std::thread::spawn(move || {
        while !interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(NAP);
        }
        watched.store(true, Ordering::Relaxed);
    });
    daemon.run(&stop).map_err(|error| start_failed(&error))
}

fn start_log(level: LogLevel, output: Output) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_target(false);
    // A second log in one process is of no use, and there is none.
    let _ = if output.is_json() {
        log.json().flatten_event(true).try_init()
    } else {
        log.with_ansi(io::stderr().is_terminal()).try_init()
    };
}

fn start_failed(error: &StartError) -> Failure {
    let failure = Failure::new(Exit::Input, chain(error));
    match error {
        StartError::Listen { .. } => failure
            .next("choose another port, or end whatever listens there; ports below 1024 need a capability"),
        StartError::Store(_) => failure.next("may this user write there?"),
        StartError::Config(_) | StartError::Thread(_) => failure,
    }
}

fn audit(settings: &Settings, output: Output) -> Outcome {
    let records = rekindle_router::audit(settings.store()).map_err(|(path, error)| {
        Failure::new(Exit::Input, format!("cannot read {}: {error}", path.display()))
            .next("the store belongs to the daemon's user: ask as that user, or as the administrator")
    })?;
    if records.is_empty() && !output.is_json() {
        return output.print(&json!({}), "nothing is on record: root mode was never on");
    }
    records.iter().try_for_each(|record| {
        let concerned = record.address != Address::BROADCAST;
        let json = json!({
            "event": "record",
            "kind": record.kind.words(),
            "unix_seconds": record.unix_s,
            "boot": Some(record.boot).filter(|boot| *boot != 0),
            "uptime_ms": record.uptime_ms,
            "digest": concerned.then(|| hex(&record.digest)),
            "address": concerned.then(|| record.address.to_string()),
        });
        output.print(&json, record_text(record, concerned))
    })
}

fn record_text(record: &AuditRecord, concerned: bool) -> String {
    let time = record.when();
    let what = record.kind.words();
    if concerned {
        format!("{time}  {what}: image {} to {}", hex(&record.digest), record.address)
    } else {
        format!("{time}  {what}")
    }
}

/// Root mode: writes the wish, waits for the code, asks, writes the confirmation.
fn root_mode(settings: &Settings, asked: &cli::RelayRootMode, output: Output) -> Outcome {
    let Some(file) = settings.root_mode_file() else {
        return Err(Failure::new(Exit::Input, "this controller has no root mode: root-mode-file is not set")
            .next("set root-mode-file to a path that only the administrator can write, and restart it"));
    };
    let status = settings.store().join(STATUS_NAME);
    let wish = match asked.wish {
        RootModeWish::Show => {
            let state = state(&read_status(&status)?);
            return output
                .print(&json!({"event": "root_mode", "state": state}), format!("root mode is {state}"));
        }
        RootModeWish::Enable => Wish::Enable,
        RootModeWish::Disable => Wish::Disable,
        RootModeWish::AllowDowngrade => Wish::AllowDowngrade,
        RootModeWish::ForbidDowngrade => Wish::ForbidDowngrade,
    };
    let now = state(&read_status(&status)?);
    let is_so = match wish {
        Wish::Enable => now != "off",
        Wish::Disable => now == "off",
        Wish::AllowDowngrade => now == "on, downgrades allowed",
        Wish::ForbidDowngrade => now == "on",
    };
    if is_so {
        return output
            .print(&json!({"event": "root_mode", "state": now}), format!("root mode is {now} already"));
    }
    write_word(file, wish.name())?;
    let done = confirm(file, &status, wish, asked.yes);
    // Whatever came of it, nothing stays that could be taken for a wish later.
    let _ = fs::remove_file(file);
    let state = done?;
    output.print(&json!({"event": "root_mode", "state": state}), format!("root mode is {state}"))
}

fn confirm(file: &Path, status: &Path, wish: Wish, yes: bool) -> Outcome<String> {
    let asked = format!("asked: {} ", wish.name());
    let code =
        wait_for(status, |text| text.lines().find_map(|line| line.strip_prefix(&asked)).map(str::to_owned))?;
    let Some(code) = code else {
        return Err(Failure::new(Exit::Refused, format!("the daemon does not take up `{}`", wish.name()))
            .next(
                "does it run? Its log says why: root mode may be off, or the file may not be the administrator's \
                 alone",
            ));
    };
    if !yes {
        consent(wish)?;
    }
    write_word(file, &format!("confirm {code}"))?;
    let after = wait_for(status, |text| (!text.contains("asked:")).then(|| state(text)))?;
    let wanted = match wish {
        Wish::Enable | Wish::ForbidDowngrade => "on",
        Wish::Disable => "off",
        Wish::AllowDowngrade => "on, downgrades allowed",
    };
    match after {
        Some(state) if state == wanted => Ok(state),
        _ => Err(Failure::new(Exit::Refused, "root mode was not changed").next("the daemon's log says why")),
    }
}

fn consent(wish: Wish) -> Outcome {
    let question = match wish {
        Wish::Enable => "From then on this controller forwards images that nobody has signed.",
        Wish::AllowDowngrade => {
            "From then on it forwards images that are older than what runs, with their old faults."
        }
        Wish::Disable => "From then on signatures are asked for again.",
        Wish::ForbidDowngrade => "From then on older images are refused again.",
    };
    if !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Declined, "nobody is there to confirm it").next("add --yes"));
    }
    eprint!("{question} Type `{}` to confirm: ", wish.name());
    let _ = io::stderr().flush();
    let mut answer = String::new();
    match io::stdin().lock().read_line(&mut answer) {
        Ok(_) if answer.trim() == wish.name() => Ok(()),
        _ => Err(Failure::new(Exit::Declined, "not confirmed: nothing is changed")),
    }
}

fn write_word(file: &Path, word: &str) -> Outcome {
    let failed = |error: &io::Error| {
        Failure::new(Exit::Input, format!("cannot write {}: {error}", file.display()))
            .next("root mode is for the administrator of this machine")
    };
    // Another file each time, so that the daemon sees a new one.
    let fresh = file.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut options = OpenOptions::new();
    let mut handle =
        options.write(true).create_new(true).mode(0o644).open(&fresh).map_err(|error| failed(&error))?;
    handle
        .write_all(word.as_bytes())
        .and_then(|()| fs::set_permissions(&fresh, Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&fresh, file))
        .map_err(|error| failed(&error))
}

fn read_status(status: &Path) -> Outcome<String> {
    fs::read_to_string(status).map_err(|error| {
        Failure::new(Exit::Input, format!("cannot read {}: {error}", status.display()))
            .next("has the daemon run with this configuration?")
    })
}

fn state(status: &str) -> String {
    status.lines().next().unwrap_or("off").to_owned()
}

fn wait_for(status: &Path, found: impl Fn(&str) -> Option<String>) -> Outcome<Option<String>> {
    let until = Instant::now() + NOTICE;
    while Instant::now() < until {
        if let Some(found) = fs::read_to_string(status).ok().and_then(|text| found(&text)) {
            return Ok(Some(found));
        }
        std::thread::sleep(NAP);
    }
    Ok(None)
}
