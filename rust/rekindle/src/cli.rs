// SPDX-License-Identifier: Apache-2.0
//! The command line.

use core::convert::Infallible;
use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use data_encoding::HEXLOWER_PERMISSIVE;
use fusain::Address;
use mcuboot_image::{Dependency, ImageVersion};
use rekindle_client::listen::Listen;
use rekindle_client::target::{Target, TargetError};

use crate::exit::{EXIT_CODES_HELP, Outcome};

/// Signs firmware images and carries them into running devices, through cut cables and power cuts.
#[derive(Debug, Parser)]
#[command(name = "rekindle", version, after_help = EXIT_CODES_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    /// Print JSON, one object per line, instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Certificates (PEM) that a tls:// or wss:// target's must come from, instead of those the system trusts
    #[arg(long, global = true, value_name = "FILE", env = "REKINDLE_CA", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,
    /// Certificate (PEM) to show to a tls:// or wss:// target that asks for one
    #[arg(long, global = true, value_name = "FILE", env = "REKINDLE_TLS_CERT", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key (PEM) of that certificate
    #[arg(long, global = true, value_name = "FILE", env = "REKINDLE_TLS_KEY", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the devices that answer behind a target
    Discover(Discover),
    /// Make a key pair to sign images with
    GenerateKeypair(GenerateKeypair),
    /// Sign a raw application binary, as imgtool does
    Sign(Box<Sign>),
    /// Check that an image is whole and signed by a key
    Verify(Verify),
    /// Show what is in an image
    Inspect(Inspect),
    /// Carry an image into a device, activate it and say what became of it
    Push(Push),
    /// Activate an image that a device has received and verified
    Activate(Activate),
    /// Show what a device runs and how far an update is
    Status(Device),
    /// Give up the update in progress on a device
    Abort(Device),
    /// List the devices behind a controller: version, stage, last outcome
    Devices(Devices),
    /// The image on a controller, and how far it has been brought
    #[command(subcommand)]
    Campaign(Campaign),
    /// Run a controller: take images, judge them, and bring them to the devices on its buses
    #[cfg(unix)]
    Relay(Relay),
    /// Decode captured bytes from standard input: one line per packet or framing error
    Decode(Decode),
    /// Run a virtual device
    #[command(subcommand)]
    Simulate(Simulate),
    /// Watch an update survive a power cut, and a bad one be reverted
    Demo(Demo),
}

