# SPDX-License-Identifier: Apache-2.0
"""Boots what a power cut left and judges it: which image runs, what the device says of it, whether it takes
another update.

Everything is judged by the flash itself and by what the bootloader tells on the console, never by
what the device remembers.
"""

from __future__ import annotations

import random
import re
import struct
import time
from dataclasses import dataclass

import cutting_link as wire
from cutting_flash import TORN, Flash, Tear
from cutting_link import DeviceLink, Info
from cutting_probe import TEXT
from cutting_record import Record
from machine import Machine

# The trailer's magic; where fields are larger than 8 bytes it is another one, behind their size.
MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
MAGIC_SIZED = bytes.fromhex("2de15d29410b8d77679c110f1f8a")
SET, UNSET = 0x01, 0xFF
REVERT = 4
SECTOR = 4096
# A write that the session holds back until it is whole.
PAGE = 256
PATIENCE_S = 120.0
# How long what is told may lag behind the flash, in answers and in seconds.
LAG = 5
LAG_S = 0.5
# How the image that fails does: the stage of its self-test and the code.
FAILURE = 1, -17
BOOTLOADER, STARTED, LEAVING = "Booting MCUboot", "appliance: address", "going back"


class Wrong(AssertionError):
    """The device is not as it must be after any power cut."""


@dataclass(frozen=True)
class Point:
    """Power cut in one operation."""

    record: str
    number: int
    tear: Tear

    def __str__(self) -> str:
        return f"{self.record}:{self.number}:{self.tear.value}"

    @staticmethod
    def parse(text: str) -> Point:
        record, number, tear = text.split(":")
        return Point(record, int(number), Tear(tear))


@dataclass(frozen=True)
class Verdict:
    """What became of one point."""

    point: Point
    # "old" or "new" runs and everything is as it must be; "stranded": all but that MCUboot has lost the revert.
    end: str
    outcome: str
    seconds: float


