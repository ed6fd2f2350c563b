# SPDX-License-Identifier: Apache-2.0
"""What a device refuses, and with which error (PROTOCOL.md, updates and errors).

The command line would not send most of this, so a plain controller of the base protocol does.
The images are small, for nothing of them is ever run.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import bus
import pytest
from bus import ABORT, ACTIVATE, INVALID, QUERY, REJECT, STATUS, VERIFY, Bus
from images import Images, Policy, make_key
from machine import Machine
from rekindle import DONE, REFUSED, Rekindle

# Constraints and reasons, by PROTOCOL.md's numbers.
TOO_LOW, IMAGE_TOO_LARGE, DOWNGRADE, HASH_MISMATCH, HEADER_INVALID = 1, 11, 13, 14, 15
UNSAFE_STATE = 5
IDLE = (STATUS, {0: 0})

VENDOR = uuid.uuid5(uuid.NAMESPACE_DNS, "example.com")
CLASS = uuid.uuid5(VENDOR, "heater")


@pytest.fixture
def device(machine: Machine, images: Images):
    """A device that names its target and takes nothing older than 1.0.0, and its bus."""
    policy = Policy(vendor=VENDOR.bytes, class_id=CLASS.bytes, refuse_downgrade=True)
    machine.provision(images.make("1.0.0", policy=policy))
    machine.power_on()
    address = machine.wait_console(r"appliance: address ([0-9a-f]{16})")[1]
    with Bus(machine.port, address) as link:
        machine.shell("appliance state", r"\bidle\b")
        yield link


def refused(link: Bus, image: bytes, constraint: int, digest: bytes | None = None) -> None:
    """The image arrives, and VERIFY refuses it for good: nothing is left to be activated."""
    link.upload(image, digest)
    assert link.ask(VERIFY) == (INVALID, {0: 1, 2: constraint})
    assert link.ask(QUERY) == IDLE
    assert link.ask(ACTIVATE, {0: 0})[0] == REJECT


def test_images_are_refused_with_their_reason(
    machine: Machine, images: Images, device: Bus, tmp_path: Path
):
    right = ("--vid", "example.com", "--cid", "heater")
    good = images.small("1.0.1", *right)

    # The right one for comparison: as far as VERIFIED, and taken back.
    device.upload(good)
    assert device.ask(VERIFY) == (STATUS, {0: 3, 1: len(good), 2: [1, 0, 1, 0]})
    assert device.ask(ABORT) == IDLE

    # Another product's, of another vendor or class, or of one that names neither.
    refused(device, images.small("1.0.1", "--vid", "example.org", "--cid", "heater"), HEADER_INVALID)
    refused(device, images.small("1.0.1", "--vid", "example.com", "--cid", "pump"), HEADER_INVALID)
    refused(device, images.small("1.0.1", "--vid", "example.com"), HEADER_INVALID)
    refused(device, images.small("1.0.1"), HEADER_INVALID)

    # Older than what runs; the same version is not.
    refused(device, images.small("0.9.9", *right), DOWNGRADE)
    device.upload(images.small("1.0.0+7", *right))
    assert device.ask(VERIFY)[0] == STATUS
    assert device.ask(ABORT) == IDLE

    # Cut short, or followed by anything, such as imgtool's padding with a boot request in it.
    refused(device, good[:-1], HEADER_INVALID)
    refused(device, good[:200], HEADER_INVALID)
    refused(device, good + b"\xff" * 64, HEADER_INVALID)

    # Its bytes are not those that START announced; or MCUboot's own hash is not theirs.
    refused(device, good, HASH_MISMATCH, digest=b"\x5a" * 32)
    flipped = bytearray(good)
    flipped[images.build.header_size + 100] ^= 1
    refused(device, bytes(flipped), HASH_MISMATCH)
    # Not even an image.
    refused(device, b"\0" * 4096, HEADER_INVALID)

    # None of it was ever handed to MCUboot.
    machine.power_off()
    machine.power_on()
    machine.wait_console(r"Swap type: none")
    machine.wait_console(r"appliance: address")


def test_sizes_are_refused_before_anything_is_erased(machine: Machine, images: Images, device: Bus):
    slot = machine.build.partitions["slot1"].size
    before = machine.read_flash("slot1")
    padded = images.small("1.0.1", "--pad", "--confirm")
    assert len(padded) == slot
    assert device.start(padded) == (INVALID, {0: 1, 1: 0, 2: IMAGE_TOO_LARGE})
    # Trailer and spare sector are not an image's: two sectors less is the most there is.
    assert device.start(bytes(slot - 2 * 4096 + 1)) == (INVALID, {0: 1, 1: 0, 2: IMAGE_TOO_LARGE})
    assert device.start(bytes(31)) == (INVALID, {0: 1, 1: 0, 2: TOO_LOW})
    assert device.ask(QUERY) == IDLE
    assert machine.read_flash("slot1") == before
    assert device.start(bytes(slot - 2 * 4096)) == (STATUS, {0: 1, 1: 0})
    assert device.ask(ABORT) == IDLE


def test_an_unsafe_state_refuses_everything_and_is_over_once_idle(
    machine: Machine, images: Images, rekindle: Rekindle
):
    image = images.make("1.0.0")
    machine.shell("appliance state heating", r"appliance: HEATING from the console")
    slot1 = machine.read_flash("slot1")
    result = rekindle.push(image)
    assert result.exit_code == REFUSED, result
    assert "state 5" in result.stderr
    assert machine.read_flash("slot1") == slot1
    with Bus(machine.port, rekindle.address) as link:
        small = images.small("1.0.0")
        assert link.start(small) == (REJECT, {0: 5, 1: UNSAFE_STATE})
        # It cools down, and that is no time for an update either.
        link.send(bus.STATE_COMMAND, {0: bus.IDLE})
        machine.wait_console(r"command, mode 0")
        assert link.start(small) == (REJECT, {0: 6, 1: UNSAFE_STATE})
        machine.shell("appliance state", r"\bidle\b")
        assert link.start(small) == (STATUS, {0: 1, 1: 0})
        assert link.ask(ABORT) == IDLE
    done = rekindle.push(image)
    assert done.exit_code == DONE, done
    assert done.done["completion"] == "confirmed"
