# SPDX-License-Identifier: Apache-2.0
"""A controller under QEMU: a machine whose clients come over the network."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machine import Build, Machine
from rekindle import ROOT

sys.path.append(str(ROOT / "scripts/lib"))
from combined_uf2 import ERASED, SECTOR, decode  # noqa: E402

TCP, WEB = 4850, 80


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Controller(Machine):
    """`port` is its bus; clients use `url` and `web`."""

    def __init__(self, build: Build, directory: Path):
        super().__init__(build, directory)
        self._tcp, self._web, self._qmp = free_port(), free_port(), free_port()
        forwards = ((self._tcp, TCP), (self._web, WEB))
        self.network = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in forwards)
        self.extra_arguments = ["-qmp", f"tcp:127.0.0.1:{self._qmp},server=on,wait=off"]

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self._tcp}"

    @property
    def web(self) -> str:
        return f"ws://127.0.0.1:{self._web}/fusain"

    @property
    def clients_port(self) -> int:
        return self._tcp

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._tcp))

    def connect_web(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._web))

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Its processor stands still, and what comes over the network waits, to be there all at once."""
        with socket.create_connection(("127.0.0.1", self._qmp)) as qmp:
            answers = qmp.makefile("r")

            def execute(command: str) -> None:
                qmp.sendall(json.dumps({"execute": command}).encode())
                while "return" not in (answer := json.loads(answers.readline())):
                    assert "error" not in answer, answer

            execute("qmp_capabilities")
            execute("stop")
            yield
            execute("cont")

    def wait_ready(self) -> None:
        self.wait_console(r"store: read,")

    def write_flash_end(self, name: str, content: bytes) -> None:
        """Writes into the last bytes of a partition, while the machine is off."""
        assert not self.running
        partition = self.build.partitions[name]
        with self.flash_path.open("r+b") as flash:
            flash.seek(partition.offset + partition.size - len(content))
            flash.write(content)

    def factory_flash(self) -> None:
        """Puts combined.uf2 into the flash, while the machine is off, as a board's boot ROM does: whole sectors
        are erased, others stay."""
        assert not self.running
        base = int(self.build.config["CONFIG_FLASH_BASE_ADDRESS"], 0)
        pieces = decode((self.build.directory / "combined.uf2").read_bytes())
        with self.flash_path.open("r+b") as flash:
            for piece in pieces:
                flash.seek(piece.address - base)
                flash.write(piece.content.ljust(-(-len(piece.content) // SECTOR) * SECTOR, ERASED))
