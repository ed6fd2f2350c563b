# SPDX-License-Identifier: Apache-2.0
"""What an update needs of the session's stack in an application in C."""

from __future__ import annotations

import re

from images import Images
from machine import Machine
from rekindle import DONE, Rekindle

# Of the session's stack an update must leave so much untouched.
STACK_SPARE = 512


def test_the_stack_is_large_enough(machine: Machine, images: Images, rekindle: Rekindle):
    """All of an update, with the stack painted: what is counted above is what is needed."""
    assert rekindle.push(images.make("1.0.0")).exit_code == DONE
    spare = [int(n) for n in re.findall(r"(\d+) bytes of stack to spare", machine.console())]
    assert spare
    size = machine.build.config["CONFIG_REKINDLE_STACK_SIZE"]
    print(f"stack: {size} bytes, {min(spare)} never used")
    assert min(spare) >= STACK_SPARE
