# SPDX-License-Identifier: Apache-2.0
"""GDB's remote protocol, as far as stopping a machine at an address needs it.

QEMU's stub is on a socket of its own (`-gdb chardev:…`). While the machine stands, its clock does too.
"""

from __future__ import annotations

import socket
import tempfile
import time
from pathlib import Path

from machine import Machine

# r0 … r15 come first in the answer to `g`, four bytes each.
PC = 15


class GdbError(Exception):
    """The stub said no, or something else than was asked for."""


class Stub:
    """The way to a machine's stub. Its arguments make the machine stand until it is told to go on."""

    def __init__(self, machine: Machine):
        self._machine = machine
        # A socket's path must be short, which pytest's directories are not.
        self._directory = tempfile.TemporaryDirectory(prefix="gdb-")
        self._path = Path(self._directory.name) / "stub"

    def power_on(self) -> Gdb:
        self._path.unlink(missing_ok=True)
        stub = f"socket,path={self._path},server=on,wait=off,id=gdb"
        self._machine.extra_arguments = ["-S", "-chardev", stub, "-gdb", "chardev:gdb"]
        self._machine.power_on()
        return Gdb(self._path)

    def close(self) -> None:
        self._machine.power_off()
        self._machine.extra_arguments = []
        self._directory.cleanup()


class Gdb:
    """One connection to a stub. All numbers in packets are hexadecimal."""

    def __init__(self, path: Path, timeout: float = 30.0):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = b""
        end = time.monotonic() + timeout
        while True:
            try:
                self._socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
        self._socket.settimeout(timeout)
        self.timeout = timeout

    def close(self) -> None:
        self._socket.close()

    def break_at(self, address: int) -> None:
        """A hardware breakpoint: nothing is written into the code."""
        self._expect_ok(f"Z1,{address:x},2")

    def go_on_at(self, address: int) -> None:
        """Takes a breakpoint away."""
        self._expect_ok(f"z1,{address:x},2")

    def registers(self) -> list[int]:
        content = bytes.fromhex(self._ask("g"))
        return [int.from_bytes(content[i * 4 : i * 4 + 4], "little") for i in range(16)]

    def read(self, address: int, length: int) -> bytes:
        content = b""
        while len(content) < length:
            # Well below the stub's limit for a packet.
            n = min(length - len(content), 1024)
            content += bytes.fromhex(self._ask(f"m{address + len(content):x},{n:x}"))
        return content

    def step(self) -> None:
        """One instruction: a stub does not go on by itself from an address that it breaks at."""
        self._stopped(self._ask("s"))

    def resume(self) -> None:
        """Lets the machine run; `wait_stop` says when it stands."""
        self._send("c")

    def interrupt(self) -> None:
        """Stops the machine where it is."""
        self._socket.sendall(b"\x03")
        # SIGINT, as nothing else stopped it.
        answer = self._receive()
        if not answer.startswith("T02"):
            raise GdbError(f"stopped for another reason: {answer}")

    def wait_stop(self, timeout: float) -> bool:
        """Whether the machine came to a breakpoint in this time."""
        self._socket.settimeout(timeout)
        try:
            answer = self._receive()
        except TimeoutError:
            return False
        finally:
            self._socket.settimeout(self.timeout)
        self._stopped(answer)
        return True

    def _ask(self, packet: str) -> str:
        self._send(packet)
        answer = self._receive()
        if answer.startswith("E") or answer == "":
            raise GdbError(f"{packet}: {answer or 'not supported'}")
        return answer

    def _expect_ok(self, packet: str) -> None:
        answer = self._ask(packet)
        if answer != "OK":
            raise GdbError(f"{packet}: {answer}")

    @staticmethod
    def _stopped(answer: str) -> None:
        if not answer.startswith("T05"):
            raise GdbError(f"stopped for another reason: {answer}")

    def _send(self, packet: str) -> None:
        body = packet.encode()
        self._socket.sendall(b"$%s#%02x" % (body, sum(body) & 0xFF))

    def _receive(self) -> str:
        """The next packet; acknowledgements in between mean nothing on a reliable socket."""
        while True:
            start = self._buffer.find(b"$")
            end = self._buffer.find(b"#", start)
            if start >= 0 and 0 <= end <= len(self._buffer) - 3:
                body = self._buffer[start + 1 : end]
                if int(self._buffer[end + 1 : end + 3], 16) != sum(body) & 0xFF:
                    raise GdbError(f"damaged packet: {body!r}")
                self._buffer = self._buffer[end + 3 :]
                self._socket.sendall(b"+")
                return body.decode()
            received = self._socket.recv(4096)
            if not received:
                raise GdbError("the stub is gone")
            self._buffer += received
