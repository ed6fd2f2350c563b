# SPDX-License-Identifier: Apache-2.0
"""SMP beside the session: the way back in, and that neither spoils the other's work."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import bus
import pytest
from bus import Bus
from images import SILENT, Images
from machine import Machine
from rekindle import DONE, REFUSED, Rekindle, Running
from smp import PRIMARY, SECONDARY, Refused, Smp

# The slot's first sector stays free (swap using offset).
IMAGE_OFFSET = 4096
BUSY = "BUSY"
# The state of the appliance and the reason that a refused command names.
IDLE, UPDATE_IN_PROGRESS = 1, 4


@pytest.fixture
def smp(machine: Machine, rekindle: Rekindle) -> Smp:
    # Until it has come up it says that it is busy.
    machine.shell("rekindle status", r"\bfree\b")
    return Smp(machine)


def staged(machine: Machine, image: Path) -> bool:
    content = image.read_bytes()
    return machine.read_flash("slot1")[IMAGE_OFFSET:][: len(content)] == content


def running(machine: Machine, image: Path) -> bool:
    content = image.read_bytes()
    return machine.read_flash("slot0")[: len(content)] == content


def begin_when_free(rekindle: Rekindle, image: Path) -> Running:
    """A push that is under way, as soon as SMP has given the slot back."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        push = rekindle.begin_push(image)
        while (event := push.next_event()) is not None:
            if event["event"] == "progress":
                return push
        time.sleep(1)
    raise AssertionError("the slot never comes back")


def test_smp_lists_uploads_tests_resets_and_confirms(
    machine: Machine, images: Images, rekindle: Rekindle, smp: Smp
):
    assert smp.os_echo("anybody there?") == "anybody there?"
    slots = smp.slots()
    assert list(slots) == [PRIMARY]
    assert slots[PRIMARY].version == "0.1.0"
    assert slots[PRIMARY].active and slots[PRIMARY].confirmed

    # An image that does not confirm itself: SMP's client does.
    image = images.make("1.0.0", SILENT)
    digest = smp.upload(image)
    assert staged(machine, image)
    assert smp.slots()[SECONDARY].hash == digest
    smp.image_set_state(digest)
    assert smp.slots()[SECONDARY].pending
    smp.reset(machine)
    slots = smp.slots()
    assert slots[PRIMARY].hash == digest
    assert slots[PRIMARY].active and not slots[PRIMARY].confirmed
    # The session knows as well: the slot holds the image to revert to.
    assert not rekindle.status()["info"]["confirmed"]

    smp.image_set_state(confirm=True)
    assert smp.slots()[PRIMARY].confirmed
    status = rekindle.status()
    assert status["info"]["confirmed"]
    # No attempt of the session was made, and none is claimed.
    assert status["outcome"]["outcome"] == "NONE"
    machine.power_off()
    machine.power_on()
    machine.wait_console(r"appliance: address")
    assert rekindle.status()["info"]["version"] == "1.0.0"
    assert running(machine, image)

    # And the session goes on from here.
    assert rekindle.push(images.make("1.0.1")).done["completion"] == "confirmed"


def test_an_image_that_smp_does_not_confirm_is_reverted(
    machine: Machine, images: Images, rekindle: Rekindle, smp: Smp
):
    # Nor does it confirm itself, once a controller has been answered.
    smp.image_set_state(smp.upload(images.make("1.0.0", SILENT)))
    # It is pending, whoever asked for it, and nothing is written over it.
    before = machine.read_flash("slot1")
    end = time.monotonic() + 60
    while not rekindle.status()["info"]["swap_pending"]:
        assert time.monotonic() < end
    assert rekindle.push(images.make("1.0.1")).exit_code == REFUSED
    assert machine.read_flash("slot1") == before
    smp.reset(machine)
    assert rekindle.status()["info"]["version"] == "1.0.0"
    # Refused until the appliance has come up.
    smp.eventually(lambda: smp.reset(machine))
    status = rekindle.status()
    assert status["info"]["version"] == "0.1.0"
    assert status["outcome"]["outcome"] == "NONE"


def test_nothing_is_started_before_a_reset_that_was_granted(
    machine: Machine, rekindle: Rekindle, smp: Smp
):
    machine.shell("appliance state", r"\bidle\b")
    with Bus(machine.port, rekindle.address) as link:
        since = machine.console_size()
        # MCUmgr resets a while after its answer (tests/update/smp.conf), and asks nobody any more.
        smp.os_system_reset()
        link.send(bus.STATE_COMMAND, {0: bus.HEAT})
        assert link.wait(bus.REJECT)[1] == {0: IDLE, 1: UPDATE_IN_PROGRESS}
        machine.shell("appliance state heating", r"an update is on its way, so not HEATING")
        assert "Booting MCUboot" not in machine.console(since)
        machine.wait_console(r"Booting MCUboot", since)
        machine.wait_console(r"appliance: address", since)
        # And then it heats.
        machine.shell("appliance state", r"\bidle\b")
        link.send(bus.STATE_COMMAND, {0: bus.HEAT})
        machine.shell("appliance state", r"\bheating\b")
        with pytest.raises(Refused):
            smp.os_system_reset()