#[derive(Debug, Args)]
pub(crate) struct Discover {
    /// Where to look, for example serial:///dev/ttyACM0?baud=115200, tcp://host:4850 or ws://host/fusain
    #[arg(long, value_name = "URL")]
    pub(crate) to: TargetUrl,
    /// How long to wait for answers, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) wait: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KeyKind {
    /// ECDSA on NIST P-256, MCUboot's usual choice
    EcdsaP256,
    /// Ed25519
    Ed25519,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateKeypair {
    /// Algorithm
    #[arg(long = "type", value_enum)]
    pub(crate) kind: KeyKind,
    /// File for the private key; the public key goes beside it as FILE with `.pub.pem`. Never overwritten
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// Raw application binary, such as Zephyr's zephyr.bin
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Private key (PEM); the password of an encrypted one comes from REKINDLE_KEY_PASSWORD or a prompt
    #[arg(long, value_name = "KEY")]
    pub(crate) key: PathBuf,
    /// File for the signed image
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Version, as 1.2.3 or 1.2.3+4
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: ImageVersion,
    /// Bytes before the application: CONFIG_ROM_START_OFFSET of the build
    #[arg(long, value_name = "BYTES", default_value = "0x200", value_parser = number)]
    pub(crate) header_size: u32,
    /// Put the header before the binary, which has no room for it (Zephyr's has)
    #[arg(long)]
    pub(crate) pad_header: bool,
    /// Size of the slot, in bytes: an image that does not fit is refused
    #[arg(long, value_name = "BYTES", value_parser = number)]
    pub(crate) slot_size: Option<u32>,
    /// Write block of the flash, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 4)]
    pub(crate) align: u8,
    /// Sectors the bootloader keeps a swap status for, which decides how much of the slot its trailer takes
    #[arg(long, value_name = "NUMBER", default_value_t = 128)]
    pub(crate) max_sectors: u32,
    /// The bootloader overwrites instead of swapping: a smaller trailer, and no way back
    #[arg(long)]
    pub(crate) overwrite_only: bool,
    /// Security counter against downgrades: a number, or `auto` to derive it from the version
    #[arg(long, value_name = "NUMBER")]
    pub(crate) security_counter: Option<String>,
    /// Vendor, a domain name or a UUID: a device that has one configured refuses others
    #[arg(long, value_name = "VENDOR", alias = "vid")]
    pub(crate) vendor: Option<String>,
    /// Device class, a name or a UUID: a device that has one configured refuses others
    #[arg(long, value_name = "CLASS", alias = "cid")]
    pub(crate) class: Option<String>,
    /// Another image that must be there, at this version or later, as 1=2.0.0; may be repeated
    #[arg(long = "dependency", value_name = "IMAGE=VERSION", value_parser = dependency)]
    pub(crate) dependencies: Vec<Dependency>,
    /// A protected TLV of your own, as TYPE=HEX, such as 0x00a0=c0ffee; may be repeated
    #[arg(long = "custom-tlv", value_name = "TYPE=HEX", value_parser = custom_tlv)]
    pub(crate) custom: Vec<CustomTlv>,
}

/// A TLV as it stands on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CustomTlv {
    pub(crate) kind: u16,
    pub(crate) value: Vec<u8>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Signed image
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Key, public or private (PEM)
    #[arg(long, value_name = "KEY")]
    pub(crate) key: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Signed image
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// A target as it stands on the command line. It is read later: clap would repeat a URL that is wrong, and what is
/// wrong with it may be the password in it.
#[derive(Clone, Debug)]
pub(crate) struct TargetUrl(Result<Target, TargetError>);

impl TargetUrl {
    pub(crate) fn target(&self) -> Outcome<&Target> {
        self.0.as_ref().map_err(|error| error.clone().into())
    }
}

impl FromStr for TargetUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.parse()))
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(target) => target.fmt(f),
            Err(error) => error.fmt(f),
        }
    }
}

