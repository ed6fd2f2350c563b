# SPDX-License-Identifier: Apache-2.0
"""Options of Kconfig that no other build sets (tests/options/prj.conf), as a controller sees them."""

from __future__ import annotations

import time

import pytest
from bus import ABORT, ACTIVATE, DATA, PING, PING_RESPONSE, REJECT, STATUS, Bus
from images import Images
from machine import Machine
from rekindle import DONE, Rekindle

EXTENSION, MAGIC, INFO_REQUEST = 0x46, 0x524B4E44, 0
ACKS_COALESCED, ERASE_AT_START, SIGNATURE_CHECKED = 0x04, 0x08, 0x10
UPDATE_IN_PROGRESS = 4
ACTIVATED = 4
BROADCAST = "0000000000000000"


@pytest.fixture
def link(machine: Machine, rekindle: Rekindle):
    with Bus(machine.port, rekindle.address) as link:
        machine.shell("appliance state", r"\bidle\b")
        yield link


def test_what_it_announces(machine: Machine, link: Bus):
    link.send(EXTENSION, {0: MAGIC, 1: 1, 2: INFO_REQUEST})
    info = link.wait(EXTENSION)[1]
    assert info[4] == int(machine.build.config["CONFIG_REKINDLE_WINDOW"])
    assert info[7] & (ACKS_COALESCED | ERASE_AT_START | SIGNATURE_CHECKED) == (
        ACKS_COALESCED | ERASE_AT_START | SIGNATURE_CHECKED
    )


def test_on_a_bus_it_answers_to_its_own_address_alone(machine: Machine, link: Bus):
    link.send(PING)
    link.wait(PING_RESPONSE)
    link.close()
    with Bus(machine.port, BROADCAST) as everybody:
        everybody.send(PING)
        with pytest.raises(TimeoutError):
            everybody.wait(PING_RESPONSE, timeout=3)


def test_the_whole_slot_is_erased_at_start(machine: Machine, images: Images, link: Bus):
    image = images.small("1.0.0") * 6
    sector = 4096
    assert len(image) > 2 * sector
    link.upload(image)
    assert machine.read_flash("slot1")[sector : sector + len(image)] == image
    assert link.ask(ABORT) == (STATUS, {0: 0})
    assert link.start(images.small("1.0.1")) == (STATUS, {0: 1, 1: 0})
    assert not machine.read_flash("slot1").strip(b"\xff")


def test_an_idle_session_is_taken_over(machine: Machine, images: Images, link: Bus):
    idle = int(machine.build.config["CONFIG_REKINDLE_TAKEOVER_MS"]) / 1000
    first, second = images.small("1.0.0"), images.small("1.0.1")
    assert link.start(first) == (STATUS, {0: 1, 1: 0})
    assert link.ask(DATA, {0: 0, 1: first[:96]}) == (STATUS, {0: 1, 1: 96})
    assert link.start(second) == (REJECT, {0: 1, 1: UPDATE_IN_PROGRESS})
    # The device's clock may lag behind this machine's when that is busy.
    end = time.monotonic() + 60
    time.sleep(idle)
    while (answer := link.start(second)) != (STATUS, {0: 1, 1: 0}):
        assert answer == (REJECT, {0: 1, 1: UPDATE_IN_PROGRESS})
        assert time.monotonic() < end
        time.sleep(0.5)


def test_an_image_confirms_itself_with_nobody_listening(
    machine: Machine, images: Images, rekindle: Rekindle
):
    pushed = rekindle.push(images.make("1.0.0"), "--no-activate")
    assert pushed.exit_code == DONE, pushed
    since = machine.console_size()
    with Bus(machine.port, rekindle.address) as link:
        assert link.ask(ACTIVATE, {0: 0, 1: True})[1][0] == ACTIVATED
    machine.wait_console(r"Image version: v1\.0\.0", since)
    machine.wait_console(r"self-test: passed, confirmed", since)
    machine.power_off()
    machine.power_on()
    machine.wait_console(r"Swap type: none")
    machine.wait_console(r"appliance: address .*, confirmed")
