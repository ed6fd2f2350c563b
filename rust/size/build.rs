// SPDX-License-Identifier: Apache-2.0
//! Gives the linker the memory map of the machine.

use std::env::var;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (arch, out) = (var("CARGO_CFG_TARGET_ARCH")?, PathBuf::from(var("OUT_DIR")?));
    let map = format!("{}/memory/{arch}.x", var("CARGO_MANIFEST_DIR")?);
    println!("cargo:rerun-if-changed={map}");
    // The runtime's linker script includes a map of this name.
    std::fs::copy(&map, out.join("memory.x"))?;
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    Ok(())
}