def test_smp_waits_for_a_session(
    machine: Machine, images: Images, rekindle: Rekindle, smp: Smp
):
    image = images.make("1.0.0")
    other = images.make("2.0.0")
    other_hash = smp.upload(other)
    push = begin_when_free(rekindle, image)
    # In the middle: nothing that writes gets through, and what only asks does.
    attempts = [
        lambda: smp.upload(other),
        lambda: smp.image_erase(),
        lambda: smp.image_set_state(other_hash),
    ]
    for attempt in attempts:
        with pytest.raises(Refused, match=BUSY):
            attempt()
    assert smp.slots()[PRIMARY].version == "0.1.0"
    result = push.finish()
    assert result.exit_code == DONE, result
    assert result.done["completion"] == "confirmed"
    assert running(machine, image)
    # Then it is SMP's turn.
    smp.eventually(lambda: smp.upload(other), timeout=120)
    assert staged(machine, other)


def test_a_session_waits_for_smp(
    machine: Machine, images: Images, rekindle: Rekindle, smp: Smp
):
    image, other = images.make("1.0.0"), images.make("2.0.0")
    begun, refused = threading.Event(), threading.Event()

    def progress(sent: int, total: int) -> None:
        if sent > total // 3:
            begun.set()
            # On and on, but slowly, until the session has had its answer.
            refused.wait(0.3)

    failed = []

    def upload() -> None:
        try:
            smp.upload(other, progress=progress)
        except Exception as error:
            failed.append(error)
            begun.set()

    thread = threading.Thread(target=upload)
    thread.start()
    assert begun.wait(120)
    result = rekindle.push(image)
    refused.set()
    thread.join(120)
    assert not failed
    assert result.exit_code == REFUSED, result
    assert staged(machine, other)
    # Then it is the session's turn.
    end = time.monotonic() + 120
    while (result := rekindle.push(image)).exit_code == REFUSED:
        assert time.monotonic() < end
        time.sleep(1)
    assert result.done["completion"] == "confirmed"
    assert result.done["resumed_at"] == 0 and result.done["bytes_sent"] >= image.stat().st_size
    assert running(machine, image)


def test_nothing_is_resumed_over_an_upload_that_was_cut_short(
    machine: Machine, images: Images, rekindle: Rekindle, smp: Smp
):
    image, other = images.make("1.0.0"), images.make("2.0.0")
    push = rekindle.begin_push(image)
    while push.wait_event("progress")["acknowledged"] < image.stat().st_size // 2:
        pass
    push.kill()
    # A session that nobody has used since the boot gives way.
    machine.power_off()
    machine.power_on()
    machine.wait_console(r"appliance: address")
    smp = Smp(machine)

    class Enough(Exception):
        pass

    def progress(sent: int, total: int) -> None:
        if sent > total // 4:
            raise Enough

    with pytest.raises(Exception):
        smp.upload(other, progress=progress)
    machine.power_off()
    machine.power_on()
    machine.wait_console(r"appliance: address")
    assert rekindle.status()["status"]["state"] == "IDLE"
    result = rekindle.push(image)
    assert result.done["completion"] == "confirmed"
    assert result.done["resumed_at"] == 0 and result.done["bytes_sent"] >= image.stat().st_size
    assert running(machine, image)


def test_an_outcome_is_not_taken_for_what_smp_did(
    machine: Machine, images: Images, rekindle: Rekindle, smp: Smp
):
    image = images.make("1.0.0", SILENT)
    # The session's attempt fails; then SMP installs the very same image for good.
    result = rekindle.push(image)
    assert result.done["completion"] == "reverted"
    smp.image_set_state(smp.eventually(lambda: smp.upload(image), timeout=120))
    smp.reset(machine)
    smp.image_set_state(confirm=True)
    status = rekindle.status()
    assert status["info"]["version"] == "1.0.0"
    assert status["info"]["confirmed"]
    assert status["outcome"]["outcome"] == "REVERTED"
    assert status["outcome"]["attempt"] == 1


def test_smp_confirms_what_the_session_is_testing(
    machine: Machine, images: Images, rekindle: Rekindle, smp: Smp
):
    since = machine.console_size()
    push = rekindle.begin_push(images.make("1.0.0", SILENT))
    machine.wait_console(r"is under test", since, timeout=120)
    # The slot holds the image to revert to.
    with pytest.raises(Refused):
        smp.image_erase()
    with pytest.raises(Refused):
        smp.upload(images.make("2.0.0"))
    smp.image_set_state(confirm=True)
    result = push.finish()
    assert result.exit_code == DONE, result
    assert result.done["completion"] == "confirmed"
    machine.power_off()
    machine.power_on()
    machine.wait_console(r"appliance: address")
    status = rekindle.status()
    assert status["info"]["version"] == "1.0.0"
    assert status["outcome"]["outcome"] == "CONFIRMED"
