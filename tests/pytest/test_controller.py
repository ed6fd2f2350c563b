# SPDX-License-Identifier: Apache-2.0
"""A controller and two appliances on its bus, all under QEMU, each with MCUboot: the command line brings an image to
the controller, which brings it to the appliance."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest
from frames import data_end
from images import SILENT, Images, make_key, sign
from machine import Build, Machine
from network import Controller
from rekindle import DONE, NOT_INSTALLED, REFUSED, Rekindle, Result, find_program
from wire import Wire

# OTA_START, as a frame to an appliance begins.
START = bytes([0x82, 0x18, 0x40])
ROOT_MARK = b"root button held"


@pytest.fixture(scope="session")
def appliance_build(request: pytest.FixtureRequest) -> Build:
    return Build(Path(request.config.getoption("--build-dir")), "appliance")


@pytest.fixture(scope="session")
def controller_build(request: pytest.FixtureRequest) -> Build:
    return Build(Path(request.config.getoption("--build-dir")), "controller")


@pytest.fixture
def appliances(appliance_build: Build, tmp_path: Path):
    """Two factory-new appliances, switched on."""
    machines = []
    try:
        for number in range(2):
            directory = tmp_path / f"appliance-{number}"
            directory.mkdir()
            machines.append(Machine(appliance_build, directory))
            machines[-1].power_on()
        yield machines
    finally:
        for machine in machines:
            machine.close()
            print(machine.console())


@pytest.fixture
def controller(controller_build: Build, tmp_path: Path):
    """A factory-new controller, switched off."""
    directory = tmp_path / "controller"
    directory.mkdir()
    machine = Controller(controller_build, directory)
    try:
        yield machine
    finally:
        machine.close()
        print(machine.console())


@pytest.fixture
def wire(controller: Controller, appliances: list[Machine]):
    """The bus, with everybody on it and the controller on."""
    bus = Wire(controller, appliances)
    controller.power_on()
    controller.wait_ready()
    try:
        yield bus
    finally:
        bus.close()


@pytest.fixture
def rekindle(request: pytest.FixtureRequest, controller: Controller):
    client = Rekindle(find_program(request.config.getoption("--rekindle")), controller.url)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def images(appliance_build: Build, tmp_path: Path) -> Images:
    return Images(appliance_build, tmp_path)


def address_of(machine: Machine) -> str:
    return machine.wait_console(r"address (\w+), boot")[1]


def push(rekindle: Rekindle, image: Path, address: str, *options: str) -> Result:
    return rekindle.run("push", image, "--to", rekindle.url, "--address", address, *options)


def status(rekindle: Rekindle, address: str) -> dict:
    result = rekindle.run("status", "--to", rekindle.url, "--address", address)
    assert result.exit_code == DONE, result
    return result.done


def runs(machine: Machine, image: Path) -> bool:
    content = image.read_bytes()
    return machine.read_flash("slot0")[: len(content)] == content


def starts(wire: Wire) -> int:
    return sum(sent.startswith(START) for sent in wire.sent)


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
    result = push(rekindle, images.make("1.0.0", key=stranger), address)
    assert result.exit_code == REFUSED, result
    refused = next(event for event in result.events if event["event"] == "refused")
    assert (refused["command"], refused["reason"]) == ("OTA_VERIFY", "signature invalid")
    assert starts(wire) == 0


def test_a_client_over_websocket(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller
):
    image = images.make("1.0.0")
    rekindle.url = controller.web
    result = push(rekindle, image, address_of(appliances[1]))
    assert result.exit_code == DONE, result
    assert result.done["completion"] == "confirmed", result
    assert runs(appliances[1], image)


def test_idle_connections_leave_room_for_others(
    wire: Wire, appliances: list[Machine], rekindle: Rekindle, controller: Controller
):
    """More connections than there are places: whoever is turned away is told at once, and a place that is given back
    serves the next."""
    address = address_of(appliances[0])
    idle = [controller.connect() for _ in range(3)]
    for _ in range(40):
        controller.connect().close()
    assert status(rekindle, address)["info"]["version"] == "0.1.0"
    for connection in idle:
        connection.sendall(bytes([0x7E]) + bytes(5_000))
    assert status(rekindle, address)["info"]["version"] == "0.1.0"
    # A fourth takes the last place; ten seconds later it has to go, for it never said anything of use.
    idle.append(controller.connect())
    time.sleep(12)
    assert status(rekindle, address)["info"]["version"] == "0.1.0"
    for connection in idle:
        connection.close()


def test_root_mode_needs_the_button(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller, tmp_path: Path
):
    address = address_of(appliances[0])
    # Without the button there is nothing to confirm.
    controller.shell("controller root confirm", r"nothing waits for a confirmation")
    controller.power_off()
    controller.write_flash_end("boot", ROOT_MARK)
    controller.power_on()
    controller.wait_ready()
    controller.shell("controller status", r"root mode: off")
    controller.shell("controller root confirm", r"on record: RootEnabled")
    controller.shell("controller status", r"root mode: ON")
    # It outlives the power, and the stranger's image passes: the appliance's bootloader judges it.
    controller.power_off()
    controller.write_flash_end("boot", bytes(len(ROOT_MARK)))
    controller.power_on()
    controller.wait_ready()
    stranger = make_key(tmp_path / "stranger.pem")
    result = push(rekindle, images.make("1.0.0", key=stranger), address)
    assert result.exit_code == NOT_INSTALLED, result
    assert result.done["completion"] == "refused_by_bootloader", result
    assert starts(wire) == 1
    controller.shell("controller status", r"record of root mode: 2 entries")
    controller.shell("controller root off", r"waits for")
    controller.shell("controller root confirm", r"on record: RootDisabled")
    assert push(rekindle, images.make("1.0.1", key=stranger), address).exit_code == REFUSED


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
