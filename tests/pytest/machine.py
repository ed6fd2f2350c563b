# SPDX-License-Identifier: Apache-2.0
"""A device under QEMU: the flash is a file, the link a TCP port, the console a log.

Run by itself it is a device to play with: machine.py BUILD [--port 4850]
"""

from __future__ import annotations

import argparse
import contextlib
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

RAM_SIZE = 16 << 20
VECTOR_ADDRESS = 0x10000000
ERASED = b"\xff"


@dataclass(frozen=True)
class Partition:
    offset: int
    size: int


class Build:
    """What a sysbuild left behind: MCUboot, the application, and how they are laid out."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.mcuboot = directory / "mcuboot" / "zephyr"
        # The application's directory is named after its source directory.
        self.application = next(
            d.parent for d in sorted(directory.glob("*/zephyr/zephyr.signed.bin"))
        )
        self.config = self._read_config(self.application / ".config")
        self.partitions = self._read_partitions(self.application / "zephyr.dts")

    @property
    def unsigned_image(self) -> Path:
        return self.application / "zephyr.bin"

    @property
    def signed_image(self) -> Path:
        return self.application / "zephyr.signed.bin"

    @property
    def signing_key(self) -> Path:
        return Path(self.config["CONFIG_MCUBOOT_SIGNATURE_KEY_FILE"])

    @property
    def header_size(self) -> int:
        return int(self.config["CONFIG_ROM_START_OFFSET"], 0)

    @staticmethod
    def _read_config(path: Path) -> dict[str, str]:
        lines = path.read_text().splitlines()
        pairs = (line.split("=", 1) for line in lines if line.startswith("CONFIG_"))
        return {name: value.strip('"') for name, value in pairs}

    @staticmethod
    def _read_partitions(path: Path) -> dict[str, Partition]:
        found = re.findall(
            r"(\w+)_partition: partition@\w+ \{[^}]*?reg = < (\w+) (\w+) >;",
            path.read_text(),
            re.DOTALL,
        )
        return {name: Partition(int(at, 16), int(size, 16)) for name, at, size in found}


class Machine:
    """One device. Its flash outlives any number of power cycles."""

    def __init__(self, build: Build, directory: Path, port: int = 0):
        self.build = build
        self.flash_path = directory / "flash.bin"
        self.console_path = directory / "console.log"
        self.vector_path = directory / "vector.bin"
        self.power_cycles = 0
        self._powered_at = 0
        self._process: subprocess.Popen | None = None
        # The port is ours for the machine's whole life; QEMU inherits it at each start.
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.console_path.touch()
        if not self.flash_path.exists():
            self.provision(build.signed_image)

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def provision(self, image: Path) -> None:
        """Makes the flash of a factory-new device that runs `image`."""
        mcuboot = (self.build.mcuboot / "zephyr.bin").read_bytes()
        flash = bytearray(ERASED * RAM_SIZE)
        flash[: len(mcuboot)] = mcuboot
        slot0 = self.build.partitions["slot0"]
        content = image.read_bytes()
        assert len(content) <= slot0.size
        flash[slot0.offset : slot0.offset + len(content)] = content
        self.flash_path.write_bytes(flash)
        # The core reads its stack pointer and entry point here after each reset.
        self.vector_path.write_bytes(mcuboot[:8])

    def power_on(self) -> None:
        assert self._process is None
        self.power_cycles += 1
        fd = self._listener.fileno()
        with self.console_path.open("ab") as log:
            log.write(b"\n=== power on %d ===\n" % self.power_cycles)
        self._powered_at = self.console_size()
        command = [
            "qemu-system-arm",
            "-machine", "mps2-an521,memory-backend=psram",
            "-cpu", "cortex-m33",
            "-m", str(RAM_SIZE >> 20),
            "-object",
            f"memory-backend-file,id=psram,size={RAM_SIZE},mem-path={self.flash_path},share=on",
            "-device", f"loader,file={self.vector_path},addr={VECTOR_ADDRESS:#x},force-raw=on",
            "-display", "none",
            "-monitor", "none",
            "-chardev", f"file,id=console,path={self.console_path},append=on",
            "-serial", "chardev:console",
            "-chardev", f"socket,id=link,fd={fd},server=on,wait=off",
            "-serial", "chardev:link",
            # The board's own network chip, connected to nothing.
            "-nic", "user,model=lan9118,restrict=on",
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[fd])

    def power_off(self) -> None:
        """Cuts the power: nothing gets a chance to finish."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.power_off()
        self._listener.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def console(self, since: int = 0) -> str:
        return self.console_path.read_bytes()[since:].decode(errors="replace")

    def console_size(self) -> int:
        return self.console_path.stat().st_size

    def wait_console(
        self, pattern: str, since: int | None = None, timeout: float = 60.0
    ) -> re.Match[str]:
        """Waits for something on the console, behind byte `since` or the last power-on."""
        end = time.monotonic() + timeout
        if since is None:
            since = self._powered_at
        while True:
            text = self.console(since)
            if match := re.search(pattern, text):
                return match
            if time.monotonic() > end:
                raise TimeoutError(f"no {pattern!r} on the console within {timeout} s:\n{text}")
            time.sleep(0.05)

    def read_flash(self, name: str) -> bytes:
        partition = self.build.partitions[name]
        with self.flash_path.open("rb") as flash:
            flash.seek(partition.offset)
            return flash.read(partition.size)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a built device under QEMU.")
    parser.add_argument("build", type=Path, help="a sysbuild directory")
    parser.add_argument("--port", type=int, default=4850, help="TCP port of the link")
    arguments = parser.parse_args()
    directory = arguments.build / "device"
    directory.mkdir(exist_ok=True)
    machine = Machine(Build(arguments.build), directory, arguments.port)
    shown = machine.console_size()
    with contextlib.closing(machine), contextlib.suppress(KeyboardInterrupt):
        machine.power_on()
        print(f"The link is {machine.url}, the flash {machine.flash_path}. Ctrl-C cuts the power.")
        while machine.running:
            text = machine.console(shown)
            shown += len(text.encode(errors="replace"))
            print(text, end="", flush=True)
            time.sleep(0.1)


if __name__ == "__main__":
    main()
