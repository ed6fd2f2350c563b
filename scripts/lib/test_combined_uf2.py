# SPDX-License-Identifier: Apache-2.0
"""The UF2 file that carries bootloader and image, taken apart again."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import combined_uf2
from combined_uf2 import PAGE, Piece, decode, encode

BOOTLOADER = 0x10000000
SLOT = 0x10010000
FILES = 0x101C0000


def some_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


class CombinedUf2(unittest.TestCase):
    def test_every_byte_comes_back_where_it_belongs(self):
        # Ends of images are where a byte gets lost: one more and one less than whole pages.
        for size in (1, PAGE - 1, PAGE, PAGE + 1, 29_992, 65_536):
            with self.subTest(size=size):
                bootloader, image = some_bytes(size), some_bytes(2 * size + 1)
                boot, slot = decode(
                    encode([Piece(SLOT + PAGE, image), Piece(BOOTLOADER, bootloader)])
                )
                self.assertEqual((boot.address, slot.address), (BOOTLOADER, SLOT + PAGE))
                for piece, content in ((boot, bootloader), (slot, image)):
                    self.assertEqual(piece.content[: len(content)], content)
                    filler = piece.content[len(content) :]
                    self.assertLess(len(filler), PAGE)
                    self.assertEqual(filler, b"\xff" * len(filler))

    def test_blocks_are_what_the_boot_rom_takes(self):
        uf2 = encode([Piece(BOOTLOADER, some_bytes(PAGE + 1))])
        # Against the format's numbers, not against the code's own constants.
        self.assertEqual(len(uf2), 2 * 512)
        fields = struct.unpack_from("<8I", uf2, 512)
        self.assertEqual(
            fields,
            (0x0A324655, 0x9E5D5157, 0x2000, BOOTLOADER + 256, 256, 1, 2, 0xE48BFF59),
        )
        self.assertEqual(struct.unpack_from("<I", uf2, 1024 - 4), (0x0AB16F30,))

    def test_what_cannot_be_written_is_refused(self):
        for pieces in (
            [Piece(BOOTLOADER + 1, b"x")],
            [Piece(BOOTLOADER, b"")],
            [Piece(BOOTLOADER, some_bytes(SLOT - BOOTLOADER + 1)), Piece(SLOT, b"x")],
        ):
            with self.subTest(pieces=len(pieces)), self.assertRaises(ValueError):
                encode(pieces)

    def test_a_damaged_file_is_not_taken_for_a_good_one(self):
        uf2 = encode([Piece(BOOTLOADER, some_bytes(3 * PAGE))])
        for broken in (b"", uf2[:-1], uf2[512:], b"\0" + uf2[1:], uf2[:-1] + b"\0"):
            with self.assertRaises(ValueError):
                decode(broken)
        with self.assertRaises(ValueError):
            decode(uf2, family=0xE48BFF57)

    def run_program(self, directory: str, contents: dict[int, bytes], *options: str) -> list[Piece]:
        arguments = []
        for address, content in contents.items():
            path = Path(directory, f"{address:x}.bin")
            path.write_bytes(content)
            arguments.append(f"{address:#x}:{path}")
        output = Path(directory, "out.uf2")
        program = [sys.executable, combined_uf2.__file__, str(output), *arguments, *options]
        subprocess.run(program, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return decode(output.read_bytes())

    def test_the_program_writes_what_it_was_given(self):
        contents = {BOOTLOADER: some_bytes(5000), SLOT: some_bytes(7001)}
        with tempfile.TemporaryDirectory() as directory:
            pieces = self.run_program(directory, contents)
        self.assertEqual([piece.address for piece in pieces], list(contents))
        for piece in pieces:
            content = contents[piece.address]
            self.assertEqual(piece.content[: len(content)], content)

    def test_what_is_to_be_blank_is_written_as_erased_and_nothing_beside_it(self):
        contents = {BOOTLOADER: some_bytes(5000), SLOT: some_bytes(7001)}
        with tempfile.TemporaryDirectory() as directory:
            *_, blank = self.run_program(directory, contents, "--blank", f"{FILES:#x}:8192")
            self.assertEqual(blank, Piece(FILES, b"\xff" * 8192))
            # The boot ROM would erase what lies beside it; and an image is not to be erased.
            for other in (f"{FILES + PAGE:#x}:8192", f"{FILES:#x}:4095", f"{FILES:#x}:0", f"{SLOT:#x}:4096"):
                with self.subTest(blank=other), self.assertRaises(subprocess.CalledProcessError):
                    self.run_program(directory, contents, "--blank", other)


if __name__ == "__main__":
    unittest.main()
