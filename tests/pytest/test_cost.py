# SPDX-License-Identifier: Apache-2.0
"""What CONFIG_REKINDLE=y adds to an application in C: against the same one without it."""

from __future__ import annotations

import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from images import Images
from machine import Build, Machine
from rekindle import DONE, ROOT, Rekindle

# The goal for flash is 24 KiB; docs/size.md says how far it is. Until then it may not grow.
FLASH_CEILING = 34_500
RAM_BUDGET = 8 << 10
# Of the session's stack an update must leave so much untouched.
STACK_SPARE = 512

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
def without(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Size:
    """The application of the build at hand with CONFIG_REKINDLE=n, and nothing else changed."""
    directory = tmp_path_factory.mktemp("without")
    fragment = directory / "without.conf"
    fragment.write_text(
        "CONFIG_REKINDLE=n\n"
        "CONFIG_BOOTLOADER_MCUBOOT=y\n"
        "CONFIG_MCUBOOT_BOOTLOADER_MODE_SWAP_USING_OFFSET=y\n"
        f'CONFIG_MCUBOOT_SIGNATURE_KEY_FILE="{build.signing_key}"\n'
    )
    subprocess.run(
        [
            "west", "build", "--no-sysbuild", "--board", build.config["CONFIG_BOARD_TARGET"],
            "--build-dir", directory / "build", ROOT / "app/appliance-c",
            "--", f"-DEXTRA_CONF_FILE={fragment}",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return Size.of(directory / "build" / "zephyr")


def test_what_an_update_adds(build: Build, without: Size):
    with_update = Size.of(build.application)
    flash, ram = with_update.flash - without.flash, with_update.ram - without.ram
    print(f"flash: {with_update.flash:,} - {without.flash:,} = {flash:,} of {FLASH_CEILING:,} bytes")
    print(f"RAM: {with_update.ram:,} - {without.ram:,} = {ram:,} of {RAM_BUDGET:,} bytes")
    assert flash <= FLASH_CEILING
    assert ram <= RAM_BUDGET


def test_the_stack_is_large_enough(machine: Machine, images: Images, rekindle: Rekindle):
    """All of an update, with the stack painted: what is counted above is what is needed."""
    assert rekindle.push(images.make("1.0.0")).exit_code == DONE
    spare = [int(n) for n in re.findall(r"(\d+) bytes of stack to spare", machine.console())]
    assert spare
    size = machine.build.config["CONFIG_REKINDLE_STACK_SIZE"]
    print(f"stack: {size} bytes, {min(spare)} never used")
    assert min(spare) >= STACK_SPARE
