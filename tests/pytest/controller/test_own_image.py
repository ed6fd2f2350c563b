# SPDX-License-Identifier: Apache-2.0
"""The controller's own image."""

from __future__ import annotations

from pathlib import Path

from bus import ACTIVATE, INVALID, REJECT, VERIFY, Bus
from cryptography.hazmat.primitives import serialization
from desk import address_of, push, refusal, runs, status, turn_root_mode_on
from images import UNSIGNED, Policy, make_key, sign, with_policy
from machine import Build
from network import Controller
from rekindle import DONE, NOT_INSTALLED, Rekindle
from wire import Wire

# Codes of refusals.
SIGNATURE_INVALID, VERSION_DOWNGRADE = 12, 13


def test_the_controller_updates_itself(
    wire: Wire, rekindle: Rekindle, controller: Controller, controller_build: Build, tmp_path: Path
):
    body = controller_build.unsigned_image.read_bytes()
    image = sign(controller_build, tmp_path / "9.1.0", body, "9.1.0")
    address = address_of(controller)
    result = push(rekindle, image, address)
    assert result.exit_code == DONE, result
    assert result.done["completion"] == "confirmed", result
    assert runs(controller, image)
    assert status(rekindle, address)["info"]["version"] == "9.1.0"


def test_what_the_controller_does_not_take_for_itself(
    alone: Controller, rekindle: Rekindle, controller_build: Build, tmp_path: Path
):
    """It is refused by name, before anything is rebooted; root mode is for what goes to appliances."""
    address = address_of(alone)
    before = alone.read_flash("slot0")
    # Sound in every respect but that it cannot run.
    body = bytes(controller_build.header_size) + bytes(range(256)) * 8

    def make(name: str, version: str, key: Path | None = None) -> Path:
        return sign(controller_build, tmp_path / name, body, version, key=key)

    older, strange = make("older", "0.0.9"), make("strange", "1.0.0", make_key(tmp_path / "stranger.pem"))
    refused = [
        (older, "version is a downgrade"),
        (make("unsigned", "1.0.0", UNSIGNED), "signature invalid"),
        (strange, "signature invalid"),
    ]
    good = make("good", "1.0.0").read_bytes()
    # Named by the right key, but with another value: the last byte is that of the signature.
    forged = good[:-1] + bytes([good[-1] ^ 1])
    codes = [
        (older.read_bytes(), VERSION_DOWNGRADE),
        (strange.read_bytes(), SIGNATURE_INVALID),
        (forged, SIGNATURE_INVALID),
    ]

    def check() -> None:
        for image, reason in refused:
            assert refusal(push(rekindle, image, address)) == ("OTA_VERIFY", reason)
        # Nothing of it is left that could be activated.
        with Bus(alone.clients_port, address) as link:
            for image, code in codes:
                link.upload(image)
                said, fields = link.ask(VERIFY)
                assert (said, fields[2]) == (INVALID, code), fields
                assert link.ask(ACTIVATE, {0: 0})[0] == REJECT
        told = status(rekindle, address)
        assert (told["info"]["version"], told["outcome"]["outcome"]) == ("0.1.0", "NONE"), told
        assert alone.read_flash("slot0") == before

    check()
    # The arithmetic of a signature is what takes most of the stack.
    spare = int(alone.shell("controller status", r"controller: (\d+) bytes of stack to spare")[1])
    assert spare >= 1024
    turn_root_mode_on(alone)
    alone.shell("controller root downgrade allow", r"on record: DowngradeAllowed")
    check()
    # Its boots are those of the test.
    assert alone.console().count("controller: address") == alone.power_cycles


def test_an_image_of_the_controller_that_nobody_reaches_is_reverted_and_told(
    alone: Controller, rekindle: Rekindle, controller_build: Build, tmp_path: Path
):
    """It runs and believes itself well, at an address that leads nowhere: what it lacks is a client's question."""
    before = alone.read_flash("slot0")[: controller_build.signed_image.stat().st_size]
    body = controller_build.unsigned_image.read_bytes()
    here = b"\x0010.0.2.15\0"
    assert body.count(here) == 1
    body = body.replace(here, here.replace(b".2.", b".9."))
    body = with_policy(controller_build, body, Policy(confirm_deadline_ms=10_000))
    address = address_of(alone)
    result = push(rekindle, sign(controller_build, tmp_path / "lost", body, "9.1.0"), address)
    assert result.exit_code == NOT_INSTALLED, result
    assert result.done["completion"] == "reverted", result
    alone.wait_console(r"own update: attempt 1: REVERTED")
    assert alone.read_flash("slot0")[: len(before)] == before
    told = status(rekindle, address)
    assert told["info"]["version"] == "0.1.0"
    # The stage that waits for a client, and how it ended: -ETIMEDOUT.
    outcome = told["outcome"]
    assert (outcome["outcome"], outcome["stage"], outcome["code"]) == ("REVERTED", 100, -116)
    # And the next image goes through.
    image = sign(controller_build, tmp_path / "found", controller_build.unsigned_image.read_bytes(), "9.2.0")
    assert push(rekindle, image, address).done["completion"] == "confirmed"


def test_an_image_of_the_controller_that_cannot_start_is_reverted(
    alone: Controller, rekindle: Rekindle, controller_build: Build, tmp_path: Path
):
    """Its key is none: it says so and does nothing, and the watchdog ends that."""
    body = controller_build.unsigned_image.read_bytes()
    key = serialization.load_pem_private_key(controller_build.signing_key.read_bytes(), None).public_key()
    encoding = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = key.public_bytes(*encoding)
    assert body.count(der) == 1
    body = body.replace(der, bytes(len(der)))
    address = address_of(alone)
    result = push(rekindle, sign(controller_build, tmp_path / "keyless", body, "9.1.0"), address)
    assert "cannot start: trusted key 0 cannot be used" in alone.console()
    assert result.exit_code == NOT_INSTALLED, result
    assert result.done["completion"] == "reverted", result
    assert status(rekindle, address)["info"]["version"] == "0.1.0"
