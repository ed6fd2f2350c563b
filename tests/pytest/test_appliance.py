# SPDX-License-Identifier: Apache-2.0
"""The appliance as a citizen of its bus, with an update on its way and without."""

from __future__ import annotations

import time

import bus
import pytest
from bus import QUERY, REJECT, STATE_DATA, STATUS, Bus
from cutting_gdb import Stub
from cutting_record import entry
from images import Images
from machine import Machine
from rekindle import DONE, Rekindle

UPDATE_IN_PROGRESS = 4
RECEIVING, ACTIVATED = 1, 4
IDLE, BLOWING, HEATING, E_STOP = 1, 2, 5, 8
STOPPED_BY_COMMAND = 7
REPORTS = (STATE_DATA, bus.MOTOR_DATA, bus.TEMP_DATA, bus.PUMP_DATA, bus.GLOW_DATA)


@pytest.fixture
def link(machine: Machine, rekindle: Rekindle):
    with Bus(machine.port, rekindle.address) as link:
        machine.shell("appliance state", r"\bidle\b")
        yield link


def wait_state(link: Bus, state: int) -> dict:
    for _ in range(200):
        _, fields = link.wait(STATE_DATA)
        if fields[2] == state:
            return fields
    raise AssertionError(f"state {state} was never reported")


def test_telemetry(link: Bus):
    link.send(bus.PING)
    _, first = link.wait(bus.PING_RESPONSE)
    # It is silent until it is asked to speak,
    link.send(bus.SEND_TELEMETRY, {0: 2, 1: 0})
    with pytest.raises(TimeoutError):
        link.wait(*REPORTS, timeout=2)
    # speaks of what it is asked for,
    link.send(bus.TELEMETRY_CONFIG, {0: True, 1: 0})
    for kind, report in enumerate(REPORTS):
        link.send(bus.SEND_TELEMETRY, {0: kind, 1: 0xFFFFFFFF})
        assert link.wait(*REPORTS)[0] == report
    link.send(bus.SEND_TELEMETRY, {0: 2, 1: 1})
    with pytest.raises(TimeoutError):
        link.wait(*REPORTS, timeout=2)
    # or of everything, again and again.
    link.send(bus.TELEMETRY_CONFIG, {0: True, 1: 200})
    link.send(bus.STATE_COMMAND, {0: bus.HEAT})
    assert wait_state(link, HEATING)[1] == 0
    assert link.wait(bus.MOTOR_DATA)[1][2] == 3000
    assert link.wait(bus.TEMP_DATA)[1][2] > 200
    assert link.wait(bus.PUMP_DATA)[1][3] == 500
    assert link.wait(bus.GLOW_DATA)[1][2] is False
    link.send(bus.STATE_COMMAND, {0: bus.IDLE})
    wait_state(link, IDLE)
    link.send(bus.PING)
    assert link.wait(bus.PING_RESPONSE)[1][0] > first[0]


def test_without_a_ping_it_becomes_idle_and_silent(machine: Machine, link: Bus):
    link.send(0x17, {0: True, 1: 5000})
    link.send(bus.TELEMETRY_CONFIG, {0: True, 1: 100})
    link.send(bus.PING)
    link.send(bus.STATE_COMMAND, {0: bus.FAN})
    wait_state(link, BLOWING)
    machine.wait_console(r"communication lost")
    machine.shell("appliance state", r"\bidle\b")
    with pytest.raises(TimeoutError):
        while True:
            link.wait(*REPORTS, timeout=2)


def test_an_update_keeps_the_heater_off(machine: Machine, link: Bus, images: Images):
    image = images.small("1.0.0")
    assert link.start(image) == (STATUS, {0: RECEIVING, 1: 0})
    link.send(bus.STATE_COMMAND, {0: bus.HEAT})
    assert link.wait(REJECT) == (REJECT, {0: IDLE, 1: UPDATE_IN_PROGRESS})
    kept = machine.read_flash("storage")
    machine.shell("appliance state heating", r"an update is on its way, so not HEATING")
    machine.shell("appliance state preheat", r"an update is on its way, so not PREHEAT")
    machine.shell("rekindle status", r"busy with an update")
    # It was not lit, so there is nothing to be kept either.
    time.sleep(0.5)
    assert machine.read_flash("storage") == kept
    # Without one it heats, and then no update begins.
    assert link.ask(bus.ABORT) == (STATUS, {0: 0})
    link.send(bus.TELEMETRY_CONFIG, {0: True, 1: 100})
    link.send(bus.STATE_COMMAND, {0: bus.HEAT})
    wait_state(link, HEATING)
    machine.shell("rekindle status", r"state 5, free")
    # The application in C counts how often.
    if "CONFIG_REKINDLE_API_C" in machine.build.config:
        assert machine.read_flash("storage") != kept
    assert link.start(image) == (REJECT, {0: HEATING, 1: 5})


