# SPDX-License-Identifier: Apache-2.0
"""A controller and two appliances on its bus, all under QEMU, each with MCUboot: the command line brings an image to
the controller, which brings it to the appliance."""

from __future__ import annotations

import hashlib
import random
import re
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cbor2
import pytest
from bus import ABORT, ACTIVATE, DATA, INVALID, QUERY, REJECT, STATUS, VERIFY, Bus
from bus import PING as PING_REQUEST
from bus import START as OTA_START
from cryptography.hazmat.primitives import serialization
from frames import BINARY, CLOSE, PING, UPGRADE, data_end, frame, web_message
from images import SILENT, UNSIGNED, Images, Policy, make_key, sign, with_policy
from machine import Build, Machine
from network import Controller
from rekindle import DONE, NOT_INSTALLED, PARTIAL, REFUSED, Rekindle, Result, find_program
from wire import Wire

# OTA_START, as a frame to an appliance begins.
START = bytes([0x82, 0x18, 0x40])
ROOT_MARK = b"root button held"
# What the appliances on the bus are (tests/controller/prj.conf).
PRODUCT = ("--vid", "example.com", "--cid", "heater")
# Codes of refusals.
IMAGE_TOO_LARGE, SIGNATURE_INVALID, VERSION_DOWNGRADE = 11, 12, 13
# Bytes that go into the store at once.
PAGE = 256
# Records in one file.
FULL_RECORD = 256
# The extension's question who somebody is, and its answer.
EXTENSION, INFO_REQUEST = 0x46, {0: 0x524B4E44, 1: 1, 2: 0}


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
def alone(controller: Controller) -> Controller:
    """The controller, on, with nobody on its bus."""
    controller.power_on()
    controller.wait_ready()
    return controller


@pytest.fixture
def rekindle(request: pytest.FixtureRequest, controller: Controller):
    client = Rekindle(find_program(request.config.getoption("--rekindle")), controller.url)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def images(appliance_build: Build, tmp_path: Path) -> Images:
    return Images(appliance_build, tmp_path, *PRODUCT)


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


def refusal(result: Result) -> tuple[str, str]:
    """The command that an image was refused at, and why."""
    assert result.exit_code == REFUSED, result
    refused = next(event for event in result.events if event["event"] == "refused")
    return refused["command"], refused["reason"]


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


def test_a_client_over_websocket(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller
):
    image = images.make("1.0.0")
    rekindle.url = controller.web
    result = push(rekindle, image, address_of(appliances[1]))
    assert result.exit_code == DONE, result
    assert result.done["completion"] == "confirmed", result
    assert runs(appliances[1], image)


def test_two_clients_are_each_answered_by_the_controllers_own_receiver(alone: Controller):
    """One sends an image, whose answers wait for the flash, and another one asks without a pause: whoever asked is
    answered, and nobody else."""
    address = address_of(alone)
    image = bytes(range(256)) * 24

    def ask(until: Future) -> list[int]:
        codes = []
        with Bus(alone.clients_port, address) as link:
            while not until.done():
                link.send(EXTENSION, INFO_REQUEST)
                codes.append(link.wait(STATUS, EXTENSION, INVALID, REJECT, timeout=10)[0])
        return codes

    def upload() -> None:
        with Bus(alone.clients_port, address) as link:
            link.upload(image)

    with ThreadPoolExecutor() as clients:
        sender = clients.submit(upload)
        codes = clients.submit(ask, sender).result()
    sender.result()
    assert codes == [EXTENSION] * len(codes) and len(codes) > 20, codes


def pieces(address: str, image: bytes, start: int, end: int) -> bytes:
    """START, where it is the beginning, and the image's bytes in frames of 64."""
    frames = []
    if start == 0:
        digest = hashlib.sha256(image).digest()
        frames.append(frame(address, cbor2.dumps([OTA_START, {0: len(image), 1: digest}])))
    for at in range(start, end, 64):
        frames.append(frame(address, cbor2.dumps([DATA, {0: at, 1: image[at : at + 64]}])))
    return b"".join(frames)


def test_what_was_sent_before_the_end_counts(alone: Controller):
    """A client that says all it has to say and goes at once, over TCP and over WebSocket. It is heard first: Zephyr
    accepts no connection that has ended."""
    address = address_of(alone)
    image = bytes(range(256)) * 32
    for at in range(0, 2560, 640):
        with alone.connect() as link:
            link.sendall(frame(address, cbor2.dumps([PING_REQUEST, None])))
            assert link.recv(100)
            link.sendall(pieces(address, image, at, at + 640))
        with Bus(alone.clients_port, address) as link:
            assert link.settled_at(at + 640) == at + 640
    for at in range(2560, 5120, 640):
        with alone.connect_web() as link:
            link.sendall(UPGRADE)
            assert link.recv(1000).startswith(b"HTTP/1.1 101 ")
            link.sendall(web_message(BINARY, pieces(address, image, at, at + 640)))
        with Bus(alone.clients_port, address) as link:
            assert link.settled_at(at + 640) == at + 640


