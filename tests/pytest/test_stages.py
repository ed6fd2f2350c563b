# SPDX-License-Identifier: Apache-2.0
"""Images that hang, crash or never finish: each ends on the old image, which names the stage."""

from __future__ import annotations

import pytest
from images import ENDLESS, HANGS, HANGS_EARLY, HANGS_IN_INIT, PANICS, RESETS, Images, Policy, bad
from machine import Machine
from rekindle import DONE, NOT_INSTALLED, Rekindle, Result

ETIMEDOUT = -116
# The trial's own stage in which a controller has yet to be answered.
CONTROLLER = 100


def assert_reverted(rekindle: Rekindle, result: Result, stage: int | None, code: int | None) -> None:
    assert result.exit_code == NOT_INSTALLED, result
    assert result.done["completion"] == "reverted", result
    outcome = result.done["outcome"]
    assert outcome["outcome"] == "REVERTED"
    assert (outcome.get("stage"), outcome.get("code")) == (stage, code), result
    status = rekindle.status()
    assert status["info"]["version"] == "0.1.0"
    assert status["info"]["confirmed"] and not status["info"]["swap_pending"]


@pytest.mark.parametrize(
    "script",
    [HANGS_EARLY, HANGS_IN_INIT, PANICS, RESETS],
    ids=["hang", "hang before main", "panic", "reset"],
)
def test_an_image_that_never_comes_up(
    machine: Machine, images: Images, rekindle: Rekindle, script: bytes
):
    if script == HANGS_IN_INIT and "CONFIG_REKINDLE_API_C" not in machine.build.config:
        pytest.skip("Rust has no code that runs before its main function")
    since = machine.console_size()
    result = rekindle.push(images.make("1.0.0", script), "--patience", "240")
    assert_reverted(rekindle, result, None, None)
    assert "not even its start" in result.stderr
    # MCUboot started it once, and never again.
    assert machine.console(since).count("Image version: v1.0.0") == 1
    # Nothing stands in the way of the next one.
    again = rekindle.push(images.make("1.0.1"))
    assert again.exit_code == DONE, again
    assert again.done["completion"] == "confirmed"


def test_a_hang_in_the_self_test(machine: Machine, images: Images, rekindle: Rekindle):
    result = rekindle.push(images.make("1.0.0", HANGS), "--patience", "240")
    # It was noted before it hung.
    assert_reverted(rekindle, result, 2, 0)
    assert "stage 2" in result.stderr


def test_a_self_test_that_misses_the_deadline(machine: Machine, images: Images, rekindle: Rekindle):
    result = rekindle.push(images.make("1.0.0", ENDLESS))
    assert_reverted(rekindle, result, 1, ETIMEDOUT)


def test_an_image_that_no_controller_reaches(machine: Machine, images: Images, rekindle: Rekindle):
    push = rekindle.begin_push(images.make("1.0.0"))
    push.wait_event("activated")
    push.kill()
    # Nobody asks it anything until the deadline has passed.
    machine.wait_console(r"self-test: stage 100, code -116", timeout=120)
    machine.wait_console(r"attempt 1: REVERTED", timeout=120)
    status = rekindle.status()
    assert status["info"]["version"] == "0.1.0"
    outcome = status["outcome"]
    assert (outcome["outcome"], outcome["stage"], outcome["code"]) == ("REVERTED", CONTROLLER, ETIMEDOUT)


def test_the_last_outcomes_are_kept(machine: Machine, images: Images, rekindle: Rekindle):
    machine.shell("appliance outcomes", r"no update so far")
    rekindle.push(images.make("1.0.0", HANGS), "--patience", "240")
    rekindle.push(images.make("1.0.1", bad(-17)))
    done = rekindle.push(images.make("1.0.2"))
    assert done.exit_code == DONE, done
    machine.power_off()
    machine.power_on()
    machine.wait_console(r"appliance: address")
    # By the console, the newest first,
    machine.shell(
        "appliance outcomes",
        r"attempt 3: CONFIRMED, .*\s+attempt 2: REVERTED, stage 1, code -17, .*\s+"
        r"attempt 1: REVERTED, stage 2, code 0, ",
    )
    machine.shell("appliance status", r"version 1\.0\.2\+0, confirmed\s+update idle")
    # and by the controller.
    told = [(one["attempt"], one["outcome"], one["stage"]) for one in rekindle.status()["outcomes"]]
    assert told[1:] == [(2, "REVERTED", 1), (1, "REVERTED", 2)]
    assert told[0][:2] == (3, "CONFIRMED")


def test_a_revert_waits_until_the_appliance_may_be_reset(
    machine: Machine, images: Images, rekindle: Rekindle
):
    push = rekindle.begin_push(images.make("1.0.0", ENDLESS, policy=Policy(confirm_deadline_ms=15000)))
    push.wait_event("activated")
    machine.wait_console(r"is under test", timeout=120)
    # Nothing that a reset would harm can be started while the image is under test; what harm
    # there is already, such as a hot chamber, the reset waits for.
    machine.shell("appliance state heating", r"an update is on its way, so not HEATING")
    machine.shell("appliance state error", r"ERROR from the console")
    machine.wait_console(r"self-test: failed", timeout=120)
    since = machine.console_size()
    machine.shell("appliance status", r"under test")
    assert "Booting MCUboot" not in machine.console(since)
    machine.shell("appliance state idle", r"IDLE from the console")
    result = push.finish()
    assert_reverted(rekindle, result, 1, ETIMEDOUT)
