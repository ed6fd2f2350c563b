# SPDX-License-Identifier: Apache-2.0
"""The store's shims over a file system that fails, on the host: tests/store."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from rekindle import ROOT

HERE = ROOT / "tests/store"
MODULE = ROOT / "modules/rekindle"
# What the store includes of Zephyr; fakes.h stands in for all of it.
HEADERS = ("fs/fs.h", "fs/littlefs.h", "kernel.h", "storage/flash_map.h", "sys/util.h")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for this machine")
def test_the_store_tells_what_it_lost(tmp_path: Path):
    for header in HEADERS:
        place = tmp_path / "zephyr" / header
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    program = tmp_path / "store"
    subprocess.run(
        [
            "cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined",
            "-include", HERE / "fakes.h", f"-I{tmp_path}", f"-I{MODULE / 'include'}",
            HERE / "main.c", MODULE / "src/controller/store.c", "-o", program,
        ],
        check=True,
    )  # fmt: skip
    ran = subprocess.run([program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
