# SPDX-License-Identifier: Apache-2.0
"""Frames that the command line does not send: the appliance's own commands."""

from __future__ import annotations

import socket

STATE_COMMAND = 0x20
OTA_DATA, OTA_STATUS = 0x41, 0x45
START, END, ESCAPE = 0x7E, 0x7F, 0x7D
IDLE, FAN = 0, 1


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE (PROTOCOL.md, frames)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc


def frame(address: str, payload: bytes) -> bytes:
    inner = bytes([len(payload)]) + int(address, 16).to_bytes(8, "little") + payload
    inner += crc16(inner).to_bytes(2, "big")
    stuffed = b"".join(
        bytes([0x7D, byte ^ 0x20]) if byte in (0x7D, 0x7E, 0x7F) else bytes([byte]) for byte in inner
    )
    return b"\x7e" + stuffed + b"\x7f"


def state_command(address: str, mode: int) -> bytes:
    """STATE_COMMAND with an argument: [0x20, {0: mode, 1: 0}]."""
    return frame(address, bytes([0x82, 0x18, STATE_COMMAND, 0xA2, 0x00, mode, 0x01, 0x00]))


def send(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(data)


class Splitter:
    """Takes frames out of a stream of bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The frames, as on the wire, that `data` completes."""
        *whole, self._rest = (self._rest + data).split(bytes([END]))
        return [wire + bytes([END]) for wire in whole]


def payload(wire: bytes) -> bytes:
    """What a frame carries, without length, address and checksum, which is not checked."""
    inner = bytearray()
    escaped = False
    for byte in wire[wire.find(START) + 1 : -1]:
        if byte == ESCAPE:
            escaped = True
            continue
        inner.append(byte ^ 0x20 if escaped else byte)
        escaped = False
    return bytes(inner[9:-2])


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """The CBOR number at `at`, and where the next item begins."""
    kind, short = data[at] & 0xE0, data[at] & 0x1F
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(short, 0)
    if kind not in (0x00, 0x40) or short > 27:
        raise ValueError(f"no number at {at} in {data.hex()}")
    value = int.from_bytes(data[at + 1 : at + 1 + size], "big") if size else short
    return value, at + 1 + size


def data_end(message: bytes) -> int | None:
    """The offset behind a DATA message's chunk; None for any other message."""
    if message[:3] != bytes([0x82, 0x18, OTA_DATA]) or message[4] != 0:
        return None
    offset, at = unsigned(message, 5)
    length, _ = unsigned(message, at + 1)
    return offset + length


def status_offset(message: bytes) -> int | None:
    """The offset a STATUS message asks for next; None for any other message."""
    if message[:3] != bytes([0x82, 0x18, OTA_STATUS]) or len(message) < 8 or message[4] != 0:
        return None
    _, at = unsigned(message, 5)
    return unsigned(message, at + 1)[0] if message[at] == 1 else None


# A WebSocket as a client begins it, and one of its messages: in clear, for nothing on the way minds.
UPGRADE = (
    b"GET /fusain HTTP/1.1\r\nHost: controller\r\nConnection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
BINARY, CLOSE, PING, PONG = 0x82, 0x88, 0x89, 0x8A


def web_message(kind: int, data: bytes = b"") -> bytes:
    size = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0xFE]) + len(data).to_bytes(2, "big")
    return bytes([kind]) + size + bytes(4) + data
