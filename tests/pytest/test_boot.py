# SPDX-License-Identifier: Apache-2.0
"""The machine itself: MCUboot starts what it trusts, and flash outlives the power."""

from __future__ import annotations

from machine import Machine
from rekindle import Rekindle


def test_mcuboot_boots_the_signed_image(machine: Machine):
    machine.power_on()
    machine.wait_console(r"Jumping to the first image slot")
    machine.wait_console(r"appliance: ")


def test_flash_outlives_the_power(machine: Machine):
    machine.power_on()
    machine.wait_console(r"appliance: ")
    machine.power_off()
    before = machine.read_flash("slot0")
    machine.power_on()
    machine.wait_console(r"appliance: ")
    assert machine.read_flash("slot0") == before


def test_a_discovery_finds_the_device(rekindle: Rekindle):
    found = Rekindle(rekindle.program, rekindle.url)
    assert found.address == rekindle.address
