# SPDX-License-Identifier: Apache-2.0
"""Images made from one build: other versions and other keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

from machine import Build


def make_key(path: Path) -> Path:
    subprocess.run(["imgtool", "keygen", "-t", "ecdsa-p256", "-k", path], check=True)
    return path


def sign(
    build: Build, output: Path, *, version: str, key: Path | None = None, body: Path | None = None
) -> Path:
    """Signs the application once more, under another version or with another key."""
    subprocess.run(
        [
            "imgtool", "sign",
            "--key", key or build.signing_key,
            "--version", version,
            "--align", "4",
            "--header-size", hex(build.header_size),
            "--slot-size", hex(build.partitions["slot0"].size),
            body or build.unsigned_image,
            output,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return output
