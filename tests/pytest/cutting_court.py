# SPDX-License-Identifier: Apache-2.0
"""Judges many points at once, each judge with a machine of its own, and sums up."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import random
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from cutting_docket import Docket
from cutting_flash import Tear
from cutting_judge import Case, Judge, Point, Verdict, Wrong, points
from cutting_record import Record
from machine import Build, Machine

# A short run takes this many points from a phase of many operations, and from one of few.
MANY, FEW = 24, 8
REPORT_EVERY = 50


def sample(record: Record, rng: random.Random) -> list[Point]:
    """Points of every phase; of a short one, like the activation, more than its share."""
    chosen = []
    for phase, operations in record.phases().items():
        candidates = [p for p in points(record) if record.operations[p.number].phase == phase]
        chosen += rng.sample(candidates, MANY if operations > 4 * FEW else FEW)
    return chosen


def share(every: list[Point], part: str) -> list[Point]:
    """`all` of them, or the n-th of m shares of them: `n/m`, from 1."""
    if part == "all":
        return every
    nth, of = map(int, part.split("/"))
    return every[nth - 1 :: of]


@dataclass
class Session:
    """What came of a number of points."""

    verdicts: list[Verdict] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    # Verdicts by what was judged: the flash's bytes, and all that is expected of them.
    known: dict[tuple, Verdict] = field(default_factory=dict)
    # Points that left what another one had left already.
    same: list[Point] = field(default_factory=list)

    def stranded(self) -> list[Point]:
        return [v.point for v in self.verdicts if v.end == "stranded"]

    def table(self, records: dict[str, Record]) -> str:
        """One line per phase: operations, points clean and torn, and how they ended."""
        rows = defaultdict(list)
        for verdict in self.verdicts:
            record = records[verdict.point.record]
            rows[record.name, record.operations[verdict.point.number].phase].append(verdict)
        lines = [f"{'record':8} {'phase':17} {'operations':>10} {'clean':>6} {'torn':>6}  ends"]
        for record in records.values():
            for phase, operations in record.phases().items():
                judged = rows[record.name, phase]
                clean = sum(v.point.tear is Tear.BEFORE for v in judged)
                ends = Counter(f"{v.end} {v.outcome}" for v in judged)
                told = ", ".join(f"{n} {end}" for end, n in ends.most_common())
                lines.append(
                    f"{record.name:8} {phase:17} {operations:10} {clean:6} {len(judged) - clean:6}  {told}"
                )
        return "\n".join(lines)


class Court:
    """Judges side by side."""

    def __init__(self, build: Build, directory: Path, address: str, probe: bytes, judges: int):
        self.directory = directory
        self.judges = []
        for number in range(judges):
            place = directory / f"judge-{number}"
            place.mkdir()
            self.judges.append(Judge(Machine(build, place), address, probe))

    def close(self) -> None:
        for judge in self.judges:
            judge.machine.close()

    def judge(
        self, records: dict[str, Record], cases: list[Point], seed: int, docket: Docket | None = None
    ) -> Session:
        """Judges what a docket does not hold yet."""
        session = Session()
        stand = docket.verdicts(seed) if docket else {}
        waiting: queue.SimpleQueue[Point] = queue.SimpleQueue()
        for point in cases:
            if point in stand:
                session.verdicts.append(stand[point])
            else:
                waiting.put(point)
        todo = waiting.qsize()
        threads = [
            threading.Thread(target=self._work, args=(judge, records, waiting, seed, session, docket))
            for judge in self.judges
        ]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            # Stopped from outside: each judge still ends the point it is at.
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting.get_nowait()
            for thread in threads:
                thread.join()
        minutes = (time.monotonic() - began) / 60
        print(
            f"{len(session.verdicts)} of {len(cases)} points judged, {todo} of them in {minutes:.1f} min,"
            f" {len(session.same)} of which left what another one leaves"
        )
        return session

    def _work(
        self,
        judge: Judge,
        records: dict[str, Record],
        waiting: queue.SimpleQueue[Point],
        seed: int,
        session: Session,
        docket: Docket | None,
    ) -> None:
        while True:
            try:
                point = waiting.get_nowait()
            except queue.Empty:
                return
            record = records[point.record]
            if waiting.qsize() % REPORT_EVERY == 0:
                print(f"{waiting.qsize()} points to go, {len(session.failures)} failed", flush=True)
            # What one point says on the console is of no interest to the next.
            judge.machine.console_path.write_bytes(b"")
            try:
                content = bytes(judge.torn_flash(record, point, seed).content)
                case = (hashlib.sha256(content).digest(), *Case(judge, record, point).expectations())
                # Cuts that leave the same are one case: an erase of what is erased, say.
                if verdict := session.known.get(case):
                    verdict = replace(verdict, point=point)
                    session.same.append(point)
                else:
                    verdict = session.known[case] = judge.judge_flash(record, point, content)
            except Exception as error:  # whatever it is, it is this point's
                session.failures.append(self._failure(judge, record, point, seed, error))
                continue
            session.verdicts.append(verdict)
            if docket:
                docket.enter(seed, verdict)

    def _failure(
        self, judge: Judge, record: Record, point: Point, seed: int, error: Exception
    ) -> str:
        """Keeps the flash as the cut left it, and says how to see it happen again."""
        kept = self.directory / f"{str(point).replace(':', '-')}.bin"
        kept.write_bytes(judge.torn_flash(record, point, seed).content)
        seen = str(error) if isinstance(error, Wrong) else repr(error)
        return (
            f"{seen}\n  in {record.operations[point.number]}\n"
            f"  again: REKINDLE_CUT={point} --seed {seed}; the flash: {kept}\n"
            f"{judge.machine.console()[-3000:]}"
        )
