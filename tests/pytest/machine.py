# SPDX-License-Identifier: Apache-2.0
"""A device under QEMU: the flash is a file, the link a TCP port, the console a log.

Run by itself it is a device to play with, and what `west build -t run` starts:
machine.py BUILD [--port 4850]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import socket
import subprocess
import sys
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
    """What a sysbuild left behind: MCUboot, an application, and how they are laid out."""

    def __init__(self, directory: Path, application: str = "*"):
        self.directory = directory
        self.mcuboot = directory / "mcuboot" / "zephyr"
        # An application's directory is named after its source directory, or as sysbuild was told.
        signed = sorted(directory.glob(f"{application}/zephyr/zephyr.signed.bin"))
        if not signed or not self.mcuboot.exists():
            raise FileNotFoundError(f"{directory} holds no MCUboot and signed image of a sysbuild")
        self.application = signed[0].parent
        self.config = self.read_config(self.application / ".config")
        devicetree = (self.application / "zephyr.dts").read_text()
        self.partitions = self._read_partitions(devicetree)
        # One flash holds the bootloader and both slots.
        self.write_block = int(re.search(r"write-block-size = < (\w+) >", devicetree)[1], 0)

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

    @property
    def load_address(self) -> int:
        """Where the first byte of the unsigned image lies in the core's address space."""
        return int(self.config["CONFIG_FLASH_BASE_ADDRESS"], 0) + self.partitions["slot0"].offset

    @staticmethod
    def read_config(path: Path) -> dict[str, str]:
        lines = path.read_text().splitlines()
        pairs = (line.split("=", 1) for line in lines if line.startswith("CONFIG_"))
        return {name: value.strip('"') for name, value in pairs}

    @staticmethod
    def _read_partitions(devicetree: str) -> dict[str, Partition]:
        found = re.findall(
            r"(\w+)_partition: partition@\w+ \{[^}]*?reg = < (\w+) (\w+) >;",
            devicetree,
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
        self.qemu_path = directory / "qemu.log"
        # What is written into the one comes out of the console; what the console says goes
        # into the log, and nowhere else.
        self._keyboard = directory / "console.in"
        self._screen = directory / "console.out"
        self.power_cycles = 0
        self._powered_at = 0
        self._process: subprocess.Popen | None = None
        # What QEMU connects the console to; a log of it is written in any case.
        self.console_device = f"pipe,path={self._keyboard.with_suffix('')}"
        self.extra_arguments: list[str] = []
        # What QEMU's user network is told. The board's own chip is connected to nothing.
        self.network = "restrict=on"
        # The port is ours for the machine's whole life; QEMU inherits it at each start.
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.console_path.touch()
        if not self._keyboard.exists():
            os.mkfifo(self._keyboard)
            self._screen.symlink_to(os.devnull)
        if not self.flash_path.exists():
            self.provision(build.signed_image)

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def smp_port(self) -> str:
        """The terminal behind the UART for SMP; another one after each power-on."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if match := re.search(r"redirected to (\S+) \(label smp\)", self.qemu_path.read_text()):
                return match[1]
            time.sleep(0.05)
        raise TimeoutError(self.qemu_path.read_text())

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

    def reflash(self, image: Path) -> None:
        """Puts bootloader and image into the flash as a programmer would: what is staged and
        what the journal says of it are erased, settings and files stay."""
        kept = {name: self.read_flash(name) for name in self.build.partitions}
        for name in ("boot", "slot0", "slot1", "journal"):
            kept.pop(name, None)
        self.provision(image)
        with self.flash_path.open("r+b") as flash:
            for name, content in kept.items():
                flash.seek(self.build.partitions[name].offset)
                flash.write(content)

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
            "-chardev", f"{self.console_device},id=console,logfile={self.console_path},logappend=on",
            "-serial", "chardev:console",
            "-chardev", f"socket,id=link,fd={fd},server=on,wait=off,nodelay=on",
            "-serial", "chardev:link",
            "-chardev", "pty,id=smp",
            "-serial", "chardev:smp",
            "-nic", f"user,model=lan9118,{self.network}",
            *self.extra_arguments,
        ]  # fmt: skip
        # The terminal is the console's where that wants it; what QEMU itself says goes to a log.
        interactive = self.console_device.startswith("stdio")
        with self.qemu_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=None if interactive else subprocess.DEVNULL,
                stdout=None if interactive else log,
                stderr=None if interactive else log,
                pass_fds=[fd],
            )

    def power_off(self) -> None:
        """Cuts the power: nothing gets a chance to finish."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.power_off()
        self._listener.close()

    def wait(self) -> int:
        """Waits until the emulator ends by itself; its exit code."""
        assert self._process is not None
        return self._process.wait()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def console(self, since: int = 0) -> str:
        return self.console_path.read_bytes()[since:].decode(errors="replace")

    def type(self, line: str) -> None:
        """Types a line at the console."""
        keyboard = os.open(self._keyboard, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(keyboard, line.encode() + b"\r")
        finally:
            os.close(keyboard)

    def shell(self, command: str, answer: str, timeout: float = 60.0) -> re.Match[str]:
        """Types a command until the console answers so: it may be that the answer is another one yet, and
        a shell that starts drops what came before."""
        end = time.monotonic() + timeout
        with contextlib.suppress(TimeoutError):
            self.wait_console(r"(?m)^> ", timeout=5)
        patience = 0.5
        # An answer to an earlier try counts, however late: some are given once.
        since = self.console_size()
        while True:
            self.type(command)
            with contextlib.suppress(TimeoutError):
                return self.wait_console(answer, since, timeout=patience)
            patience = min(2 * patience, 5)
            if time.monotonic() > end:
                raise TimeoutError(f"{command!r} is not answered with {answer!r}:\n{self.console(since)}")

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
            time.sleep(0.01)

    def read_flash(self, name: str) -> bytes:
        partition = self.build.partitions[name]
        with self.flash_path.open("rb") as flash:
            flash.seek(partition.offset)
            return flash.read(partition.size)


def bring_up_to_date(machine: Machine) -> None:
    """Flashes a build that is newer than what the device was last given, and nothing else:
    an update that the device took over its link stays."""
    build = machine.build
    contents = [(build.mcuboot / "zephyr.bin").read_bytes(), build.signed_image.read_bytes()]
    built = hashlib.sha256(b"".join(contents)).hexdigest()
    stamp = machine.flash_path.with_name("flashed-build")
    if not stamp.exists() or stamp.read_text() != built:
        machine.reflash(build.signed_image)
        stamp.write_text(built)
        print(f"Flashed {build.signed_image}", flush=True)


def run(arguments: argparse.Namespace) -> int:
    directory = arguments.build / "device"
    directory.mkdir(exist_ok=True)
    # Twister reads the console from a pair of pipes, and cares for no link.
    port = 0 if arguments.qemu_pipe else arguments.port
    try:
        machine = Machine(Build(arguments.build), directory, port)
    except FileNotFoundError as error:
        print(f"{error}: west build --sysbuild makes one", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Port {port} for the link: {error}. REKINDLE_PORT names another.", file=sys.stderr)
        return 1
    with contextlib.closing(machine), contextlib.suppress(KeyboardInterrupt):
        bring_up_to_date(machine)
        if arguments.qemu_pipe:
            machine.console_device = f"pipe,path={arguments.qemu_pipe}"
        else:
            machine.console_device = "stdio,mux=on"
            machine.extra_arguments = ["-mon", "chardev=console,mode=readline"]
        if arguments.pidfile:
            machine.extra_arguments += ["-pidfile", str(arguments.pidfile)]
        print(
            f"The console is here and in {machine.console_path}\n"
            f"The link is {machine.url}: rekindle discover --to {machine.url}\n"
            f"The flash is {machine.flash_path}: delete it for a factory-new device\n"
            "Ctrl-C cuts the power; Ctrl-A and H tells what else the console can do",
            flush=True,
        )
        machine.power_on()
        return machine.wait()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a built device under QEMU.")
    parser.add_argument("build", type=Path, help="a sysbuild directory")
    parser.add_argument(
        "--port",
        type=int,
        default=int(os.environ.get("REKINDLE_PORT", "4850")),
        help="TCP port of the link; the environment variable REKINDLE_PORT gives it too",
    )
    parser.add_argument("--qemu-pipe", type=Path, help="twister's pipes for the console")
    parser.add_argument("--pidfile", type=Path, help="where QEMU writes its process id")
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
