# SPDX-License-Identifier: Apache-2.0
"""Images made from one build: other versions, other keys, other outcomes of the self-test."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from machine import Build

# The appliance's mark (app/appliance/src/self_test.rs): a label, the verdict, the code.
MARK = b"rekindle-self-test:"
GOOD = b"g\0\0\0\0"
SILENT = b"s\0\0\0\0"


def bad(code: int) -> bytes:
    """The verdict of a self-test that fails with `code`."""
    return b"b" + struct.pack("<i", code)


def make_key(path: Path) -> Path:
    subprocess.run(["imgtool", "keygen", "-t", "ecdsa-p256", "-k", path], check=True)
    return path


class Images:
    """Makes signed updates in a directory."""

    def __init__(self, build: Build, directory: Path):
        self.build = build
        self.directory = directory
        self._body = build.unsigned_image.read_bytes()
        assert self._body.count(MARK) == 1, "the image must carry the self-test's mark once"

    def make(self, version: str, verdict: bytes = GOOD, key: Path | None = None) -> Path:
        """An update whose self-test ends as `verdict` says, signed by the trusted key or `key`."""
        at = self._body.index(MARK) + len(MARK)
        body = self._body[:at] + verdict + self._body[at + len(verdict) :]
        assert len(body) == len(self._body)
        name = version.replace("+", "_")
        unsigned = self.directory / f"{name}.bin"
        signed = self.directory / f"{name}.signed.bin"
        unsigned.write_bytes(body)
        subprocess.run(
            [
                "imgtool", "sign",
                "--key", key or self.build.signing_key,
                "--version", version,
                "--align", str(self.build.write_block),
                "--header-size", hex(self.build.header_size),
                "--slot-size", hex(self.build.partitions["slot0"].size),
                unsigned,
                signed,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return signed
