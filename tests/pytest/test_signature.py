# SPDX-License-Identifier: Apache-2.0
"""A device that checks signatures itself refuses at VERIFY what its bootloader would (PROTOCOL.md, OTA_VERIFY)."""

from __future__ import annotations

import re
from pathlib import Path

from bus import ABORT, ACTIVATE, INVALID, QUERY, REJECT, STATUS, VERIFY, Bus
from images import UNSIGNED, Images, make_key
from machine import Machine
from rekindle import DONE, REFUSED, Rekindle

SIGNATURE_INVALID = (INVALID, {0: 1, 2: 12})
IDLE = (STATUS, {0: 0})
# Of the session's stack an update must leave so much untouched.
STACK_SPARE = 512
KINDS = ["ecdsa-p256", "ed25519"]


def trusted_kind(machine: Machine) -> str:
    """The algorithm of the key that the device trusts."""
    return KINDS["CONFIG_REKINDLE_SIGNATURE_ED25519" in machine.build.config]


def test_what_the_trusted_key_has_not_signed_is_refused(
    machine: Machine, images: Images, rekindle: Rekindle, tmp_path: Path
):
    good = images.small("1.0.0")
    # Signed, and named by its key, but with another value: the last byte is that of the signature.
    forged = good[:-1] + bytes([good[-1] ^ 1])
    # Of the trusted kind and of the other.
    strangers = [images.small("1.0.0", key=make_key(tmp_path / f"{kind}.pem", kind)) for kind in KINDS]
    unsigned = images.small("1.0.0", key=UNSIGNED)

    with Bus(machine.port, rekindle.address) as link:
        for image in [*strangers, unsigned, forged]:
            link.upload(image)
            assert link.ask(VERIFY) == SIGNATURE_INVALID
            # For good: nothing is left that could be activated.
            assert link.ask(QUERY) == IDLE
            assert link.ask(ACTIVATE, {0: 0})[0] == REJECT
        link.upload(good)
        assert link.ask(VERIFY) == (STATUS, {0: 3, 1: len(good), 2: [1, 0, 0, 0]})
        assert link.ask(ABORT) == IDLE
    # It never took a reboot to find out.
    assert machine.console().count("appliance: address") == 1


def test_an_update_by_a_wrong_key_ends_before_a_reboot(
    machine: Machine, images: Images, rekindle: Rekindle, tmp_path: Path
):
    stranger = make_key(tmp_path / "stranger.pem", trusted_kind(machine))
    refused = rekindle.push(images.make("1.0.0", key=stranger))
    assert refused.exit_code == REFUSED, refused
    assert "signature" in refused.stderr
    assert machine.console().count("appliance: address") == 1
    # Nothing of it stands in the way of the right one, of which the bootloader thinks the same.
    done = rekindle.push(images.make("1.0.1"))
    assert done.exit_code == DONE, done
    assert done.done["completion"] == "confirmed"

    verified = re.search(r"update: verified.*?(\d+) bytes of stack to spare", machine.console(), re.DOTALL)
    spare = int(verified[1])
    print(f"stack: {spare} bytes never used")
    assert spare >= STACK_SPARE
