# SPDX-License-Identifier: Apache-2.0
"""What CONFIG_REKINDLE=y adds to an application in C: against the same one without it."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from machine import Build
from rekindle import ROOT

# With the watchdog, and with Rust's core library built from its source.
FLASH_BUDGET = 24 << 10
# The frame pointers of a core library as rustup brings it (docs/size.md).
FRAME_POINTERS = 1_400
RAM_BUDGET = 8 << 10

# The simulated flash, from which code executes; everything else that is allocated is RAM.
FLASH_START, FLASH_END = 0x80000000, 0x80400000
ALLOCATED, NO_CONTENT = 2, 8


@dataclass(frozen=True)
class Size:
    flash: int
    ram: int

    @classmethod
    def of(cls, zephyr: Path) -> Size:
        """What lies in the slot, and what RAM is spoken for, stacks included."""
        elf = (zephyr / "zephyr.elf").read_bytes()
        assert elf[:6] == b"\x7fELF\x01\x01"
        start, entry, count = struct.unpack_from("<I10xHH", elf, 32)
        ram = 0
        for n in range(count):
            _, _, flags, address, _, size = struct.unpack_from("<6I", elf, start + n * entry)
            if flags & ALLOCATED and not FLASH_START <= address < FLASH_END:
                ram += size
        return cls((zephyr / "zephyr.bin").stat().st_size, ram)


@pytest.fixture(scope="module")
def with_update(request: pytest.FixtureRequest) -> Path:
    """The build at hand, of tests/cost."""
    return Path(request.config.getoption("--build-dir")) / "zephyr"


@pytest.fixture(scope="module")
def without(with_update: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same one with CONFIG_REKINDLE=n, and nothing else changed."""
    directory = tmp_path_factory.mktemp("without")
    board = Build.read_config(with_update / ".config")["CONFIG_BOARD_TARGET"]
    subprocess.run(
        [
            "west", "build", "--no-sysbuild", "--board", board, "--build-dir", directory, ROOT / "tests/cost",
            "--", "-DCONFIG_REKINDLE=n", "-DCONFIG_REKINDLE_WATCHDOG=n",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return directory / "zephyr"


def test_what_an_update_adds(with_update: Path, without: Path):
    # Written where the session is built for a target without frame pointers (modules/rekindle/cmake/rust_toolchain.cmake).
    lean = list((with_update.parent / "modules/rekindle").glob("*.json"))
    budget = FLASH_BUDGET if lean else FLASH_BUDGET + FRAME_POINTERS
    this, that = Size.of(with_update), Size.of(without)
    flash, ram = this.flash - that.flash, this.ram - that.ram
    print(f"flash: {this.flash:,} - {that.flash:,} = {flash:,} of {budget:,} bytes")
    print(f"RAM: {this.ram:,} - {that.ram:,} = {ram:,} of {RAM_BUDGET:,} bytes")
    assert flash <= budget
    assert ram <= RAM_BUDGET
