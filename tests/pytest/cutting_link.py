# SPDX-License-Identifier: Apache-2.0
"""A controller of a few lines, for questions and updates that must take milliseconds (rust/fusain/PROTOCOL.md).

It shares no code with the product: what it reads off the wire is judged independently.
"""

from __future__ import annotations

import hashlib
import socket
import time
from dataclasses import dataclass

import frames

START, DATA, VERIFY, ACTIVATE, QUERY, STATUS, EXTENSION = range(0x40, 0x47)
# Less than devices announce, in frames and in bytes.
WINDOW, CHUNK = 16, 100
ABORT, INVALID, REJECT = 0x4F, 0xE0, 0xE1
MAGIC = 0x524B4E44
INFO_REQUEST, INFO, OUTCOME_REQUEST, OUTCOME = range(4)
IDLE, RECEIVING, RECEIVED, VERIFIED, ACTIVATED = range(5)
OUTCOMES = (
    "NONE", "PENDING", "UNDER_TEST", "CONFIRMED", "REVERTED", "REFUSED", "NOT_ATTEMPTED", "UNKNOWN",
)  # fmt: skip
UNSAFE_STATE = 5
# Times after which a question is asked again: of a device that may not hear yet, and of one that is slow.
STARTING_S, SLOW_S = 0.1, 1.0
# Longest wait for an answer that is on its way.
UNDER_WAY_S = 10.0


def encode(value: object) -> bytes:
    """CBOR of integers, byte strings, lists, maps, booleans and None."""
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(encode, value))
    assert isinstance(value, dict), value
    pairs = (encode(key) + encode(value[key]) for key in sorted(value))
    return _head(5, len(value)) + b"".join(pairs)


def _head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    size = next(n for n in (0, 1, 2, 3) if value < 1 << (8 << n))
    return bytes([major << 5 | 24 + size]) + value.to_bytes(1 << size, "big")


def decode(data: bytes) -> object:
    """What `encode` makes, and floats as None: nobody here reads telemetry."""
    value, rest = _item(data)
    assert not rest, data.hex()
    return value


def _item(data: bytes) -> tuple[object, bytes]:
    major, info = data[0] >> 5, data[0] & 31
    size = 0 if info < 24 else 1 << (info - 24)
    value = info if info < 24 else int.from_bytes(data[1 : 1 + size], "big")
    rest = data[1 + size :]
    match major:
        case 0:
            return value, rest
        case 1:
            return -1 - value, rest
        case 2:
            return rest[:value], rest[value:]
        case 4:
            items = []
            for _ in range(value):
                item, rest = _item(rest)
                items.append(item)
            return items, rest
        case 5:
            pairs = {}
            for _ in range(value):
                key, rest = _item(rest)
                pairs[key], rest = _item(rest)
            return pairs, rest
        case 7:
            return {20: False, 21: True}.get(info), rest
        case _:
            raise ValueError(data.hex())


@dataclass(frozen=True)
class Info:
    """What the device says of itself, INFO and OUTCOME of one boot."""

    boot_number: int
    version: tuple[int, ...]
    image_hash: bytes
    confirmed: bool
    swap_pending: bool
    outcome: str
    attempt: int
    target: bytes | None
    stage: int | None
    code: int | None

    def __str__(self) -> str:
        version = ".".join(map(str, self.version))
        sure = "confirmed" if self.confirmed else "unconfirmed"
        return f"{version} {sure}, attempt {self.attempt}: {self.outcome} {self.stage}/{self.code}"


class Refused(Exception):
    """The device answered with an error."""

    def __init__(self, code: int, fields: dict):
        super().__init__(f"{code:#x} {fields}")
        self.code = code
        self.fields = fields


class Silent(Exception):
    """The device does not answer."""


