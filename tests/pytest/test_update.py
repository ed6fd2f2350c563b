# SPDX-License-Identifier: Apache-2.0
"""Updates of a whole device: the command line, the link, the session, real MCUboot."""

from __future__ import annotations

from pathlib import Path

import frames
from images import SILENT, Images, bad, make_key
from machine import Machine
from rekindle import DONE, NOT_INSTALLED, REFUSED, Rekindle, Result

ETIMEDOUT = -116


def assert_runs(rekindle: Rekindle, version: str) -> dict:
    """The device runs `version`, and nothing is pending or under test."""
    status = rekindle.status()
    assert status["info"]["version"] == version
    assert status["info"]["confirmed"]
    assert not status["info"]["swap_pending"]
    assert status["status"]["state"] == "IDLE"
    return status


def assert_confirmed(result: Result, version: str) -> None:
    assert result.exit_code == DONE, result
    assert result.done["completion"] == "confirmed", result
    assert result.done["outcome"]["outcome"] == "CONFIRMED"


def assert_in_primary_slot(machine: Machine, image: Path) -> None:
    content = image.read_bytes()
    assert machine.read_flash("slot0")[: len(content)] == content


def test_push_test_boot_confirm(machine: Machine, images: Images, rekindle: Rekindle):
    assert_runs(rekindle, "0.1.0")
    image = images.make("1.0.0")
    result = rekindle.push(image)
    assert_confirmed(result, "1.0.0")
    # A machine under load answers late now and then, and bytes are sent again.
    assert result.done["bytes_sent"] - result.done["bytes_again"] == image.stat().st_size
    assert_runs(rekindle, "1.0.0")
    assert_in_primary_slot(machine, image)

    # Confirmed is confirmed: no power cycle takes it back.
    machine.power_off()
    machine.power_on()
    machine.wait_console(r"appliance: address")
    assert_runs(rekindle, "1.0.0")

    again = rekindle.push(image)
    assert again.exit_code == DONE
    assert again.done["completion"] == "already_running"
    assert again.done["bytes_sent"] == 0


def test_an_unconfirmed_image_is_reverted(machine: Machine, images: Images, rekindle: Rekindle):
    before = machine.read_flash("slot0")
    result = rekindle.push(images.make("1.0.0", SILENT))
    assert result.exit_code == NOT_INSTALLED, result
    assert result.done["completion"] == "reverted"
    outcome = result.done["outcome"]
    # It started, and nothing came of its self-test in time.
    assert (outcome["outcome"], outcome["stage"], outcome["code"]) == ("REVERTED", 0, ETIMEDOUT)
    assert "stage 0" in result.stderr
    assert_runs(rekindle, "0.1.0")
    size = machine.build.signed_image.stat().st_size
    assert machine.read_flash("slot0")[:size] == before[:size]


def test_a_failed_self_test_is_reverted_with_its_reason(
    machine: Machine, images: Images, rekindle: Rekindle
):
    result = rekindle.push(images.make("1.0.0", bad(-17)))
    assert result.exit_code == NOT_INSTALLED, result
    assert result.done["completion"] == "reverted"
    outcome = result.done["outcome"]
    assert (outcome["outcome"], outcome["stage"], outcome["code"]) == ("REVERTED", 1, -17)
    assert "stage 1" in result.stderr and "-17" in result.stderr
    # The reason outlives the power.
    machine.power_off()
    machine.power_on()
    machine.wait_console(r"appliance: address")
    status = assert_runs(rekindle, "0.1.0")
    assert (status["outcome"]["stage"], status["outcome"]["code"]) == (1, -17)


def test_a_wrong_key_is_refused_by_the_bootloader(
    machine: Machine, images: Images, rekindle: Rekindle, tmp_path: Path
):
    stranger = make_key(tmp_path / "stranger.pem")
    result = rekindle.push(images.make("1.0.0", key=stranger))
    assert result.exit_code == NOT_INSTALLED, result
    assert result.done["completion"] == "refused_by_bootloader"
    assert result.done["outcome"]["outcome"] == "REFUSED"
    assert_runs(rekindle, "0.1.0")
    # Nothing of it stands in the way of the right one.
    assert_confirmed(rekindle.push(images.make("1.0.1")), "1.0.1")
    assert_runs(rekindle, "1.0.1")


def test_ten_updates_in_a_row(machine: Machine, images: Images, rekindle: Rekindle):
    for n in range(1, 11):
        image = images.make(f"1.{n}.0+{n}")
        assert_confirmed(rekindle.push(image), f"1.{n}.0+{n}")
        assert_runs(rekindle, f"1.{n}.0+{n}")
        assert_in_primary_slot(machine, image)


def test_an_update_straight_after_a_revert(machine: Machine, images: Images, rekindle: Rekindle):
    assert rekindle.push(images.make("1.0.0", bad(1))).done["completion"] == "reverted"
    image = images.make("1.0.1")
    assert_confirmed(rekindle.push(image), "1.0.1")
    assert_runs(rekindle, "1.0.1")
    assert_in_primary_slot(machine, image)
    # The same image that failed, mended under the same version, is another image.
    assert_confirmed(rekindle.push(images.make("1.0.0")), "1.0.0")


def test_nothing_is_received_while_the_image_is_unconfirmed(
    machine: Machine, images: Images, rekindle: Rekindle
):
    first = rekindle.begin_push(images.make("1.0.0", SILENT))
    first.wait_event("activated")
    machine.wait_console(r"is under test")
    first.kill()
    slot1 = machine.read_flash("slot1")
    refused = rekindle.push(images.make("1.0.1"))
    assert refused.exit_code == REFUSED, refused
    # The image to revert to is untouched, and MCUboot goes back to it.
    assert machine.read_flash("slot1") == slot1
    machine.wait_console(r"attempt 1: REVERTED")
    assert_runs(rekindle, "0.1.0")


def test_a_permanent_update_needs_no_confirmation(
    machine: Machine, images: Images, rekindle: Rekindle
):
    image = images.make("1.0.0", SILENT)
    result = rekindle.push(image, "--mode", "permanent", "--yes")
    assert_confirmed(result, "1.0.0")
    assert_runs(rekindle, "1.0.0")
    assert_in_primary_slot(machine, image)


def test_nothing_is_written_while_the_appliance_works(
    machine: Machine, images: Images, rekindle: Rekindle
):
    image = images.make("1.0.0")
    rekindle.wait_idle()
    frames.send(machine.port, frames.state_command(rekindle.address, frames.FAN))
    machine.wait_console(r"command, mode 1")
    slot1 = machine.read_flash("slot1")
    refused = rekindle.push(image)
    assert refused.exit_code == REFUSED, refused
    assert "state 2" in refused.stderr
    assert machine.read_flash("slot1") == slot1

    # Idle again, and cooled down, it takes the update.
    frames.send(machine.port, frames.state_command(rekindle.address, frames.IDLE))
    machine.wait_console(r"command, mode 0")
    rekindle.wait_idle()
    assert_confirmed(rekindle.push(image), "1.0.0")
