# SPDX-License-Identifier: Apache-2.0
"""One image, by way of the controller, to one appliance: installed, reverted, refused, cut off."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

from bus import ABORT, INVALID, STATUS, Bus
from desk import PRODUCT, START, address_of, push, refusal, runs, starts, status
from frames import data_end
from images import SILENT, UNSIGNED, Images, make_key, sign
from machine import Build, Machine
from network import Controller
from rekindle import DONE, NOT_INSTALLED, Rekindle
from wire import Wire

# Code of a refusal.
IMAGE_TOO_LARGE = 11
# Bytes that go into the store at once.
PAGE = 256


def test_proxy_updates_one_after_the_other(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller
):
    image = images.make("1.0.0")
    addresses = [address_of(machine) for machine in appliances]
    found = {e["address"] for e in rekindle.run("discover", "--to", rekindle.url).events if "address" in e}
    assert found >= set(addresses)
    for machine, address in zip(appliances, addresses):
        result = push(rekindle, image, address)
        assert result.exit_code == DONE, result
        assert result.done["completion"] == "confirmed", result
        assert runs(machine, image)
        assert status(rekindle, address)["info"]["version"] == "1.0.0"
    # Nobody needs the image any more.
    controller.shell("controller status", r"store: NONE, 0 of 0 bytes")
    controller.shell("controller devices", r"devices: 2")


def test_a_revert_is_told(wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle):
    before = appliances[0].read_flash("slot0")
    address = address_of(appliances[0])
    result = push(rekindle, images.make("1.0.0", SILENT), address)
    assert result.exit_code == NOT_INSTALLED, result
    assert result.done["completion"] == "reverted", result
    size = appliances[0].build.signed_image.stat().st_size
    assert appliances[0].read_flash("slot0")[:size] == before[:size]
    # And the next update goes through.
    image = images.make("1.0.1")
    assert push(rekindle, image, address).done["completion"] == "confirmed"
    assert runs(appliances[0], image)


def test_what_policy_refuses_never_reaches_the_bus(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, tmp_path: Path
):
    address = address_of(appliances[0])
    stranger = make_key(tmp_path / "stranger.pem")
    wrong_product = "image header or trailer invalid, or for another product"
    pump, other_vendor = ("--vid", "example.com", "--cid", "pump"), ("--vid", "example.org", "--cid", "heater")
    for image, command, reason in [
        (images.make("1.0.0", key=stranger), "OTA_VERIFY", "signature invalid"),
        (images.make("1.0.1", key=UNSIGNED), "OTA_VERIFY", "signature invalid"),
        (images.make("1.0.2", options=pump), "OTA_VERIFY", wrong_product),
        (images.make("1.0.3", options=other_vendor), "OTA_VERIFY", wrong_product),
        (images.make("1.0.4", options=()), "OTA_VERIFY", wrong_product),
        # The appliance runs 0.1.0, and the version is announced.
        (images.make("0.0.9"), "OTA_START", "version is a downgrade (field 2)"),
    ]:
        assert refusal(push(rekindle, image, address)) == (command, reason)
        assert starts(wire) == 0
    # None of it is in the way of one that may pass.
    assert push(rekindle, images.make("1.0.5"), address).done["completion"] == "confirmed"
    assert starts(wire) == 1


def test_an_image_that_the_store_has_no_room_for_is_refused_at_start(
    wire: Wire,
    appliances: list[Machine],
    appliance_build: Build,
    rekindle: Rekindle,
    controller: Controller,
    tmp_path: Path,
):
    address = address_of(appliances[0])
    room = int(controller.shell("controller status", r"room for (\d+)")[1])
    assert f"controller: room for an image of {room} bytes" in controller.console()
    body = appliance_build.unsigned_image.read_bytes() + bytes(room)
    image = sign(appliance_build, tmp_path / "large", body, "1.0.0", *PRODUCT, "--slot-size", hex(4 << 20))
    assert image.stat().st_size > room
    assert refusal(push(rekindle, image, address))[0] == "OTA_START"
    with Bus(controller.clients_port, address) as link:
        code, fields = link.start(bytes(room + 1))
        assert (code, fields[2]) == (INVALID, IMAGE_TOO_LARGE), fields
        assert link.start(bytes(room)) == (STATUS, {0: 1, 1: 0})
        assert link.ask(ABORT)[0] == STATUS
    assert starts(wire) == 0
    controller.shell("controller status", r"store: NONE, 0 of 0 bytes")


def test_a_controller_killed_mid_forward_goes_on(
    wire: Wire,
    appliances: list[Machine],
    images: Images,
    rekindle: Rekindle,
    controller: Controller,
    rng: random.Random,
):
    image = images.make("1.0.0")
    address = address_of(appliances[0])
    running = rekindle.begin("push", image, "--to", rekindle.url, "--address", address)
    controller.wait_console(rf"{address}: TRANSFERRING")
    time.sleep(rng.uniform(0.5, 4))
    controller.power_off()
    before = max(map(int, re.findall(r"update: (\d+) of", appliances[0].console())), default=0)
    assert "update: verified" not in appliances[0].console(), "the cut came too late"
    time.sleep(rng.uniform(0.1, 2))
    cut = len(wire.sent)
    controller.power_on()
    result = running.finish()
    print(result)
    assert result.exit_code == DONE, result
    assert result.done["completion"] == "confirmed", result
    assert runs(appliances[0], image)
    # What the controller had is not sent to it again, nor to the appliance what that had.
    size = image.stat().st_size
    assert int(controller.wait_console(r"store: read, (\d+) bytes of an image")[1]) == size
    chunks = [(end, len(sent)) for sent in wire.sent if (end := data_end(sent)) is not None]
    assert result.done["bytes_sent"] - result.done["bytes_again"] == size
    sent = sum(length for _, length in chunks)
    print(f"{before} bytes were acknowledged at the cut; {sent} of {size} went over the bus, heads included")
    assert sent < 1.5 * size
    again = [end for message in wire.sent[cut:] if (end := data_end(message)) is not None and end <= before]
    assert not again, f"{before} bytes were on the appliance's flash, and these ends came again: {again}"


def test_cuts_while_an_image_comes_cost_a_checkpoint_each_and_nothing_of_it_goes_on(
    wire: Wire,
    appliances: list[Machine],
    appliance_build: Build,
    rekindle: Rekindle,
    controller: Controller,
    controller_build: Build,
    rng: random.Random,
    tmp_path: Path,
):
    body = appliance_build.unsigned_image.read_bytes() + rng.randbytes(150_000)
    image = sign(appliance_build, tmp_path / "1.0.0", body, "1.0.0", *PRODUCT)
    size = image.stat().st_size
    address = address_of(appliances[0])
    # One small frame at a time, so that what comes between the moment chosen and the cut is little, and never the rest.
    quarter = (size - 60_000) // 4
    points = [4_000 + part * quarter + rng.randrange(quarter) for part in range(4)]
    slowly = ("--window", "1", "--chunk", "64")
    running = rekindle.begin("push", image, "--to", rekindle.url, "--address", address, *slowly)
    told, kept = [], []
    for point in points:
        while (acknowledged := running.wait_event("progress")["acknowledged"]) < point:
            pass
        told.append(acknowledged)
        time.sleep(rng.uniform(0, 0.05))
        controller.power_off()
        assert "store: received" not in controller.console(), f"the cut at {point} came too late"
        controller.power_on()
        kept.append(int(controller.wait_console(r"store: read, (\d+) bytes of an image")[1]))
        assert not [sent for sent in wire.sent if sent.startswith(START) or data_end(sent) is not None]
    result = running.finish()
    print(f"cut behind {told} of {size} bytes, there were {kept}")
    print(result)
    assert result.exit_code == DONE, result
    assert result.done["completion"] == "confirmed", result
    assert runs(appliances[0], image)
    assert kept == sorted(kept) and 0 < kept[-1] < size
    # What a cut costs: less than a checkpoint, and a page that was not full yet.
    checkpoint = int(controller_build.config["CONFIG_REKINDLE_CONTROLLER_CHECKPOINT"])
    assert all(acknowledged < there + checkpoint + PAGE for acknowledged, there in zip(told, kept))
    # What is sent again: that, and what was on its way.
    assert result.done["bytes_again"] <= len(points) * (checkpoint + 4_096)
    assert result.done["bytes_sent"] - result.done["bytes_again"] == size
    assert starts(wire) == 1
