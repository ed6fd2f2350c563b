// SPDX-License-Identifier: Apache-2.0
//! The same measurement with a controller in between: how fast its downstream link is.

use super::Setup;
use crate::bootloader::SwapMode;
use crate::flash::Geometry;
use crate::image::Recipe;
use crate::relay_world::{Broken, Fate, Kit, Made, Scenario, Transfer, World};
use rekindle_relay::Keys;

/// What was measured behind a controller.
#[derive(Clone, Debug)]
pub struct ControllerRate {
    /// For each appliance, bytes of the image per second, from the first DATA on its bus to the last acknowledgement.
    pub bytes_per_second: Vec<f64>,
    /// Share of the time in which more than one bus carried the image, 0 to 1, of the time in which any did.
    pub parallel: f64,
}

/// Brings the image of [`Setup::full_duplex`] over a link like that one to one appliance on each of `links` buses,
/// 1 or 2, in one campaign. The controller stands still for `read_ms` milliseconds at each read of its store.
///
/// # Errors
/// A [`Broken`] invariant.
pub fn through_controller(links: usize, read_ms: u64) -> Result<ControllerRate, Broken> {
    let direct = Setup::full_duplex().scenario;
    let image = direct.updates[0].image.clone();
    let kit = Kit {
        installed: Recipe::random((1, 0, 0, 0), 2_000, 1).build(),
        images: Vec::new(),
        last: Made { fate: Fate::Confirms, version: 2, bytes: image.clone() },
        keys: Keys::default(),
        all_keys: Keys::default(),
    };
    let scenario = Scenario {
        seed: direct.seed,
        appliances: [1, links.saturating_sub(1)],
        absent: 0,
        geometry: Geometry::rp2350(),
        mode: SwapMode::Offset,
        link: direct.link,
        campaigns: Vec::new(),
        cuts: Vec::new(),
        checkpoint: 16 * 1024,
        window: 24,
        read_ms,
        // The image is that of the direct push, without a signature.
        root: true,
        outages: Vec::new(),
        base: 0,
        pushes: false,
        plant: None,
    };
    let transfers = World::new(scenario, &kit).measure()?;
    let rate = |t: &Transfer| image.len() as f64 / (t.to_ms - t.from_ms) as f64 * 1000.0;
    let from = |pick: fn(u64, u64) -> u64| transfers.iter().map(|t| t.from_ms).reduce(pick).unwrap_or(0);
    let to = |pick: fn(u64, u64) -> u64| transfers.iter().map(|t| t.to_ms).reduce(pick).unwrap_or(0);
    let together = if links > 1 { to(u64::min).saturating_sub(from(u64::max)) } else { 0 };
    let parallel = together as f64 / (to(u64::max) - from(u64::min)) as f64;
    Ok(ControllerRate { bytes_per_second: transfers.iter().map(rate).collect(), parallel })
}
