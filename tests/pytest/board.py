# SPDX-License-Identifier: Apache-2.0
"""A real board in the place of machine.Machine, as twister's hardware map describes it.

docs/rp2350.md says how to run the tests on one. What a board cannot do, for want of a
switch in its supply for example, skips the test that asks for it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from machine import Build, Machine


@dataclass(frozen=True)
class Wiring:
    """What the hardware map says of a board."""

    console: str
    baud: int
    runner: str | None
    device_id: str | None
    product: str | None
    # What else the runner is told.
    runner_params: tuple[str, ...]
    # Where the command line finds the device: serial:///dev/ttyUSB0?baud=115200
    link: str
    # Programs called with `on` or `off`; with a file, an address and a length; with nothing.
    power: str | None = None
    read: str | None = None
    erase: str | None = None

    @classmethod
    def from_options(cls, config: pytest.Config) -> Wiring:
        fixtures = dict(f.partition(":")[::2] for f in config.getoption("fixtures") or [])
        link = fixtures.get("rekindle_link")
        if not link:
            pytest.fail("the hardware map must name the link: fixtures: [rekindle_link:serial://…]")
        return cls(
            console=config.getoption("--device-serial"),
            baud=config.getoption("--device-serial-baud"),
            runner=config.getoption("--runner"),
            device_id=config.getoption("--device-id"),
            product=config.getoption("--device-product"),
            runner_params=tuple(config.getoption("--runner-params") or ()),
            link=link,
            power=fixtures.get("rekindle_power"),
            read=fixtures.get("rekindle_read"),
            erase=fixtures.get("rekindle_erase"),
        )

    def runner_arguments(self) -> list[str]:
        """For `west flash`: runners have different words for the probe they shall take."""
        if not self.runner:
            return []
        arguments = ["--runner", self.runner, *self.runner_params]
        if not self.device_id:
            return arguments
        if self.runner == "openocd":
            serial = {"STM32 STLink": "hla_serial", "STLINK-V3": "hla_serial", "EDBG CMSIS-DAP": "cmsis_dap_serial"}
            return [*arguments, "--cmd-pre-init", f"{serial.get(self.product, 'adapter serial')} {self.device_id}"]
        if self.runner == "esp32":
            return [*arguments, "--esp-device", self.device_id]
        if self.runner == "linkserver":
            return [*arguments, f"--probe={self.device_id}"]
        if self.runner == "stm32cubeprogrammer":
            return [*arguments, f"--tool-opt=sn={self.device_id}"]
        if self.runner in {"jlink", "nrfjprog", "nrfutil", "nrfutil_next", "probe-rs", "pyocd"}:
            return [*arguments, "--dev-id", self.device_id]
        # Such as uf2, which knows no probes.
        return arguments


class Board:
    """One board. Same interface as machine.Machine."""

    def __init__(self, build: Build, directory: Path, wiring: Wiring):
        self.build = build
        self.wiring = wiring
        self.url = wiring.link
        self._log = bytearray()
        self._powered_at = 0
        self._directory = directory
        # Open before the board boots for the first time, which flashing lets it do.
        self._console = self._open_console()
        self.provision(build.signed_image)

    def provision(self, image: Path) -> None:
        """Makes it factory-new: erased as far as the hardware map can, then flashed."""
        assert image == self.build.signed_image, "a board runs what was built, first"
        if self.wiring.erase:
            self._call(self.wiring.erase)
        command = ["west", "flash", "--build-dir", self.build.directory, "--skip-rebuild"]
        command += self.wiring.runner_arguments()
        subprocess.run(command, check=True, timeout=300)
        if self.wiring.power:
            self.power_off()

    def power_on(self) -> None:
        """Without a switch the board is on since it was flashed."""
        if self.wiring.power:
            self._powered_at = self.console_size()
            self._call(self.wiring.power, "on")

    def power_off(self) -> None:
        if not self.wiring.power:
            pytest.skip("nothing switches the board's supply (fixture rekindle_power)")
        self._call(self.wiring.power, "off")

    def close(self) -> None:
        self._console.close()

    @property
    def port(self) -> int:
        pytest.skip("the test speaks TCP to the device")

    def console(self, since: int = 0) -> str:
        return bytes(self._log[since:]).decode(errors="replace")

    def console_size(self) -> int:
        return len(self._log)

    def wait_console(
        self, pattern: str, since: int | None = None, timeout: float = 60.0
    ) -> re.Match[str]:
        end = time.monotonic() + timeout
        since = self._powered_at if since is None else since
        while True:
            if match := re.search(pattern, self.console(since)):
                return match
            if time.monotonic() > end:
                raise TimeoutError(f"no {pattern!r} on the console:\n{self.console(since)}")
            time.sleep(0.05)

    def type(self, line: str) -> None:
        """Types a line at the console."""
        self._console.write(line.encode() + b"\r")

    shell = Machine.shell

    def read_flash(self, name: str) -> bytes:
        """Reads a partition from outside, by a debug probe."""
        if not self.wiring.read:
            pytest.skip("nothing reads the board's flash (fixture rekindle_read)")
        partition = self.build.partitions[name]
        path = self._directory / f"{name}.bin"
        base = int(self.build.config["CONFIG_FLASH_BASE_ADDRESS"], 0)
        self._call(self.wiring.read, path, hex(base + partition.offset), str(partition.size))
        content = path.read_bytes()
        assert len(content) == partition.size
        return content

    def _open_console(self):
        import serial  # pyserial, which twister needs for hardware as well

        console = serial.Serial(self.wiring.console, self.wiring.baud, timeout=0.2)
        threading.Thread(target=self._read_console, args=(console,), daemon=True).start()
        return console

    def _read_console(self, console) -> None:
        while console.is_open:
            try:
                self._log += console.read(256)
            except (OSError, TypeError):
                return  # closed meanwhile

    @staticmethod
    def _call(program: str, *arguments: str | Path) -> None:
        subprocess.run([*shlex.split(program), *map(str, arguments)], check=True, timeout=120)
