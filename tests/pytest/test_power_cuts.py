# SPDX-License-Identifier: Apache-2.0
"""Power cuts: the emulator is killed, its flash stays."""

from __future__ import annotations

import random
import time

from images import Images
from machine import Machine
from rekindle import DONE, Rekindle

CUTS = 20
SECTOR = 4096
# What the device announces: chunks and how many of them may be on their way.
WINDOW = 24
CHUNK = 100


def test_an_upload_survives_power_cuts_at_random_points(
    machine: Machine, images: Images, rekindle: Rekindle, rng: random.Random
):
    image = images.make("1.0.0")
    size = image.stat().st_size
    points = sorted(rng.randrange(size) for _ in range(CUTS))
    push = rekindle.begin_push(image, "--patience", "300")
    for point in points:
        # A cut takes back what was not durable, so a point can lie behind already.
        while push.wait_event("progress")["acknowledged"] < point:
            pass
        time.sleep(rng.uniform(0, 0.05))
        machine.power_off()
        time.sleep(rng.uniform(0, 0.2))
        machine.power_on()
    result = push.finish()
    print(result)
    assert result.exit_code == DONE, result
    assert result.done["completion"] == "confirmed"
    # A cut can come before the one before it was even noticed.
    assert result.done["links_lost"] >= CUTS // 2
    assert machine.read_flash("slot0")[:size] == image.read_bytes()
    # After a cut at most one sector and what was in flight is sent again.
    assert result.done["bytes_again"] <= CUTS * (SECTOR + WINDOW * CHUNK)


def test_a_swap_survives_power_cuts(
    machine: Machine, images: Images, rekindle: Rekindle, rng: random.Random
):
    image = images.make("1.0.0")
    push = rekindle.begin_push(image, "--patience", "300")
    push.wait_event("activated")
    since = machine.console_size()
    for _ in range(5):
        time.sleep(rng.uniform(0, 0.5))
        machine.power_off()
        machine.power_on()
    result = push.finish()
    print(result)
    # An image under test that loses its power before it has confirmed itself is reverted;
    # which of both happened, the device must say, and run just that.
    completion = result.done["completion"]
    assert completion in ("confirmed", "reverted"), result
    status = rekindle.status()
    assert status["info"]["version"] == ("1.0.0" if completion == "confirmed" else "0.1.0")
    assert status["info"]["confirmed"]
    # Whatever happened, the device takes the next update.
    again = rekindle.push(images.make("1.0.1"))
    assert again.exit_code == DONE, again
    assert "panic" not in machine.console(since)