def receive_all(connection: socket.socket) -> bytes:
    """What comes until the other side ends the connection."""
    connection.settimeout(10)
    received = b""
    while data := connection.recv(4096):
        received += data
    return received


def has_ended(connection: socket.socket) -> bool:
    """Whether the other side has ended a connection over which nothing came."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_websocket_is_closed_in_order(alone: Controller):
    # Behind more answers than a connection takes at once.
    with alone.connect_web() as link:
        link.sendall(UPGRADE + 20 * web_message(PING, bytes(100)) + web_message(CLOSE, b"\x03\xe8"))
        received = receive_all(link)
    assert received.startswith(b"HTTP/1.1 101 ")
    assert received.endswith(b"\x88\x02\x03\xe8"), received[-8:]
    assert received.count(b"\x8a\x64" + bytes(100)) == 20
    # What breaks the protocol is told so, and so is a page that nobody let in.
    with alone.connect_web() as link:
        link.sendall(UPGRADE + bytes([BINARY, 0xFF, 0x80]))
        assert receive_all(link).endswith(b"\x88\x02\x03\xea")
    with alone.connect_web() as link:
        link.sendall(UPGRADE.replace(b"Host:", b"Origin: http://controller\r\nHost:"))
        assert receive_all(link).startswith(b"HTTP/1.1 403 ")
    # Everybody has given their place back.
    for _ in range(4):
        with alone.connect_web() as link:
            link.sendall(UPGRADE + web_message(CLOSE))
            assert receive_all(link).endswith(b"\x88\x00")


def test_idle_connections_leave_room_for_others(
    wire: Wire, appliances: list[Machine], rekindle: Rekindle, controller: Controller
):
    """A place that is given back serves the next. Where all are taken by somebody who was never heard, one more is
    turned away at once, and let in when ten seconds have passed."""
    address = address_of(appliances[0])
    idle = [controller.connect() for _ in range(3)]
    for _ in range(40):
        controller.connect().close()
    # Zephyr has room for sixteen connections, and keeps each for 1.5 s behind its end: until the last of these has had
    # its turn, TCP asks for a new one again, seconds apart.
    end = time.monotonic() + 40
    while rekindle.run("status", "--to", rekindle.url, "--address", address).exit_code != DONE:
        assert time.monotonic() < end
    assert status(rekindle, address)["info"]["version"] == "0.1.0"
    for connection in idle:
        connection.sendall(bytes([0x7E]) + bytes(5_000))
    assert status(rekindle, address)["info"]["version"] == "0.1.0"
    for connection in idle:
        connection.close()
    time.sleep(1)
    # Four take all places; ten seconds later one of them has to go, for they never said anything of use.
    idle = [controller.connect() for _ in range(4)]
    time.sleep(0.5)
    began = time.monotonic()
    assert receive_all(controller.connect()) == b"", "a fifth has no place"
    assert time.monotonic() - began < 5
    time.sleep(12)
    assert status(rekindle, address)["info"]["version"] == "0.1.0"
    for connection in idle:
        connection.close()


def test_two_hundred_idle_connections_keep_nobody_from_their_work(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller
):
    """More than there is room for, all of them kept open, while an update goes on and another client asks."""
    own, address = address_of(controller), address_of(appliances[0])
    running = rekindle.begin("push", images.make("1.0.0"), "--to", rekindle.url, "--address", address)
    controller.wait_console(r"store: receiving")
    idle: list[socket.socket] = []
    waits = []
    with Bus(controller.clients_port, own) as link:
        for _ in range(200):
            idle.append(controller.connect())
            began = time.monotonic()
            link.send(EXTENSION, INFO_REQUEST)
            link.wait(EXTENSION)
            waits.append(time.monotonic() - began)
    print(f"each was answered within {max(waits):.2f} s, half of them within {sorted(waits)[100]:.2f} s")
    assert max(waits) < 5
    result = running.finish()
    assert result.exit_code == DONE, result
    assert result.done["completion"] == "confirmed", result
    assert runs(appliances[0], images.directory / "1.0.0.signed.bin")
    # Somebody new comes in while the idle ones are there, who have said nothing for so long.
    turned_away = sum(has_ended(connection) for connection in idle)
    print(f"{turned_away} were turned away")
    assert turned_away >= 150
    assert status(rekindle, address)["info"]["version"] == "1.0.0"
    assert status(rekindle, own)["info"]["version"] == "0.1.0"
    assert controller.console().count("controller: address") == 1
    for connection in idle:
        connection.close()


def test_every_stack_has_room_under_load(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller
):
    """An update goes to an appliance while others ask over TCP and WebSocket, and yet others come and go."""
    own = address_of(controller)
    running = rekindle.begin("push", images.make("1.0.0"), "--to", rekindle.url, "--address", address_of(appliances[0]))

    def ask() -> None:
        with Bus(controller.clients_port, own) as link:
            while running.process.poll() is None:
                link.send(EXTENSION, INFO_REQUEST)
                link.wait(EXTENSION)

    def ask_web() -> None:
        while running.process.poll() is None:
            with controller.connect_web() as link:
                question = frame(own, cbor2.dumps([EXTENSION, INFO_REQUEST]))
                link.sendall(UPGRADE + 8 * web_message(BINARY, question) + web_message(CLOSE))
                receive_all(link)

    with ThreadPoolExecutor() as clients:
        asking = [clients.submit(ask), clients.submit(ask_web)]
        result = running.finish()
    assert result.exit_code == DONE, result
    for client in asking:
        client.result()
    controller.shell("controller status", r"clients: \d+ bytes")
    for stack in ("controller", "clients"):
        left = int(re.findall(rf"{stack}: (\d+) bytes of stack to spare", controller.console())[-1])
        print(f"{stack}: {left} bytes")
        assert left >= 256


def turn_root_mode_on(controller: Controller) -> None:
    """Boots the controller with the button held, and confirms."""
    controller.power_off()
    controller.write_flash_end("boot", ROOT_MARK)
    controller.power_on()
    controller.wait_ready()
    controller.shell("controller root confirm", r"on record: RootEnabled")
    controller.shell("controller status", r"root mode: ON")


def test_a_factory_flash_ends_root_mode(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller
):
    address = address_of(controller)
    turn_root_mode_on(controller)
    controller.power_off()
    controller.write_flash_end("boot", bytes(len(ROOT_MARK)))
    kept = {name: controller.read_flash(name) for name in ("storage", "journal")}
    controller.factory_flash()
    assert {name: controller.read_flash(name) for name in kept} == kept
    controller.power_on()
    controller.wait_ready()
    assert address_of(controller) == address
    controller.shell("controller status", r"root mode: off, downgrades off\s+record of root mode: 0 entries")
    controller.shell("controller root confirm", r"nothing waits for a confirmation")
    # The rest works as on the first day.
    image = images.make("1.0.0")
    assert push(rekindle, image, address_of(appliances[0])).done["completion"] == "confirmed"
    assert runs(appliances[0], image)


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
    # The last four digits of the boot's number: there is no clock yet that could tell the time.
    boot = re.findall(r"address \w+, boot \w{4}(\w{4})", controller.console())[-1]
    controller.shell("controller root confirm", r"on record: RootEnabled")
    controller.shell("controller status", r"root mode: ON")
    # It outlives the power, and the stranger's image passes: the appliance's bootloader judges it.
    controller.power_off()
    controller.write_flash_end("boot", bytes(len(ROOT_MARK)))
    controller.power_on()
    controller.wait_ready()
    controller.shell("date set 2031-05-06 07:08:09", r"2031-05-06 07:08:")
    stranger = make_key(tmp_path / "stranger.pem")
    image = images.make("1.0.0", key=stranger)
    result = push(rekindle, image, address)
    assert result.exit_code == NOT_INSTALLED, result
    assert result.done["completion"] == "refused_by_bootloader", result
    assert starts(wire) == 1
    controller.shell("controller status", r"record of root mode: 2 entries")
    digest = hashlib.sha256(image.read_bytes()).hexdigest()[:16]
    controller.shell(
        "controller root records",
        rf"record 1: \d+ ms after boot {boot}: root mode enabled\s+"
        r"record 2: 2031-05-06T07:\d\d:\d\dZ: unsigned image released to "
        rf"{address}, SHA-256 {digest}\.\.\.\s+records: 2\b",
    )
    # More than are told without a look at the bus.
    for word, kind in [("allow", "DowngradeAllowed"), ("refuse", "DowngradeForbidden")] * 4:
        controller.shell(f"controller root downgrade {word}", f"on record: {kind}")
    told = controller.shell("controller root records", r"record 1: [\s\S]*?\nrecords: 10\b")[0]
    assert re.findall(r"record (\d+): .*: downgrades", told) == [str(number) for number in range(3, 11)], told
    # The console's thread has had its turn, and all that waits for the controller as well.
    assert "> record" in told
    controller.shell("controller root off", r"waits for")
    controller.shell("controller root confirm", r"on record: RootDisabled")
    assert push(rekindle, images.make("1.0.1", key=stranger), address).exit_code == REFUSED


def test_the_record_of_root_mode_is_told_from_its_beginning(controller: Controller):
    """More of it than one file takes, and a power cut in between."""
    switches = [("allow", "allowed"), ("refuse", "forbidden")] * (FULL_RECORD // 2 + 2)
    controller.write_flash_end("boot", ROOT_MARK)
    controller.power_on()
    controller.wait_ready()
    controller.shell("controller root confirm", r"on record: RootEnabled")
    for switch, what in switches:
        since = controller.console_size()
        controller.type(f"controller root downgrade {switch}")
        controller.wait_console(f"on record: Downgrade{what.capitalize()}", since)
    controller.power_off()
    controller.write_flash_end("boot", bytes(len(ROOT_MARK)))
    controller.power_on()
    controller.wait_ready()
    controller.shell("controller root off", r"waits for")
    controller.shell("controller root confirm", r"on record: RootDisabled")
    expected = ["root mode enabled", *(f"downgrades {what}" for _, what in switches), "root mode disabled"]
    since = controller.console_size()
    controller.shell("controller root records", rf"records: {len(expected)}\b")
    records = re.findall(r"record (\d+): \d+ ms after boot \w{4}: ([a-z ]+)", controller.console(since))
    # Typed again when it has been told, the command tells it again.
    assert records[: len(expected)] == [(str(number), what) for number, what in enumerate(expected, 1)]


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


def devices(rekindle: Rekindle) -> dict[str, dict]:
    result = rekindle.run("devices", "--to", rekindle.url)
    return {event["address"]: event for event in result.events if event["event"] == "device"}


def campaign(rekindle: Rekindle, *command: str) -> dict:
    result = rekindle.run("campaign", *command, "--to", rekindle.url)
    assert result.exit_code == DONE, result
    return result.events[-1]


def outcomes(result: Result) -> dict[str, tuple]:
    summary = next(event for event in result.events if event["event"] == "summary")
    return {device["address"]: (device["outcome"], device["version"]) for device in summary["devices"]}


def test_a_campaign_brings_an_image_to_all(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller
):
    image = images.make("1.0.0")
    addresses = [address_of(machine) for machine in appliances]
    controller.shell("controller devices", r"devices: 2")
    assert {at: (one["here"], one["version"]) for at, one in devices(rekindle).items()} == {
        address: (True, "0.1.0") for address in addresses
    }
    result = rekindle.run("push", image, "--to", rekindle.url, "--all")
    assert result.exit_code == DONE, result
    assert outcomes(result) == {address: ("CONFIRMED", "1.0.0") for address in addresses}
    assert all(runs(machine, image) for machine in appliances)
    # It came to the controller once, and went to each appliance once.
    assert controller.console().count("store: received") == 1
    assert starts(wire) == 2
    shown = campaign(rekindle, "show")
    assert (shown["stored"], shown["open"], shown["appliances"]) == ("NONE", 0, 2)
    listed = devices(rekindle).values()
    assert {(one["stage"], one["outcome"], one["version"]) for one in listed} == {("SETTLED", "CONFIRMED", "1.0.0")}


def test_a_campaign_is_shown_and_taken_back(
    wire: Wire, appliances: list[Machine], images: Images, rekindle: Rekindle, controller: Controller
):
    """One appliance is away: it keeps the image on the controller, and nobody from being done."""
    image = images.make("1.0.0")
    here, away = (address_of(machine) for machine in appliances)
    controller.shell("controller devices", r"devices: 2")
    appliances[1].power_off()
    running = rekindle.begin("push", image, "--to", rekindle.url, "--all")
    controller.wait_console(rf"{here}: CONFIRMED", timeout=180)
    shown = campaign(rekindle, "show")
    assert (shown["stored"], shown["open"], shown["version"]) == ("APPROVED", 1, "1.0.0")
    assert shown["digest"] == hashlib.sha256(image.read_bytes()).hexdigest()
    stages = {device["address"]: device["stage"] for device in shown["devices"]}
    assert stages[here] == "SETTLED" and stages[away] != "SETTLED", shown
    # There is one image at a time.
    assert rekindle.run("push", images.make("1.0.1"), "--to", rekindle.url, "--all").exit_code == REFUSED
    # Who is done has nothing to take back, and nobody else's goes with it.
    assert campaign(rekindle, "cancel", "--address", here)["open"] == 1
    assert campaign(rekindle, "cancel", "--address", away)["open"] == 0
    result = running.finish()
    assert result.exit_code == PARTIAL, result
    assert outcomes(result) == {here: ("CONFIRMED", "1.0.0"), away: ("CANCELLED", "0.1.0")}
    controller.shell("controller status", r"store: NONE, 0 of 0 bytes")
    # Whoever was away takes the next one.
    appliances[1].power_on()
    result = rekindle.run("push", image, "--to", rekindle.url, "--all")
    assert result.exit_code == DONE, result
    assert outcomes(result) == {here: ("ALREADY_RUNNING", "1.0.0"), away: ("CONFIRMED", "1.0.0")}
    assert runs(appliances[1], image)


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
