# SPDX-License-Identifier: Apache-2.0
"""MCUboot's serial recovery: the way back in when no application runs any more."""

from __future__ import annotations

from pathlib import Path

from images import Images
from machine import ERASED, Machine
from rekindle import DONE, Rekindle
from smp import IMAGE_PRIMARY, IMAGE_SECONDARY, PRIMARY, SECONDARY, Smp

ENTERED = r"Enter the serial recovery mode"


def wipe(machine: Machine, *slots: str) -> None:
    """What a broken application or an interrupted programmer leaves: nothing to boot."""
    with machine.flash_path.open("r+b") as flash:
        for name in slots:
            partition = machine.build.partitions[name]
            flash.seek(partition.offset)
            flash.write(ERASED * partition.size)


def recover(machine: Machine) -> Smp:
    """Power comes back, and MCUboot finds nothing to boot."""
    machine.power_on()
    machine.wait_console(ENTERED)
    return Smp(machine)


def restore(machine: Machine, image: Path) -> None:
    """Makes a device with nothing to boot run `image`."""
    smp = recover(machine)
    smp.upload(image, to=IMAGE_PRIMARY)
    smp.reset(machine)


def test_recovery_lists_uploads_tests_resets_and_confirms(
    machine: Machine, images: Images, rekindle: Rekindle
):
    machine.power_off()
    wipe(machine, "slot0", "slot1")
    smp = recover(machine)
    assert smp.os_echo("anybody there?") == "anybody there?"
    assert smp.slots() == {}
    # Into the primary slot, where it is started from at once.
    first = images.make("1.0.0")
    digest = smp.upload(first, to=IMAGE_PRIMARY)
    assert smp.slots()[PRIMARY].hash == digest
    # Into the secondary one, to be tested.
    second = images.make("2.0.0")
    digest = smp.upload(second, to=IMAGE_SECONDARY)
    assert smp.slots()[SECONDARY].version == "2.0.0"
    smp.image_set_state(digest)
    assert smp.slots()[SECONDARY].pending
    smp.reset(machine)
    # That one runs, and the application's SMP confirms it.
    smp.image_set_state(confirm=True)
    status = rekindle.status()
    assert status["info"]["version"] == "2.0.0"
    assert status["info"]["confirmed"]
    result = rekindle.push(images.make("3.0.0"))
    assert result.exit_code == DONE, result
    assert result.done["completion"] == "confirmed"


def test_no_session_is_resumed_after_recovery(
    machine: Machine, images: Images, rekindle: Rekindle
):
    image = images.make("1.0.0")
    push = rekindle.begin_push(image)
    while push.wait_event("progress")["acknowledged"] < image.stat().st_size // 2:
        pass
    push.kill()
    machine.power_off()
    # Half of the image is still there, as it was received.
    wipe(machine, "slot0")
    restore(machine, machine.build.signed_image)
    status = rekindle.status()
    assert status["status"]["state"] == "IDLE"
    result = rekindle.push(image)
    assert result.done["completion"] == "confirmed"
    assert result.done["resumed_at"] == 0 and result.done["bytes_sent"] >= image.stat().st_size


def test_nothing_is_claimed_of_an_attempt_that_recovery_ended(
    machine: Machine, images: Images, rekindle: Rekindle
):
    image = images.make("1.0.0")
    push = rekindle.begin_push(image)
    push.wait_event("activated")
    machine.power_off()
    push.kill()
    wipe(machine, "slot0", "slot1")
    restore(machine, machine.build.signed_image)
    # The old image runs and the new one is gone, as if MCUboot had refused it; but it had not.
    status = rekindle.status()
    assert status["info"]["version"] == "0.1.0"
    assert status["outcome"]["outcome"] == "UNKNOWN"
    assert status["outcome"]["attempt"] == 1
    assert rekindle.push(image).done["completion"] == "confirmed"
