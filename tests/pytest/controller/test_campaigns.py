# SPDX-License-Identifier: Apache-2.0
"""One image for several appliances."""

from __future__ import annotations

import hashlib

from desk import address_of, runs, starts
from images import Images
from machine import Machine
from network import Controller
from rekindle import DONE, PARTIAL, REFUSED, Rekindle, Result
from wire import Wire


def devices(rekindle: Rekindle) -> dict[str, dict]:
    result = rekindle.run("devices", "--to", rekindle.url)
    return {event["address"]: event for event in result.events if event["event"] == "device"}


def campaign(rekindle: Rekindle, *command: str) -> dict:
    result = rekindle.run("campaign", *command, "--to", rekindle.url)
    assert result.exit_code == DONE, result
    return result.events[-1]


def outcomes(result: Result) -> dict[str, tuple]:
    summary = next(event for event in result.events if event["event"] == "summary")
    return {device["address"]: (device["outcome"], device["version"]) for device in summary["devices"]}


def test_a_campaign_brings_an_image_to_all(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller
):
    image = images.make("1.0.0")
    addresses = [address_of(machine) for machine in appliances]
    controller.shell("controller devices", r"devices: 2")
    assert {at: (one["here"], one["version"]) for at, one in devices(rekindle).items()} == {
        address: (True, "0.1.0") for address in addresses
    }
    result = rekindle.run("push", image, "--to", rekindle.url, "--all")
    assert result.exit_code == DONE, result
    assert outcomes(result) == {address: ("CONFIRMED", "1.0.0") for address in addresses}
    assert all(runs(machine, image) for machine in appliances)
    # It came to the controller once, and went to each appliance once.
    assert controller.console().count("store: received") == 1
    assert starts(wire) == 2
    shown = campaign(rekindle, "show")
    assert (shown["stored"], shown["open"], shown["appliances"]) == ("NONE", 0, 2)
    listed = devices(rekindle).values()
    assert {(one["stage"], one["outcome"], one["version"]) for one in listed} == {("SETTLED", "CONFIRMED", "1.0.0")}


def test_a_campaign_is_shown_and_taken_back(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller
):
    """One appliance is away: it keeps the image on the controller, and nobody from being done."""
    image = images.make("1.0.0")
    here, away = (address_of(machine) for machine in appliances)
    controller.shell("controller devices", r"devices: 2")
    appliances[1].power_off()
    running = rekindle.begin("push", image, "--to", rekindle.url, "--all")
    controller.wait_console(rf"{here}: CONFIRMED", timeout=180)
    shown = campaign(rekindle, "show")
    assert (shown["stored"], shown["open"], shown["version"]) == ("APPROVED", 1, "1.0.0")
    assert shown["digest"] == hashlib.sha256(image.read_bytes()).hexdigest()
    stages = {device["address"]: device["stage"] for device in shown["devices"]}
    assert stages[here] == "SETTLED" and stages[away] != "SETTLED", shown
    # There is one image at a time.
    assert rekindle.run("push", images.make("1.0.1"), "--to", rekindle.url, "--all").exit_code == REFUSED
    # Who is done has nothing to take back, and nobody else's goes with it.
    assert campaign(rekindle, "cancel", "--address", here)["open"] == 1
    assert campaign(rekindle, "cancel", "--address", away)["open"] == 0
    result = running.finish()
    assert result.exit_code == PARTIAL, result
    assert outcomes(result) == {here: ("CONFIRMED", "1.0.0"), away: ("CANCELLED", "0.1.0")}
    controller.shell("controller status", r"store: NONE, 0 of 0 bytes")
    # Whoever was away takes the next one.
    appliances[1].power_on()
    result = rekindle.run("push", image, "--to", rekindle.url, "--all")
    assert result.exit_code == DONE, result
    assert outcomes(result) == {here: ("ALREADY_RUNNING", "1.0.0"), away: ("CONFIRMED", "1.0.0")}
    assert runs(appliances[1], image)
