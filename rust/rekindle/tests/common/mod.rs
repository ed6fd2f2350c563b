// SPDX-License-Identifier: Apache-2.0
//! What the tests of the command line share: run it, read what it says, keep a virtual device.

use core::time::Duration;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rekindle_sim::rng::Rng;
use serde_json::Value;

/// Address of the virtual device.
pub const ADDRESS: &str = "feed0001";

/// The program under test. Credentials of whoever runs the tests stay out.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    for name in ["REKINDLE_USER", "REKINDLE_PASSWORD", "FUSAIN_PASSWORD", "REKINDLE_KEY_PASSWORD"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Sends a signal, `INT` or `TERM`, by what every shell has of its own: a program `kill` is not on every machine.
pub fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The lines on standard output as JSON.
    pub fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// The last line on standard output as JSON.
    pub fn last(&self) -> Value {
        self.json().pop().unwrap_or_else(|| panic!("nothing on standard output: {self:?}"))
    }

    /// Asserts the exit code, and that the message holds a text.
    #[track_caller]
    pub fn says(&self, code: i32, text: &str) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        let all = format!("{}{}", self.stdout, self.stderr);
        assert!(all.contains(text), "`{text}` is not in {self:?}");
        self
    }
}

/// Runs the program with these arguments.
pub fn run(args: &[&str]) -> Ran {
    run_with_input(args, b"")
}

/// Runs the program with something on standard input.
pub fn run_with_input(args: &[&str], input: &[u8]) -> Ran {
    let mut child = program().args(args).stdin(Stdio::piped()).spawn().unwrap();
    // The program may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with a key pair and images signed with it.
pub struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        run(&["generate-keypair", "--type", "ecdsa-p256", "--output", &desk.path("key.pem")]).says(0, "");
        desk
    }

    /// Path of a file in the folder.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and gives its path.
    pub fn write(&self, name: &str, content: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// An image of `size` seeded bytes of application, signed with the desk's key; gives its path.
    pub fn image(&self, version: &str, size: usize, text: &str) -> String {
        let mut body = vec![0; size];
        Rng::new(7).fork(version.bytes().map(u64::from).sum()).fill(&mut body);
        body[..text.len()].copy_from_slice(text.as_bytes());
        let binary = self.write(&format!("{version}.bin"), &body);
        let (key, image) = (self.path("key.pem"), self.path(&format!("{version}.img")));
        run(&["sign", &binary, "--key", &key, "--output", &image, "--version", version, "--pad-header"])
            .says(0, "");
        image
    }
}

/// A virtual device in a process of its own.
pub struct Device {
    args: Vec<String>,
    pub flash: PathBuf,
    pub target: String,
    child: Option<Child>,
}

impl Device {
    /// Gives a new device power.
    pub fn start(listen: &str, flash: &str, install: &str, more: &[&str]) -> Self {
        let args =
            ["--flash", flash, "--install", install].iter().chain(more).map(|a| (*a).to_owned()).collect();
        let mut device = Self { args, flash: PathBuf::from(flash), target: listen.to_owned(), child: None };
        device.power_on();
        device
    }

    /// Starts the process at the address it had before, and waits until it listens.
    pub fn power_on(&mut self) {
        let listen = self.target.replace("serial://", "pty:");
        let listen = listen.split('?').next().unwrap().to_owned();
        let mut command = program();
        command.args(["--json", "simulate", "appliance", "--listen", &listen]).args(&self.args);
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(event["event"], "listening");
        // The sender keeps to a serial line's rate; a pseudo-terminal has none, and tests have no time.
        self.target = event["target"].as_str().unwrap().replace("baud=115200", "baud=4000000");
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        self.child = Some(child);
    }

    /// SIGKILL.
    pub fn power_off(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// `command --to TARGET --address ADDRESS` and more, as JSON.
    pub fn ask(&self, command: &[&str]) -> Ran {
        let mut args = vec!["--json"];
        args.extend(command);
        args.extend(["--to", self.target.as_str(), "--address", ADDRESS]);
        run(&args)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// Waits for something to become true.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What stands in an image file.
pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