@dataclass(frozen=True)
class Trailer:
    """The flags at a slot's end, as MCUboot's documentation has them (design.md, image trailer)."""

    magic: bytes
    image_ok: int
    copy_done: int
    swap_info: int

    @staticmethod
    def of(slot: bytes, write_block: int) -> Trailer:
        field = max(8, write_block)
        flags = len(slot) - -(-16 // field) * field
        return Trailer(slot[-16:], slot[flags - field], slot[flags - 2 * field], slot[flags - 3 * field])

    @property
    def good(self) -> bool:
        return self.magic == MAGIC or self.magic[2:] == MAGIC_SIZED

    @property
    def revert_due(self) -> bool:
        """What MCUboot's table of swap types asks of the primary trailer."""
        return self.good and self.copy_done == SET and self.image_ok == UNSET

    @property
    def swap_type(self) -> int:
        """What the last swap was; the upper half is the number of the image."""
        return self.swap_info & 0x0F if self.good else 0

    @property
    def copy_done_torn(self) -> bool:
        return self.copy_done not in (SET, UNSET)


def failure_note(record: Record) -> int:
    """The operation that notes the failure of an image's self-test: a record of that kind in the journal."""
    note = struct.pack("<BBHIi", 6, 1, 0xFFFF, *FAILURE)
    return next(op.number for op in record.operations if op.phase == "first boot" and note in op.data)


def image_hash(image: bytes) -> bytes:
    """The SHA-256 TLV of an image file."""
    header, protected, body = struct.unpack_from("<HHI", image, 8)
    at = header + body + protected
    (total,) = struct.unpack_from("<H", image, at + 2)
    end, at = at + total, at + 4
    while at < end:
        kind, length = struct.unpack_from("<HH", image, at)
        if kind == 0x10:
            return image[at + 4 : at + 4 + length]
        at += 4 + length
    raise ValueError("an image without hash")


def image_version(image: bytes) -> str:
    return ".".join(map(str, struct.unpack_from("<BBH", image, 20)))


class Judge:
    """One machine that snapshots are booted on."""

    def __init__(self, machine: Machine, address: str, probe: bytes):
        self.machine = machine
        self.address = address
        self.probe = probe
        self.slot0 = machine.build.partitions["slot0"]
        self.slot1 = machine.build.partitions["slot1"]
        self.write_block = machine.build.write_block

    def judge(self, record: Record, point: Point, seed: int) -> Verdict:
        """Boots the point's flash; `Wrong` says what is not as it must be."""
        return self.judge_flash(record, point, self.torn_flash(record, point, seed).content)

    @staticmethod
    def torn_flash(record: Record, point: Point, seed: int) -> Flash:
        """What the cut leaves. Each point tears by its own numbers, whatever else is judged in the same run."""
        flash = record.flash_at(point.number)
        rng = random.Random(f"{seed} {point}")
        flash.tear(record.operations[point.number], point.tear, rng)
        return flash

    def judge_flash(self, record: Record, point: Point, content: bytes) -> Verdict:
        began = time.monotonic()
        with self.machine.flash_path.open("r+b") as file:
            file.write(content)
        case = Case(self, record, point)
        try:
            return case.run(began)
        finally:
            case.close()

    def slots(self) -> tuple[bytes, bytes]:
        return self.machine.read_flash("slot0"), self.machine.read_flash("slot1")


class Case:
    """One point in the course of being judged."""

    def __init__(self, judge: Judge, record: Record, point: Point):
        self.judge = judge
        self.machine = judge.machine
        self.record = record
        self.point = point
        self.images = {"old": record.old, "new": record.new, "probe": judge.probe}
        self.hashes = {image_hash(image): name for name, image in self.images.items()}
        self.versions = {image_version(image): name for name, image in self.images.items()}
        # Images that have run since they were sent.
        phase = record.operations[point.number].phase
        self.ran = {"old"} if phase in ("upload", "activation", "swap") else {"old", "new"}
        self.requested = phase not in ("upload", "activation")
        self.link: DeviceLink | None = None

    def expectations(self) -> tuple:
        """All that is held against the device beside its flash."""
        return self.record.name, frozenset(self.ran), self.requested, self.written()

    def close(self) -> None:
        if self.link:
            self.link.close()
        self.machine.power_off()

    def run(self, began: float) -> Verdict:
        self.power_on()
        info = self.settle()
        end = self.running()
        self.require(end in ("old", "new"), f"{end} of the images runs")
        stranded = end == "new" and not self.record.good
        # An image that fails its self-test stays for one reason only, which is MCUboot's.
        torn = Trailer.of(self.judge.slots()[0], self.judge.write_block).copy_done_torn
        self.require(torn or not stranded, f"the image that fails stays: {info}")
        self.resume()
        link = self.link
        link.start(self.judge.probe)
        link.send(self.judge.probe, 0)
        link.verify()
        since = self.machine.console_size()
        link.activate()
        self.machine.wait_console(TEXT, since, timeout=PATIENCE_S)
        self.ran.add("probe")
        # It resets itself, confirmed by nobody: MCUboot takes it back.
        self.wait_start(TEXT, since)
        after = self.settle()
        self.require(self.running() == end, f"{end} ran, and after the next update's revert {self.running()}")
        told = (after.attempt, after.target, after.outcome)
        expected = info.attempt + 1, image_hash(self.judge.probe), "REVERTED"
        self.require(told == expected, f"the next update was reverted; the device says {after}")
        seconds = time.monotonic() - began
        return Verdict(self.point, "stranded" if stranded else end, info.outcome, seconds)

    def require(self, condition: bool, otherwise: str) -> None:
        if not condition:
            raise Wrong(f"{self.point}: {otherwise}")

    def power_on(self) -> None:
        self._since = self.machine.console_size()
        self.machine.power_on()
        self.link = DeviceLink(self.machine.port, self.judge.address)
        self.wait_start(BOOTLOADER, self._since)

    def wait_start(self, behind: str, since: int) -> None:
        """Until an appliance has started, behind something else on the console: what is asked earlier may be
        lost in a reset, and asking again takes longer than starting."""
        try:
            self.machine.wait_console(f"(?s){behind}.*{STARTED}", since, timeout=PATIENCE_S)
        except TimeoutError as error:
            raise Wrong(f"{self.point}: {error}") from None

    def settle(self) -> Info:
        """Asks until nothing is under test any more. What the device says all the while must be true."""
        end = time.monotonic() + PATIENCE_S
        lies, lying_since = 0, 0.0
        while time.monotonic() < end:
            said = self.machine.console(self._since)
            leaving = said.rfind(LEAVING) > said.rfind(BOOTLOADER)
            told, slots = self.look()
            lie = self.lie(told, *slots)
            if lie is None:
                lies = 0
                if told.confirmed and not told.swap_pending:
                    return told
            else:
                # A flag and its record are two writes: between them flash is ahead of what is told.
                lying_since = lying_since if lies else time.monotonic()
                lies += 1
                self.require(lies < LAG or time.monotonic() < lying_since + LAG_S, lie)
            if leaving and lie is None:
                # It resets when nobody asks it anything any more.
                self.wait_start(f"{LEAVING}.*{BOOTLOADER}", self._since + len(said[: said.rfind(LEAVING)].encode()))
            else:
                time.sleep(0.02)
        raise Wrong(f"{self.point}: still under test: {told}")

    def look(self) -> tuple[Info, tuple[bytes, bytes]]:
        """What the device says, and the slots at the same moment: it says so before and after."""
        while True:
            try:
                before = self.link.info(PATIENCE_S)
                slots = self.judge.slots()
                if self.link.info(PATIENCE_S) == before:
                    return before, slots
            except wire.Silent:
                raise Wrong(f"{self.point}: no answer") from None

    def running(self, slot0: bytes | None = None) -> str:
        """The image in the primary slot; there is none while MCUboot swaps."""
        slot0 = slot0 or self.judge.slots()[0]
        return next((name for name, image in self.images.items() if slot0.startswith(image)), "none")

    def started(self) -> set[str]:
        """Images that MCUboot says it has started since the power came."""
        versions = re.findall(r"Image version: v([\d.]+)", self.machine.console(self._since))
        return {self.versions.get(version, version) for version in versions}

    def lie(self, info: Info, slot0: bytes, slot1: bytes) -> str | None:
        """What is not so."""
        running = self.running(slot0)
        if self.hashes.get(info.image_hash) != running:
            return f"{running} runs, not what the device says: {info}"
        primary = Trailer.of(slot0, self.judge.write_block)
        if info.confirmed == primary.revert_due:
            return f"{running} runs, {primary}, and the device says {info}"
        self.ran.update(self.started())
        truth = self.true_outcomes(info, slot0, slot1)
        if info.outcome not in truth:
            return f"{running} runs, and the device says {info}; it could say {truth}"
        if info.outcome == "REVERTED" and self.failure_noted(info) and (info.stage, info.code) != FAILURE:
            return f"the failure {FAILURE} was noted, and the device says {info}"
        return None

    def failure_noted(self, info: Info) -> bool:
        """Whether the image that the report is about had noted its failure, before the cut or since."""
        if self.record.good or info.target != image_hash(self.record.new):
            return False
        said = self.machine.console(self._since)
        # It resets itself when the note is on flash.
        left = LEAVING in said and BOOTLOADER in said[said.index(LEAVING) :]
        return left or self.point.number > failure_note(self.record)

    def true_outcomes(self, info: Info, slot0: bytes, slot1: bytes) -> set[str]:
        """What can truly be said of the attempt that the device reports."""
        primary = Trailer.of(slot0, self.judge.write_block)
        secondary = Trailer.of(slot1, self.judge.write_block)
        running = self.running(slot0)
        # Never UNKNOWN: that is for a device whose flash somebody else could write to.
        outcomes = set()
        noted = info.attempt - self.record.attempts
        if noted <= 0 and self.requested:
            # The attempt stands in the journal before the bootloader is asked.
            return set()
        if info.target is None:
            return {"NONE"} if info.attempt == 0 else set()
        target = self.hashes.get(info.target)
        if target is None:
            return set()
        if secondary.good:
            outcomes.add("PENDING")
        if running == target:
            outcomes.add("UNDER_TEST" if primary.revert_due else "CONFIRMED")
        else:
            # A cut right behind "copy done" is reverted before the image ever came to run.
            gone_back = target in self.ran or primary.swap_type == REVERT
            outcomes.add("REVERTED" if gone_back else "NOT_ATTEMPTED")
        return outcomes

    def resume(self) -> None:
        """An unfinished update goes on where it was, at most a sector back."""
        if self.link.state() not in (wire.RECEIVING, wire.RECEIVED, wire.VERIFIED):
            return
        slot1 = self.judge.slots()[1][SECTOR:]
        new = self.record.new
        offset = self.link.start(new)
        self.require(slot1[:offset] == new[:offset], f"resumed at {offset}, over bytes that are not the image's")
        written = self.written()
        self.require(offset + SECTOR + PAGE >= written, f"{written} bytes were written, resumed at {offset}")
        self.link.abort()

    def written(self) -> int:
        """How far the upload had come. Flash alone does not tell: an earlier image may be the same there."""
        slot1 = self.judge.slot1
        uploaded = (
            op.end - slot1.offset - SECTOR
            for op in self.record.operations[: self.point.number]
            if op.phase == "upload" and op.kind == "write" and 0 <= op.offset - slot1.offset < slot1.size
        )
        return min(max(uploaded, default=0), len(self.record.new))


def points(record: Record) -> list[Point]:
    """Every point of a record: each operation left undone, and torn in every way that makes a difference."""
    found = []
    for operation in record.operations:
        found.append(Point(record.name, operation.number, Tear.BEFORE))
        found += [Point(record.name, operation.number, tear) for tear in TORN]
    return found
