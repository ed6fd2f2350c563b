# SPDX-License-Identifier: Apache-2.0
"""The smallest image MCUboot starts: it says so on the console and resets the machine.

An update of a few hundred bytes takes the same way as any other, a hundred times as fast. It never
confirms itself, so its own reset takes it back.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from machine import Build

TEXT = "probe: running"
VERSION = (77, 0, 0, 0)

# The console's data register, secure alias (AN521 application note, CMSDK UART 0); MCUboot has
# switched the transmitter on.
UART_DATA = 0x50200000
STACK = 0x38001000
# Armv8-M's application interrupt and reset control: the key, and SYSRESETREQ.
AIRCR, RESET = 0xE000ED0C, 0x05FA0004
# It takes no interrupt, so its vector table may lie anywhere and the header has no need to be a
# whole vector table's alignment long.
HEADER_SIZE = 0x20


def body(start: int) -> bytes:
    """Vector table and code of an image whose vector table lies at `start`."""
    code = struct.pack(
        "<14H",
        0x4806,  # ldr r0, [pc, #24]   the UART
        0x4907,  # ldr r1, [pc, #28]   the text
        0x780A,  # next: ldrb r2, [r1]
        0xB12A,  # cbz r2, end
        0x6843,  # wait: ldr r3, [r0, #4]
        0x07DB,  # lsls r3, r3, #31    is there room?
        0xD4FC,  # bmi wait
        0x6002,  # str r2, [r0]
        0x3101,  # adds r1, #1
        0xE7F7,  # b next
        0x4803,  # end: ldr r0, [pc, #12]   the reset
        0x4904,  # ldr r1, [pc, #16]
        0x6001,  # str r1, [r0]
        0xE7FE,  # rest: b rest
    )
    vectors = struct.pack("<II", STACK, start + 8 | 1)
    literals = 4 * 4
    text = start + len(vectors) + len(code) + literals
    return vectors + code + struct.pack("<4I", UART_DATA, text, AIRCR, RESET) + TEXT.encode() + b"\r\n\0\0"


def make(build: Build, directory: Path) -> Path:
    """Signs the probe with the key the bootloader trusts."""
    unsigned = directory / "probe.bin"
    signed = directory / "probe.signed.bin"
    slot0 = build.partitions["slot0"]
    content = body(int(build.config["CONFIG_FLASH_BASE_ADDRESS"], 0) + slot0.offset + HEADER_SIZE)
    unsigned.write_bytes(bytes(HEADER_SIZE) + content)
    subprocess.run(
        [
            "imgtool", "sign",
            "--key", build.signing_key,
            "--version", ".".join(map(str, VERSION[:3])),
            "--align", "4",
            "--header-size", hex(HEADER_SIZE),
            "--slot-size", hex(slot0.size),
            unsigned,
            signed,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return signed
