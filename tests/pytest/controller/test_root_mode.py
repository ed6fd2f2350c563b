# SPDX-License-Identifier: Apache-2.0
"""Root mode: the button that it needs, what passes in it, and its record."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from desk import ROOT_MARK, address_of, push, runs, starts, turn_root_mode_on
from images import Images, make_key
from machine import Machine
from network import Controller
from rekindle import NOT_INSTALLED, REFUSED, Rekindle
from wire import Wire

# Records in one file.
FULL_RECORD = 256


def test_a_factory_flash_ends_root_mode(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller
):
    address = address_of(controller)
    turn_root_mode_on(controller)
    controller.power_off()
    controller.write_flash_end("boot", bytes(len(ROOT_MARK)))
    kept = {name: controller.read_flash(name) for name in ("storage", "journal")}
    controller.factory_flash()
    assert {name: controller.read_flash(name) for name in kept} == kept
    controller.power_on()
    controller.wait_ready()
    assert address_of(controller) == address
    controller.shell("controller status", r"root mode: off, downgrades off\s+record of root mode: 0 entries")
    controller.shell("controller root confirm", r"nothing waits for a confirmation")
    # The rest works as on the first day.
    image = images.make("1.0.0")
    assert push(rekindle, image, address_of(appliances[0])).done["completion"] == "confirmed"
    assert runs(appliances[0], image)


def test_root_mode_needs_the_button(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller, tmp_path: Path
):
    address = address_of(appliances[0])
    # Without the button there is nothing to confirm.
    controller.shell("controller root confirm", r"nothing waits for a confirmation")
    controller.power_off()
    controller.write_flash_end("boot", ROOT_MARK)
    controller.power_on()
    controller.wait_ready()
    controller.shell("controller status", r"root mode: off")
    # The last four digits of the boot's number: there is no clock yet that could tell the time.
    boot = re.findall(r"address \w+, boot \w{4}(\w{4})", controller.console())[-1]
    controller.shell("controller root confirm", r"on record: RootEnabled")
    controller.shell("controller status", r"root mode: ON")
    # It outlives the power, and the stranger's image passes: the appliance's bootloader judges it.
    controller.power_off()
    controller.write_flash_end("boot", bytes(len(ROOT_MARK)))
    controller.power_on()
    controller.wait_ready()
    controller.shell("date set 2031-05-06 07:08:09", r"2031-05-06 07:08:")
    stranger = make_key(tmp_path / "stranger.pem")
    image = images.make("1.0.0", key=stranger)
    result = push(rekindle, image, address)
    assert result.exit_code == NOT_INSTALLED, result
    assert result.done["completion"] == "refused_by_bootloader", result
    assert starts(wire) == 1
    controller.shell("controller status", r"record of root mode: 2 entries")
    digest = hashlib.sha256(image.read_bytes()).hexdigest()[:16]
    controller.shell(
        "controller root records",
        rf"record 1: \d+ ms after boot {boot}: root mode enabled\s+"
        r"record 2: 2031-05-06T07:\d\d:\d\dZ: unsigned image released to "
        rf"{address}, SHA-256 {digest}\.\.\.\s+records: 2\b",
    )
    # More than are told without a look at the bus.
    for word, kind in [("allow", "DowngradeAllowed"), ("refuse", "DowngradeForbidden")] * 4:
        controller.shell(f"controller root downgrade {word}", f"on record: {kind}")
    told = controller.shell("controller root records", r"record 1: [\s\S]*?\nrecords: 10\b")[0]
    assert re.findall(r"record (\d+): .*: downgrades", told) == [str(number) for number in range(3, 11)], told
    # The console's thread has had its turn, and all that waits for the controller as well.
    assert "> record" in told
    controller.shell("controller root off", r"waits for")
    controller.shell("controller root confirm", r"on record: RootDisabled")
    assert push(rekindle, images.make("1.0.1", key=stranger), address).exit_code == REFUSED


def test_the_record_of_root_mode_is_told_from_its_beginning(controller: Controller):
    """More of it than one file takes, and a power cut in between."""
    switches = [("allow", "allowed"), ("refuse", "forbidden")] * (FULL_RECORD // 2 + 2)
    controller.write_flash_end("boot", ROOT_MARK)
    controller.power_on()
    controller.wait_ready()
    controller.shell("controller root confirm", r"on record: RootEnabled")
    for switch, what in switches:
        since = controller.console_size()
        controller.type(f"controller root downgrade {switch}")
        controller.wait_console(f"on record: Downgrade{what.capitalize()}", since)
    controller.power_off()
    controller.write_flash_end("boot", bytes(len(ROOT_MARK)))
    controller.power_on()
    controller.wait_ready()
    controller.shell("controller root off", r"waits for")
    controller.shell("controller root confirm", r"on record: RootDisabled")
    expected = ["root mode enabled", *(f"downgrades {what}" for _, what in switches), "root mode disabled"]
    since = controller.console_size()
    controller.shell("controller root records", rf"records: {len(expected)}\b")
    records = re.findall(r"record (\d+): \d+ ms after boot \w{4}: ([a-z ]+)", controller.console(since))
    # Typed again when it has been told, the command tells it again.
    assert records[: len(expected)] == [(str(number), what) for number, what in enumerate(expected, 1)]