class DeviceLink:
    """The TCP end of a device's UART. A reset of the device goes unnoticed, as on a wire."""

    def __init__(self, port: int, address: str):
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._address = address
        self._source = int(address, 16).to_bytes(8, "little")
        self._raw = b""
        self._heard = False

    def close(self) -> None:
        self._socket.close()

    def ask(self, code: int, fields: dict | None, *answers: int, patience: float = 60.0) -> dict:
        """Sends a command until it is answered; an error raises `Refused`."""
        request = frames.frame(self._address, encode([code, fields]))
        end = time.monotonic() + patience
        sent = 0
        while time.monotonic() < end:
            self._socket.sendall(request)
            sent += 1
            # Nothing is lost on this link, unless the device is still starting.
            again = time.monotonic() + (SLOW_S if self._heard else STARTING_S)
            while (message := self._next(again - time.monotonic())) is not None:
                self._heard = True
                got, content = message
                if got in answers or (got in (INVALID, REJECT) and code != EXTENSION):
                    if sent > 1:
                        self._answer_doubles(code)
                    if got not in answers:
                        raise Refused(got, content)
                    return content
        raise Silent(f"no answer to {code:#x} within {patience} s")

    def _answer_doubles(self, code: int) -> None:
        """What was asked twice is answered twice, and must not answer the next question: waits for the
        answer to one of another kind, for they come in order."""
        if code == EXTENSION:
            request, kind = [QUERY, None], STATUS
        else:
            request, kind = [EXTENSION, {0: MAGIC, 1: 1, 2: INFO_REQUEST}], EXTENSION
        self._socket.sendall(frames.frame(self._address, encode(request)))
        end = time.monotonic() + UNDER_WAY_S
        while (message := self._next(end - time.monotonic())) is not None:
            if message[0] == kind:
                return

    def info(self, patience: float = 60.0) -> Info:
        """Both answers of the same boot."""
        while True:
            info = self._extension(INFO_REQUEST, INFO, patience)
            outcome = self._extension(OUTCOME_REQUEST, OUTCOME, patience)
            if info[3] == outcome[3]:
                return Info(
                    boot_number=info[3],
                    version=tuple(info[5]),
                    image_hash=info[6],
                    confirmed=bool(info[7] & 1),
                    swap_pending=bool(info[7] & 2),
                    outcome=OUTCOMES[outcome[4]],
                    attempt=outcome[5],
                    target=outcome.get(6),
                    stage=outcome.get(8),
                    code=outcome.get(9),
                )

    def state(self) -> int:
        return self.ask(QUERY, None, STATUS)[0]

    def start(self, image: bytes, patience: float = 60.0) -> int:
        """START, once the appliance has come up far enough to allow it; the offset to go on at."""
        fields = {0: len(image), 1: hashlib.sha256(image).digest()}
        end = time.monotonic() + patience
        while True:
            try:
                return self.ask(START, fields, STATUS)[1]
            except Refused as refused:
                if refused.fields.get(1) != UNSAFE_STATE or time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def send(self, image: bytes, offset: int, patience: float = 120.0) -> None:
        """Every byte from `offset` on, a window at a time."""
        end = time.monotonic() + patience
        while offset < len(image):
            if time.monotonic() > end:
                raise Silent(f"the update stands at {offset}")
            reach = min(offset + WINDOW * CHUNK, len(image))
            for at in range(offset, reach, CHUNK):
                chunk = image[at : min(at + CHUNK, reach)]
                self._socket.sendall(frames.frame(self._address, encode([DATA, {0: at, 1: chunk}])))
            while offset < reach and (message := self._next(UNDER_WAY_S)) is not None:
                code, content = message
                if code == REJECT:
                    raise Refused(code, content)
                if code == INVALID:
                    # A machine that stood still in the middle of a frame has dropped it, and with it
                    # the rest of the window.
                    break
                if code == STATUS:
                    offset = content[1]
            if offset < reach:
                self._answer_doubles(DATA)
                offset = self.ask(QUERY, None, STATUS)[1]

    def verify(self) -> None:
        self.ask(VERIFY, {}, STATUS)

    def activate(self, permanent: bool = False, reboot: bool = True) -> None:
        self.ask(ACTIVATE, {0: int(permanent), 1: reboot}, STATUS)

    def abort(self) -> None:
        assert self.ask(ABORT, None, STATUS)[0] == IDLE

    def _extension(self, question: int, answer: int, patience: float) -> dict:
        end = time.monotonic() + patience
        while True:
            left = max(end - time.monotonic(), 0.1)
            request = {0: MAGIC, 1: 1, 2: question}
            content = self.ask(EXTENSION, request, EXTENSION, patience=left)
            if content.get(0) == MAGIC and content.get(2) == answer:
                return content

    def _next(self, timeout: float) -> tuple[int, dict] | None:
        """The next good message of this device."""
        end = time.monotonic() + timeout
        while True:
            raw, mark, rest = self._raw.partition(b"\x7f")
            if mark:
                self._raw = rest
                message = self._message(raw)
                if message is not None:
                    return message
                continue
            left = end - time.monotonic()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            try:
                received = self._socket.recv(4096)
            except TimeoutError:
                return None
            if not received:
                raise Silent("the link was closed")
            self._raw += received

    def _message(self, raw: bytes) -> tuple[int, dict] | None:
        stuffed = raw.rpartition(b"\x7e")[2]
        inner = bytearray()
        escaped = False
        for byte in stuffed:
            if byte == 0x7D:
                escaped = True
            else:
                inner.append(byte ^ 0x20 if escaped else byte)
                escaped = False
        if len(inner) < 11 or frames.crc16(bytes(inner[:-2])) != int.from_bytes(inner[-2:], "big"):
            return None
        if bytes(inner[1:9]) != self._source:
            return None
        code, content = decode(bytes(inner[9:-2]))
        return code, content or {}
