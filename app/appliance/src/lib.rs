// SPDX-License-Identifier: Apache-2.0

//! An appliance that can be updated over its link.

#![no_std]

use rekindle_zephyr::{boot, flash, flash::Area, link::Link, system};
use zephyr::printkln;

/// Takes an image as raw bytes: `S`, then the size (u32, little-endian), then the bytes.
fn receive(link: &mut Link) -> Result<(), rekindle_zephyr::Errno> {
    let staging = flash::staging()?;
    let geometry = Area::Secondary.geometry()?;
    printkln!("{:?} {:?}", staging, geometry);

    let mut head = [0; 5];
    take(link, &mut head);
    let size = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    Area::Secondary.erase(0, geometry.size)?;
    let mut at = 0;
    while at < size {
        let mut chunk = [0xff; 96];
        let len = (size - at).min(96);
        take(link, &mut chunk[..len as usize]);
        Area::Secondary.write(staging.image_offset + at, &chunk)?;
        at += len;
        link.write(b".", None)?;
    }
    boot::request_upgrade(false)?;
    link.write(b"R", None)?;
    link.drain(Some(1000))?;
    printkln!("received {} bytes, {} overruns", size, link.overruns());
    system::sleep_ms(250);
    system::reboot()
}

fn take(link: &mut Link, mut out: &mut [u8]) {
    while !out.is_empty() {
        let n = link.read(out, None).len();
        out = &mut out[n..];
    }
}

#[unsafe(no_mangle)]
extern "C" fn rust_main() {
    printkln!(
        "appliance: confirmed {}, swap type {}, reset cause {:#x}",
        boot::is_confirmed(),
        boot::swap_type(),
        system::reset_cause()
    );
    let mut link = match Link::open() {
        Ok(link) => link,
        Err(error) => {
            printkln!("appliance: no link: {}", error);
            return;
        }
    };
    if let Err(error) = receive(&mut link) {
        printkln!("appliance: {}", error);
    }
}