/// A device and the way to it.
#[derive(Debug, Args)]
pub(crate) struct Device {
    /// Where to connect, for example serial:///dev/ttyACM0?baud=115200, tcp://host:4850 or ws://host/fusain
    #[arg(long, value_name = "URL")]
    pub(crate) to: TargetUrl,
    /// Address of the device, as `discover` shows it
    #[arg(long, value_name = "ADDRESS", value_parser = device_address)]
    pub(crate) address: Address,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BootMode {
    /// Boot it once; unless it confirms itself, the next boot goes back to the old image
    Test,
    /// Boot it for good; there is no way back if it does not work
    Permanent,
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Signed image
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where to connect, for example serial:///dev/ttyACM0?baud=115200, tcp://host:4850 or ws://host/fusain
    #[arg(long, value_name = "URL")]
    pub(crate) to: TargetUrl,
    /// Address of the device, as `discover` shows it; several where a controller is at the other end
    #[arg(long, value_name = "ADDRESS", value_parser = device_address, required_unless_present = "all")]
    pub(crate) address: Vec<Address>,
    /// Every device that the controller knows
    #[arg(long, conflicts_with = "address")]
    pub(crate) all: bool,
    /// Send nothing unless this key signed the image (public or private, PEM)
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<PathBuf>,
    /// How to boot it
    #[arg(long, value_enum, default_value_t = BootMode::Test)]
    pub(crate) mode: BootMode,
    /// Stop when the image is verified; `activate` boots it later. For a single device
    #[arg(long)]
    pub(crate) no_activate: bool,
    /// Chunks in flight at most; the device may announce fewer
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) window: u8,
    /// Bytes per chunk at most; the device may announce fewer
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) chunk: u8,
    /// How long a lost connection is tried again, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) patience: u32,
    /// Answer questions with yes
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Activate {
    #[command(flatten)]
    pub(crate) device: Device,
    /// How to boot it
    #[arg(long, value_enum, default_value_t = BootMode::Test)]
    pub(crate) mode: BootMode,
    /// Boot it at the next reset, whenever that is, instead of now
    #[arg(long)]
    pub(crate) no_reboot: bool,
    /// Answer questions with yes
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Decode {
    /// Standard input is text: hexadecimal digits, with any white space between bytes
    #[arg(long)]
    pub(crate) hex: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Devices {
    /// The controller, for example tcp://host:4850, tls://host or ws://host/fusain
    #[arg(long, value_name = "URL")]
    pub(crate) to: TargetUrl,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Campaign {
    /// Show the image, and each device's stage
    Show(Devices),
    /// Take the update of one device back, or all of them. What is activated already cannot be
    Cancel(CampaignCancel),
}

#[derive(Debug, Args)]
pub(crate) struct CampaignCancel {
    /// The controller
    #[arg(long, value_name = "URL")]
    pub(crate) to: TargetUrl,
    /// The device
    #[arg(long, value_name = "ADDRESS", value_parser = device_address, required_unless_present = "all")]
    pub(crate) address: Option<Address>,
    /// Every device
    #[arg(long, conflicts_with = "address")]
    pub(crate) all: bool,
}

#[cfg(unix)]
#[derive(Debug, Args)]
pub(crate) struct Relay {
    /// Configuration; docs/relay.toml is an example
    #[arg(long, global = true, value_name = "FILE", default_value = rekindle_router::config::PATH_DEFAULT)]
    pub(crate) config: PathBuf,
    /// What goes into the log, on standard error
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Info)]
    pub(crate) log_level: LogLevel,
    #[command(subcommand)]
    pub(crate) action: Option<RelayAction>,
}

#[cfg(unix)]
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

#[cfg(unix)]
#[derive(Debug, Subcommand)]
pub(crate) enum RelayAction {
    /// Read the configuration and every file it names, and say what is wrong
    Check,
    /// Print what is on record about root mode: changes, and images that went out unsigned
    Audit,
    /// Switch root mode of the controller that runs on this machine. For its administrator
    RootMode(RelayRootMode),
}

#[cfg(unix)]
#[derive(Debug, Args)]
pub(crate) struct RelayRootMode {
    /// What to do
    #[arg(value_enum)]
    pub(crate) wish: RootModeWish,
    /// Confirm without being asked
    #[arg(long)]
    pub(crate) yes: bool,
}

#[cfg(unix)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RootModeWish {
    /// Say how it is
    Show,
    /// Let images without a trusted signature pass
    Enable,
    /// Ask for signatures again
    Disable,
    /// Let older images pass, too, while root mode is on
    AllowDowngrade,
    /// Refuse older images again
    ForbidDowngrade,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Simulate {
    /// A device whose flash is a file: it survives being killed at any moment
    Appliance(SimulateAppliance),
    /// Several devices on one bus, as a controller has them
    Bus(SimulateBus),
}

/// Address of a virtual device that is given none.
pub(crate) const VIRTUAL_ADDRESS: &str = "00000000feed0001";

#[derive(Debug, Args)]
pub(crate) struct SimulateAppliance {
    /// Where to listen: tcp://127.0.0.1:4850, ws://127.0.0.1:8080, unix:///path, pty: or pty:/path/to/link;
    /// port 0 takes any free one
    #[arg(long, value_name = "URL")]
    pub(crate) listen: Listen,
    /// The flash; made when it does not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) flash: PathBuf,
    /// Image that a new flash runs
    #[arg(long, value_name = "FILE")]
    pub(crate) install: Option<PathBuf>,
    /// Public key that the bootloader trusts (PEM); without one it boots any whole image
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<PathBuf>,
    /// Check the signature at VERIFY as well, before the bootloader does
    #[arg(long, requires = "key")]
    pub(crate) check_signature: bool,
    /// Address of the device
    #[arg(long, value_name = "ADDRESS", value_parser = device_address, default_value = VIRTUAL_ADDRESS)]
    pub(crate) address: Address,
    /// Milliseconds that erasing a sector takes
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) erase_ms: u32,
    /// Bytes per second that the link carries; 0 for as many as it can
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) link_rate: u32,
}

