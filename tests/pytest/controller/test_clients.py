# SPDX-License-Identifier: Apache-2.0
"""Clients over TCP and WebSocket, at once, in any order, and at their worst."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor

import cbor2
from bus import DATA, INVALID, REJECT, STATUS, Bus
from bus import PING as PING_REQUEST
from bus import START as OTA_START
from desk import address_of, push, runs, status
from frames import BINARY, CLOSE, PING, UPGRADE, frame, web_message
from images import Images
from machine import Machine
from network import Controller
from rekindle import DONE, Rekindle
from wire import Wire

# The extension's question who somebody is, and its answer.
EXTENSION, INFO_REQUEST = 0x46, {0: 0x524B4E44, 1: 1, 2: 0}


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
    # Zephyr has room for sixteen connections, and keeps each for 1.5 s behind its end.
    end = time.monotonic() + 20
    while rekindle.run("status", "--to", rekindle.url, "--address", address).exit_code != DONE:
        assert time.monotonic() < end
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


def test_a_burst_of_connections_costs_nobody_theirs(rekindle: Rekindle, alone: Controller):
    """More packets at once than Zephyr has room for by default."""
    with alone.halted():
        burst = [alone.connect() for _ in range(45)]
    assert status(rekindle, address_of(alone))["info"]["version"] == "0.1.0"
    for connection in burst:
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
