# SPDX-License-Identifier: Apache-2.0
"""A link that the application brings (CONFIG_REKINDLE_LINK_CUSTOM) carries all of an update."""

from __future__ import annotations

from pathlib import Path

from images import Images, sign
from machine import Machine
from rekindle import DONE, NOT_INSTALLED, Rekindle

# tests/update-c/src/own_link.c.
SPEAKS, IS_MUTE = b"rekindle-own-link:s", b"rekindle-own-link:m"
CONTROLLER, ETIMEDOUT = 100, -116


def test_an_update_over_the_applications_own_link(machine: Machine, images: Images, rekindle: Rekindle):
    assert machine.build.config["CONFIG_REKINDLE_LINK_CUSTOM"] == "y"
    # Found by a discovery.
    assert rekindle.address
    pushed = rekindle.push(images.make("1.0.0"))
    assert pushed.exit_code == DONE, pushed
    assert pushed.done["completion"] == "confirmed"
    assert rekindle.status()["info"]["version"] == "1.0.0"


def test_an_image_that_hears_but_cannot_answer_is_not_kept(
    machine: Machine, images: Images, rekindle: Rekindle, tmp_path: Path
):
    body = machine.build.unsigned_image.read_bytes()
    assert body.count(SPEAKS) == 1
    mute = sign(machine.build, tmp_path / "mute", body.replace(SPEAKS, IS_MUTE), "1.0.0")
    pushed = rekindle.push(mute, "--patience", "240")
    assert pushed.exit_code == NOT_INSTALLED, pushed
    assert pushed.done["completion"] == "reverted"
    outcome = pushed.done["outcome"]
    assert (outcome["stage"], outcome["code"]) == (CONTROLLER, ETIMEDOUT)
