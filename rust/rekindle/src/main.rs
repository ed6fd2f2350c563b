// SPDX-License-Identifier: Apache-2.0
//! The Rekindle command line: signs images and carries them into devices.
#![cfg_attr(test, allow(clippy::indexing_slicing, reason = "tests may panic"))]

mod cli;
mod command;
mod connect;
mod exit;
mod files;
mod interrupt;
mod message_json;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser as _;
use rekindle_client::credentials::TlsFiles;

use crate::cli::{Campaign, Cli, Command, Simulate};
use crate::exit::Outcome;
use crate::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    let identity = cli.tls_cert.zip(cli.tls_key);
    // Set once, before anything connects.
    let _ = connect::TLS_FILES.set(TlsFiles { ca: cli.ca, identity });
    match run(cli.command, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Programs read the reason from standard output, people from standard error.
            let _ = output.event(&failure.to_json());
            eprintln!("{failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(command: Command, output: Output) -> Outcome {
    match command {
        Command::Discover(args) => command::discover::run(&args, output),
        Command::GenerateKeypair(args) => command::keys::run(&args, output),
        Command::Sign(args) => command::sign::run(&args, output),
        Command::Verify(args) => command::inspect::verify(&args, output),
        Command::Inspect(args) => command::inspect::inspect(&args, output),
        Command::Push(args) => command::push::run(&args, output),
        Command::Activate(args) => command::push::activate(&args, output),
        Command::Status(device) => command::status::run(&device, output),
        Command::Abort(device) => command::status::abort(&device, output),
        Command::Devices(args) => command::devices::run(&args, output),
        Command::Campaign(Campaign::Show(args)) => command::devices::show(&args, output),
        Command::Campaign(Campaign::Cancel(args)) => command::devices::cancel(&args, output),
        #[cfg(unix)]
        Command::Relay(args) => command::relay::run(&args, output),
        Command::Decode(args) => command::decode::run(&args),
        Command::Simulate(Simulate::Appliance(args)) => command::simulate::run(&args, output),
        Command::Simulate(Simulate::Bus(args)) => command::simulate::run_bus(&args, output),
        Command::Demo(args) => command::demo::run(&args, output),
    }
}
