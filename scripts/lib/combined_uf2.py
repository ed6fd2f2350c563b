# SPDX-License-Identifier: Apache-2.0
"""Puts several images into one UF2 file, each at its own address.

    combined_uf2.py OUTPUT ADDRESS:FILE... [--blank ADDRESS:SIZE]

Zephyr's own UF2 of an application is unsigned and starts where MCUboot belongs. This one
holds MCUboot and the signed image, so that a board that is a USB drive in its boot ROM
(Raspberry Pi Pico 2) gets both by one copy. Only flash that holds one of the images is
written, and what is to be blank: what lies in other sectors, settings above all, stays.
"""

from __future__ import annotations

import argparse
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

MAGIC_START = (0x0A324655, 0x9E5D5157)
MAGIC_END = 0x0AB16F30
FAMILY_PRESENT = 0x00002000
# Arm code, secure, as the RP2350's boot ROM knows it.
RP2350_ARM_S = 0xE48BFF59
BLOCK = 512
DATA_FIELD = 476
# What the boot ROM programs at once; a block must be one whole page.
PAGE = 256
# What it erases at once, before it programs the first page of it.
SECTOR = 4096
ERASED = b"\xff"
HEADER = struct.Struct("<8I")


@dataclass(frozen=True)
class Piece:
    """Content for a place in the address space."""

    address: int
    content: bytes

    @property
    def end(self) -> int:
        return self.address + len(self.content)


def encode(pieces: list[Piece], family: int = RP2350_ARM_S) -> bytes:
    """The UF2 file that writes `pieces`; the last page of each is filled up as if erased."""
    pages = []
    end = 0
    for piece in sorted(pieces, key=lambda p: p.address):
        if piece.address % PAGE:
            raise ValueError(f"{piece.address:#x} is not the start of a page")
        if not piece.content:
            raise ValueError(f"nothing to write at {piece.address:#x}")
        if piece.address < end:
            raise ValueError(f"what goes to {piece.address:#x} overlaps what lies before it")
        end = piece.end
        for offset in range(0, len(piece.content), PAGE):
            page = piece.content[offset : offset + PAGE].ljust(PAGE, ERASED)
            pages.append((piece.address + offset, page))
    return b"".join(
        HEADER.pack(*MAGIC_START, FAMILY_PRESENT, address, PAGE, number, len(pages), family)
        + page.ljust(DATA_FIELD, b"\0")
        + struct.pack("<I", MAGIC_END)
        for number, (address, page) in enumerate(pages)
    )


def decode(uf2: bytes, family: int = RP2350_ARM_S) -> list[Piece]:
    """What a UF2 file writes, adjoining blocks joined; anything unexpected is an error."""
    if not uf2 or len(uf2) % BLOCK:
        raise ValueError("a UF2 file is a number of whole blocks")
    pieces: list[Piece] = []
    total = len(uf2) // BLOCK
    for number in range(total):
        block = uf2[number * BLOCK : (number + 1) * BLOCK]
        *magic, flags, address, size, index, count, owner = HEADER.unpack_from(block)
        if tuple(magic) != MAGIC_START or struct.unpack("<I", block[-4:])[0] != MAGIC_END:
            raise ValueError(f"block {number} is none")
        if (index, count) != (number, total):
            raise ValueError(f"block {number} says it is {index} of {count}")
        if flags != FAMILY_PRESENT or owner != family or size > DATA_FIELD:
            raise ValueError(f"block {number} is not for {family:#x}")
        content = block[HEADER.size : HEADER.size + size]
        if pieces and pieces[-1].end == address:
            pieces[-1] = Piece(pieces[-1].address, pieces[-1].content + content)
        else:
            pieces.append(Piece(address, content))
    return pieces


def parse_piece(text: str) -> Piece:
    address, _, path = text.partition(":")
    return Piece(int(address, 0), Path(path).read_bytes())


def parse_blank(text: str) -> Piece:
    """Flash as it is after an erase; whole sectors, for the boot ROM erases no less."""
    address, size = (int(number, 0) for number in text.split(":"))
    if address % SECTOR or size % SECTOR or size <= 0:
        raise ValueError(f"{text} is no number of whole sectors")
    return Piece(address, ERASED * size)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("pieces", nargs="+", type=parse_piece, metavar="ADDRESS:FILE")
    parser.add_argument(
        "--blank", action="append", default=[], type=parse_blank, metavar="ADDRESS:SIZE", help="sectors to erase"
    )
    arguments = parser.parse_args()
    pieces = arguments.pieces + arguments.blank
    try:
        uf2 = encode(pieces)
    except ValueError as error:
        print(f"{arguments.output}: {error}", file=sys.stderr)
        return 1
    arguments.output.write_bytes(uf2)
    for piece in pieces:
        print(f"{arguments.output.name}: {len(piece.content)} bytes at {piece.address:#010x}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
