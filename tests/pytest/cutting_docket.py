# SPDX-License-Identifier: Apache-2.0
"""What a long run keeps: the lives it judges, and each verdict as soon as it stands.

A run that was stopped goes on where it was. Verdicts of other seeds or of another build are not
taken over: they are of other points.
"""

from __future__ import annotations

import hashlib
import pickle
import threading
from pathlib import Path

from cutting_judge import Point, Verdict
from machine import Build


class Docket:
    """A directory that outlives the run."""

    def __init__(self, directory: Path, build: Build):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        built = (build.mcuboot / "zephyr.bin").read_bytes() + build.signed_image.read_bytes()
        stamp = directory / "build"
        digest = hashlib.sha256(built).hexdigest()
        if not stamp.exists():
            stamp.write_text(digest)
        assert stamp.read_text() == digest, f"{directory} is of another build"
        self._life = directory / "life"
        self._verdicts = directory / "verdicts"
        self._verdicts.touch()
        self._lock = threading.Lock()

    def life(self) -> tuple | None:
        """What `keep_life` was given."""
        return pickle.loads(self._life.read_bytes()) if self._life.exists() else None

    def keep_life(self, life: tuple) -> None:
        whole = self._life.with_suffix(".new")
        whole.write_bytes(pickle.dumps(life))
        whole.rename(self._life)

    def seed(self) -> int | None:
        """The seed of the verdicts that stand."""
        lines = self._verdicts.read_text().splitlines()
        return int(lines[-1].split()[0]) if lines else None

    def verdicts(self, seed: int) -> dict[Point, Verdict]:
        found = {}
        for line in self._verdicts.read_text().splitlines():
            of, point, end, outcome, seconds = line.split()
            if int(of) == seed:
                found[Point.parse(point)] = Verdict(Point.parse(point), end, outcome, float(seconds))
        return found

    def enter(self, seed: int, verdict: Verdict) -> None:
        line = f"{seed} {verdict.point} {verdict.end} {verdict.outcome} {verdict.seconds:.2f}\n"
        with self._lock, self._verdicts.open("a") as file:
            file.write(line)
