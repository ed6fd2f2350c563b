# SPDX-License-Identifier: Apache-2.0
"""A link that the application brings (CONFIG_REKINDLE_LINK_CUSTOM) carries all of an update."""

from __future__ import annotations

from images import Images
from machine import Machine
from rekindle import DONE, Rekindle


def test_an_update_over_the_applications_own_link(machine: Machine, images: Images, rekindle: Rekindle):
    assert machine.build.config["CONFIG_REKINDLE_LINK_CUSTOM"] == "y"
    # Found by a discovery.
    assert rekindle.address
    pushed = rekindle.push(images.make("1.0.0"))
    assert pushed.exit_code == DONE, pushed
    assert pushed.done["completion"] == "confirmed"
    assert rekindle.status()["info"]["version"] == "1.0.0"
