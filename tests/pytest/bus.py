# SPDX-License-Identifier: Apache-2.0
"""A controller of the base protocol, one command at a time: for what the command line would
not send, such as damaged images, and for everything that is no update."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import socket
import threading
import time

import cbor2
from frames import crc16, frame

STATE_COMMAND, SEND_TELEMETRY, TELEMETRY_CONFIG, PING = 0x20, 0x25, 0x16, 0x2F
STATE_DATA, MOTOR_DATA, PUMP_DATA, GLOW_DATA, TEMP_DATA = 0x30, 0x31, 0x32, 0x33, 0x34
PING_RESPONSE = 0x3F
START, DATA, VERIFY, ACTIVATE, QUERY, STATUS, ABORT = 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x4F
INVALID, REJECT = 0xE0, 0xE1

IDLE, FAN, HEAT, EMERGENCY = 0, 1, 2, 255
CHUNK = 96

Message = tuple[int, dict]


class Bus:
    """The link to one device."""

    def __init__(self, port: int, address: str):
        self.address = address
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._messages: queue.Queue[Message] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        # A socket that a thread reads from is not closed before that thread returns, and the
        # emulated UART has one client at a time.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _read(self) -> None:
        """Takes the frames out of the stream; what is no frame is dropped."""
        inner: bytearray | None = None
        escaped = False
        while data := self._receive():
            for byte in data:
                if byte == 0x7E:
                    inner, escaped = bytearray(), False
                elif inner is None:
                    continue
                elif byte == 0x7F:
                    if len(inner) > 11 and crc16(inner[:-2]) == int.from_bytes(inner[-2:], "big"):
                        code, fields = cbor2.loads(bytes(inner[9:-2]))
                        self._messages.put((code, fields or {}))
                    inner = None
                elif byte == 0x7D:
                    escaped = True
                else:
                    inner.append(byte ^ 0x20 if escaped else byte)
                    escaped = False

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(4096)
        except OSError:
            return b""

    def send(self, code: int, fields: dict | None = None) -> None:
        self._socket.sendall(frame(self.address, cbor2.dumps([code, fields])))

    def wait(self, *codes: int, timeout: float = 30.0) -> Message:
        """The next message of one of these kinds."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            try:
                message = self._messages.get(timeout=left)
            except queue.Empty:
                break
            if message[0] in codes:
                return message
        raise TimeoutError(f"none of {', '.join(map(hex, codes))} within {timeout} s")

    def ask(self, code: int, fields: dict | None = None, timeout: float = 30.0) -> Message:
        """An update's command, and its answer."""
        self.send(code, fields)
        return self.wait(STATUS, INVALID, REJECT, timeout=timeout)

    def settled_at(self, offset: int, timeout: float = 10.0) -> int:
        """Where the update is, once it is at `offset` or does not come so far."""
        end = time.monotonic() + timeout
        while (at := self.ask(QUERY)[1].get(1, 0)) != offset and time.monotonic() < end:
            time.sleep(0.2)
        return at

    def start(self, image: bytes, digest: bytes | None = None, version: list[int] | None = None) -> Message:
        fields: dict = {0: len(image), 1: digest or hashlib.sha256(image).digest()}
        if version:
            fields[2] = version
        return self.ask(START, fields)

    def upload(self, image: bytes, digest: bytes | None = None) -> Message:
        """START and every chunk; the last answer."""
        answer = self.start(image, digest)
        assert answer == (STATUS, {0: 1, 1: 0}), answer
        for offset in range(0, len(image), CHUNK):
            answer = self.ask(DATA, {0: offset, 1: image[offset : offset + CHUNK]})
            assert answer[0] == STATUS, answer
        assert answer == (STATUS, {0: 2, 1: len(image)}), answer
        return answer
