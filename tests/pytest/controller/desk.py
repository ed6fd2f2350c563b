# SPDX-License-Identifier: Apache-2.0
"""What somebody at a desk asks of a controller and the appliances behind it, and looks up on them."""

from __future__ import annotations

from pathlib import Path

from machine import Machine
from network import Controller
from rekindle import DONE, REFUSED, Rekindle, Result
from wire import Wire

# OTA_START, as a frame to an appliance begins.
START = bytes([0x82, 0x18, 0x40])
ROOT_MARK = b"root button held"
# What the appliances on the bus are (tests/controller/prj.conf).
PRODUCT = ("--vid", "example.com", "--cid", "heater")


def address_of(machine: Machine) -> str:
    return machine.wait_console(r"address (\w+), boot")[1]


def push(rekindle: Rekindle, image: Path, address: str, *options: str) -> Result:
    return rekindle.run("push", image, "--to", rekindle.url, "--address", address, *options)


def status(rekindle: Rekindle, address: str) -> dict:
    result = rekindle.run("status", "--to", rekindle.url, "--address", address)
    assert result.exit_code == DONE, result
    return result.done


def runs(machine: Machine, image: Path) -> bool:
    content = image.read_bytes()
    return machine.read_flash("slot0")[: len(content)] == content


def starts(wire: Wire) -> int:
    return sum(sent.startswith(START) for sent in wire.sent)


def refusal(result: Result) -> tuple[str, str]:
    """The command that an image was refused at, and why."""
    assert result.exit_code == REFUSED, result
    refused = next(event for event in result.events if event["event"] == "refused")
    return refused["command"], refused["reason"]


def turn_root_mode_on(controller: Controller) -> None:
    """Boots the controller with the button held, and confirms."""
    controller.power_off()
    controller.write_flash_end("boot", ROOT_MARK)
    controller.power_on()
    controller.wait_ready()
    controller.shell("controller root confirm", r"on record: RootEnabled")
    controller.shell("controller status", r"root mode: ON")