#[derive(Debug, Args)]
pub(crate) struct SimulateBus {
    /// Where to listen: tcp://127.0.0.1:4860, unix:///path, pty: or pty:/path/to/link; port 0 takes any free one
    #[arg(long, value_name = "URL")]
    pub(crate) listen: Listen,
    /// Folder for the flashes, one file for each device; made when it does not exist
    #[arg(long, value_name = "FOLDER")]
    pub(crate) flash: PathBuf,
    /// Address of a device; once for each
    #[arg(long, value_name = "ADDRESS", value_parser = device_address, required = true)]
    pub(crate) address: Vec<Address>,
    /// Image that a new flash runs
    #[arg(long, value_name = "FILE")]
    pub(crate) install: Option<PathBuf>,
    /// Public key that the bootloaders trust (PEM); without one they boot any whole image
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<PathBuf>,
    /// Address of a device whose self-test fails, whatever image it tries
    #[arg(long, value_name = "ADDRESS", value_parser = device_address)]
    pub(crate) broken: Vec<Address>,
    /// Milliseconds that erasing a sector takes
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) erase_ms: u32,
    /// Bytes per second that the bus carries; 0 for as many as it can
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) link_rate: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Folder for keys, images and flash; a temporary one, removed at the end, when left out
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,
    /// Seed of the images' content
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// A number, decimal or with 0x.
pub(crate) fn number(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "expected a number of at most 32 bits, decimal or with 0x".to_owned())
}

fn dependency(text: &str) -> Result<Dependency, String> {
    let (image, version) = text.split_once('=').ok_or("expected IMAGE=VERSION, such as 1=2.0.0")?;
    let image = image.parse().map_err(|_| format!("image {image}: a number up to 255"))?;
    let min_version = version.parse().map_err(|error| format!("version {version}: {error}"))?;
    Ok(Dependency { image, min_version })
}

fn custom_tlv(text: &str) -> Result<CustomTlv, String> {
    let (kind, value) = text.split_once('=').ok_or("expected TYPE=HEX, such as 0x00a0=c0ffee")?;
    let kind = number(kind).ok().and_then(|kind| u16::try_from(kind).ok());
    let kind = kind.ok_or("the type is a number of at most 16 bits, decimal or with 0x")?;
    let value = HEXLOWER_PERMISSIVE.decode(value.as_bytes()).map_err(|error| format!("value: {error}"))?;
    Ok(CustomTlv { kind, value })
}

fn device_address(text: &str) -> Result<Address, String> {
    let address: Address = text.parse().map_err(|error| format!("{error}"))?;
    if address.is_device() {
        Ok(address)
    } else {
        Err("this address means everybody, or the router itself; an update goes to one device".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn numbers_are_read_or_refused() {
        assert_eq!(number("0x200"), Ok(512));
        assert_eq!(number("7"), Ok(7));
        assert!(number("-1").is_err() && number("0x100000000").is_err() && number("").is_err());
    }

    #[test]
    fn what_images_need_and_carry_is_read_or_refused() {
        let needed = dependency("1=2.0.3").map(|needed| (needed.image, needed.min_version.to_string()));
        assert_eq!(needed, Ok((1, "2.0.3".to_owned())));
        for wrong in ["", "1", "256=1.0.0", "1=", "1=x"] {
            assert!(dependency(wrong).is_err(), "{wrong}");
        }
        let read = custom_tlv("0x00a0=C0ffee");
        assert_eq!(read, Ok(CustomTlv { kind: 0xa0, value: vec![0xc0, 0xff, 0xee] }));
        for wrong in ["", "160", "0x10000=00", "0xa0=0", "0xa0=zz"] {
            assert!(custom_tlv(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_update_goes_to_one_device() {
        assert!(device_address("0").is_err());
        assert!(device_address("ffffffffffffffff").is_err());
        assert!(device_address("feed0001").is_ok());
    }
}
