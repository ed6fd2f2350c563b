// SPDX-License-Identifier: Apache-2.0
//! A controller and buses with virtual devices, each in a process of its own.

use core::time::Duration;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::common::{Desk, Ran, eventually, program, run, signal};

/// A process that says where it listens, and can be killed and started again there.
pub struct Process {
    args: Vec<String>,
    pub target: String,
    child: Option<Child>,
}

impl Process {
    pub fn start(args: &[&str], listen: &str) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut process = Self { args, target: listen.to_owned(), child: None };
        process.power_on();
        process
    }

    /// Starts it, and waits until it listens.
    pub fn power_on(&mut self) {
        let mut command = program();
        command.arg("--json").args(self.args.iter().map(|arg| arg.replace("LISTEN", &self.target)));
        let log = std::env::var_os("REKINDLE_TEST_LOG").map_or_else(Stdio::null, |_| Stdio::inherit());
        let mut child = command.stderr(log).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let event: Value =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}: {:?}", self.args));
        assert_eq!(event["event"], "listening", "{event}");
        self.target = event["target"].as_str().unwrap().to_owned();
        // Whoever writes into a pipe that nobody reads stops.
        std::thread::spawn(move || reader.lines().for_each(drop));
        self.child = Some(child);
    }

    /// SIGKILL.
    pub fn power_off(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM; gives the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        signal(&child, "TERM");
        child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// A bus with these devices, which run `installed` and trust the desk's key.
pub fn bus(desk: &Desk, name: &str, addresses: &[&str], installed: &str, more: &[&str]) -> Process {
    let (flash, key) = (desk.path(name), desk.path("key.pub.pem"));
    let mut args = vec![
        "simulate",
        "bus",
        "--listen",
        "LISTEN",
        "--flash",
        &flash,
        "--install",
        installed,
        "--key",
        &key,
    ];
    addresses.iter().for_each(|address| args.extend(["--address", address]));
    Process::start(&[&args, more].concat(), "tcp://127.0.0.1:0")
}

/// A controller on these buses; `more` goes into its configuration.
pub fn relay(desk: &Desk, buses: &[&Process], more: &str) -> Process {
    let mut text = format!(
        "store = \"store\"\nroot-mode-file = \"root-mode\"\n[[key]]\nfile = \"key.pub.pem\"\n\
         [[listen]]\nurl = \"tcp://127.0.0.1:{}\"\n",
        free_port()
    );
    for (number, bus) in buses.iter().enumerate() {
        text += &format!("[[link]]\nname = \"bus{number}\"\nurl = \"{}\"\n", bus.target);
    }
    let config = desk.write("relay.toml", (text + more).as_bytes());
    Process::start(&["relay", "--config", &config, "--log-level", "debug"], "")
}

/// A port that is free now; a controller must find the same one after it was killed.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `command --to CONTROLLER`, as JSON.
pub fn ask(relay: &Process, command: &[&str]) -> Ran {
    run(&[&["--json"], command, &["--to", &relay.target]].concat())
}

/// Waits until the controller knows what so many devices run.
#[track_caller]
pub fn await_devices(relay: &Process, count: usize) {
    eventually("the devices are there", || {
        let ran = ask(relay, &["devices"]);
        ran.code == Some(0) && ran.json().iter().filter(|line| line["version"].is_string()).count() >= count
    });
    std::thread::sleep(Duration::from_millis(1));
}