def test_emergency_wins_in_the_middle_of_an_update(
    machine: Machine, link: Bus, images: Images, rekindle: Rekindle
):
    image = images.small("1.0.0")
    assert link.start(image) == (STATUS, {0: RECEIVING, 1: 0})
    assert link.ask(bus.DATA, {0: 0, 1: image[:96]}) == (STATUS, {0: RECEIVING, 1: 96})
    link.send(bus.STATE_COMMAND, {0: bus.EMERGENCY})
    machine.wait_console(r"update: closed")
    # It reports that, asked or not, and hears nothing more.
    fields = wait_state(link, E_STOP)
    assert (fields[0], fields[1]) == (True, STOPPED_BY_COMMAND)
    link.wait(STATE_DATA, timeout=5)
    with pytest.raises(TimeoutError):
        link.ask(QUERY, timeout=3)
    link.send(bus.STATE_COMMAND, {0: bus.IDLE})
    machine.shell("appliance state idle", r"from the console")
    machine.shell("appliance state", r"\bemergency\b")
    link.close()
    # Only the power ends it; of the update nothing is left, and the next one goes through.
    machine.power_off()
    machine.power_on()
    machine.wait_console(r"appliance: address")
    # Signed once: the length of a signature varies.
    update = images.make("1.0.0")
    result = rekindle.push(update)
    assert result.exit_code == DONE, result
    assert result.done["bytes_sent"] >= update.stat().st_size


def test_emergency_at_the_console_ends_an_update(machine: Machine, link: Bus, images: Images):
    image = images.small("1.0.0")
    assert link.start(image) == (STATUS, {0: RECEIVING, 1: 0})
    assert link.ask(bus.DATA, {0: 0, 1: image[:96]}) == (STATUS, {0: RECEIVING, 1: 96})
    machine.shell("appliance state emergency", r"(EMERGENCY|E_STOP) from the console")
    machine.wait_console(r"update: closed")
    machine.shell("appliance status", r"update idle")
    assert wait_state(link, E_STOP)[0] is True


def test_a_reset_at_the_console_waits_until_it_may_be(machine: Machine, link: Bus):
    machine.shell("appliance state heating", r"HEATING from the console")
    since = machine.console_size()
    machine.shell("appliance reset", r"resets as soon as it may")
    time.sleep(2)
    assert "Booting MCUboot" not in machine.console(since)
    machine.shell("appliance state idle", r"IDLE from the console")
    machine.wait_console(r"Booting MCUboot", since)
    machine.wait_console(r"appliance: address", since)


def test_emergency_holds_a_pending_reset_back(machine: Machine, link: Bus, images: Images):
    image = images.make("1.0.0").read_bytes()
    link.upload(image)
    assert link.ask(bus.VERIFY)[0] == STATUS
    since = machine.console_size()
    # The reset that was asked for comes after both have been heard.
    link.send(bus.ACTIVATE, {0: 0, 1: True})
    link.send(bus.STATE_COMMAND, {0: bus.EMERGENCY})
    assert link.wait(STATUS)[1][0] == ACTIVATED
    machine.wait_console(r"update: pending, TEST", since)
    wait_state(link, E_STOP)
    machine.shell("appliance status", r"installed at the next reset")
    time.sleep(3)
    machine.shell("appliance state", r"\bemergency\b")
    assert "Booting MCUboot" not in machine.console(since)
    # A power cut asks nobody: it installs the update.
    machine.power_off()
    machine.power_on()
    machine.wait_console(r"Image version: v1\.0\.0")


@pytest.mark.parametrize("looks", [0, 3], ids=["as the answer leaves", "while it waits for silence"])
def test_emergency_is_heard_until_the_reset(
    emulated: None, machine: Machine, images: Images, looks: int
):
    """As late as can be: the answer to ACTIVATE has left, and the device only waits for its link.

    It drains it, and looks at it for as long as it takes to know that nobody speaks any more.
    """
    stub = Stub(machine)
    elf = machine.build.application / "zephyr.elf"
    try:
        gdb = stub.power_on()
        gdb.resume()
        address = machine.wait_console(r"appliance: address ([0-9a-f]{16})")[1]
        with Bus(machine.port, address) as link:
            machine.shell("appliance state", r"\bidle\b")
            link.upload(images.make("1.0.0").read_bytes())
            assert link.ask(bus.VERIFY)[0] == STATUS
            gdb.interrupt()
            gdb.break_at(entry(elf, "rekindle_link_drain"))
            gdb.resume()
            since = machine.console_size()
            link.send(bus.ACTIVATE, {0: 0, 1: True})
            assert gdb.wait_stop(timeout=60)
            if looks:
                gdb.break_at(entry(elf, "rekindle_link_read"))
            for _ in range(looks):
                gdb.step()
                gdb.resume()
                assert gdb.wait_stop(timeout=60)
            # While the machine stands, so does its clock.
            link.send(bus.STATE_COMMAND, {0: bus.EMERGENCY})
            gdb.step()
            if looks:
                gdb.go_on_at(entry(elf, "rekindle_link_read"))
            gdb.resume()
            wait_state(link, E_STOP)
            time.sleep(3)
            machine.shell("appliance state", r"\bemergency\b")
            assert "Booting MCUboot" not in machine.console(since)
    finally:
        stub.close()
