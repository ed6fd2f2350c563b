# SPDX-License-Identifier: Apache-2.0
"""Records every flash operation of a device's life: bootloader's and application's.

The machine is stopped where a write or an erase begins, in MCUboot as well as in the application;
both run in place, so their breakpoints never meet. The flash is a file that QEMU shares, so what it
holds at such a stop is what a power cut before the operation leaves; the record keeps what changes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from cutting_flash import Flash, Operation
from cutting_gdb import PC, Gdb, Stub
from elftools.elf.elffile import ELFFile
from machine import Build, Machine
from rekindle import Running

# A device that has done nothing for this long, after its controller has finished, is at rest.
REST_S = 1.0
# How many operations lie between two comparisons of the whole flash.
COMPARE_EVERY = 50


class Watch:
    """A machine that stops at every flash operation."""

    def __init__(self, machine: Machine):
        self.machine = machine
        build = machine.build
        self._base = int(build.config["CONFIG_FLASH_BASE_ADDRESS"], 0)
        self._entries = {
            address: (actor, kind)
            for actor, directory in (("mcuboot", build.mcuboot), ("application", build.application))
            for kind, address in entries(directory / "zephyr.elf").items()
        }
        assert len(self._entries) == 4, "bootloader and application must not share an address"
        self._stub = Stub(machine)
        self.gdb: Gdb

    def power_on(self) -> None:
        self.gdb = self._stub.power_on()
        for address in self._entries:
            self.gdb.break_at(address)
        self.gdb.resume()

    def next(self, number: int, timeout: float) -> Operation | None:
        """Waits for the next operation; the machine stands before it then."""
        if not self.gdb.wait_stop(timeout):
            return None
        registers = self.gdb.registers()
        actor, kind = self._entries[registers[PC]]
        if kind == "erase":
            offset, length, data = registers[1], registers[2], b""
        else:
            offset, length = registers[1], registers[3]
            data = self.gdb.read(registers[2], length)
        return Operation(number, actor, kind, offset, length, data)

    def go_on(self) -> None:
        self.gdb.step()
        self.gdb.resume()

    def close(self) -> None:
        self.gdb.close()
        self._stub.close()


def entries(elf: Path) -> dict[str, int]:
    """Where the flash driver's functions begin."""
    return {kind: entry(elf, f"flash_sim_{kind}") for kind in ("write", "erase")}


def entry(elf: Path, function: str) -> int:
    """Where a function begins."""
    with elf.open("rb") as file:
        (symbol,) = ELFFile(file).get_section_by_name(".symtab").get_symbol_by_name(function)
        # The lowest bit says Thumb.
        return symbol["st_value"] & ~1


@dataclass
class Record:
    """A device's flash before an update, and everything that happened to it until the device was at rest."""

    name: str
    before: bytes
    write_block: int
    operations: list[Operation]
    # Images by MCUboot's version of them, as files hold them.
    old: bytes
    new: bytes
    # Whether the new image passes its self-test.
    good: bool
    # Update attempts on record before this one.
    attempts: int

    def flash_at(self, number: int) -> Flash:
        """The flash before the operation with this number."""
        flash = Flash(self.before, self.write_block)
        for operation in self.operations[:number]:
            flash.apply(operation)
        return flash

    @property
    def after(self) -> bytes:
        return bytes(self.flash_at(len(self.operations)).content)

    def first(self, phase: str) -> int:
        return next(op.number for op in self.operations if op.phase == phase)

    def phases(self) -> Counter[str]:
        return Counter(op.phase for op in self.operations)


def record(
    machine: Machine, push: Running, watch: Watch, until: int | None = None
) -> list[Operation]:
    """Every operation until the push has ended and the device is at rest, or until the machine stands
    before the one with a given number."""
    size = used(machine.build)
    shadow = Flash(machine.flash_path.read_bytes()[:size], machine.build.write_block)
    operations: list[Operation] = []
    while True:
        operation = watch.next(len(operations), REST_S)
        if operation is None:
            if push.process.poll() is None:
                continue
            break
        assert operation.end <= size, operation
        if operations and repeats(operation, operations[-1]):
            watch.go_on()
            continue
        operations.append(operation)
        if operation.number == until:
            return operations
        if operation.number % COMPARE_EVERY == 0:
            compare(machine, shadow)
        shadow.apply(operation)
        watch.go_on()
    compare(machine, shadow)
    return operations


def repeats(operation: Operation, last: Operation) -> bool:
    """The last operation once more changes nothing, so a cut in it is no case of its own: the driver
    programs nothing twice, and what is erased stays so."""
    return replace(operation, number=last.number) == last


def compare(machine: Machine, shadow: Flash) -> None:
    """What is recorded must be all that happens to the flash."""
    content = machine.flash_path.read_bytes()[: len(shadow.content)]
    # Byte by byte takes a second: only once it is needed.
    if content != shadow.content:
        different = [at for at, (a, b) in enumerate(zip(content, shadow.content)) if a != b]
        raise AssertionError(f"flash differs from its record at {different[:8]}")


def name_phases(build: Build, operations: list[Operation], before: Flash, new: bytes) -> list[Operation]:
    """Says of each operation what it is part of, from who did it, where, and what had happened before."""
    slot1 = build.partitions["slot1"]
    slot0 = build.partitions["slot0"]
    started = next(op.number for op in operations if op.actor == "mcuboot")
    image_end = slot1.offset + slot1.size - trailer_size(build)
    received = max(
        op.number
        for op in operations[:started]
        if op.kind == "write" and slot1.offset <= op.offset < image_end
    )
    flash = before.copy()
    named = []
    phase = ""
    for op in operations:
        if op.number <= received:
            phase = "upload"
        elif op.number < started:
            phase = "activation"
        elif op.actor == "mcuboot":
            if not named or named[-1].actor != "mcuboot":
                content = flash.content[slot0.offset : slot0.offset + len(new)]
                phase = "revert" if content == new else "swap"
        elif phase == "swap":
            phase = "first boot"
        elif phase == "revert":
            phase = "after the revert"
        elif phase == "first boot" and slot0.offset <= op.offset < slot0.offset + slot0.size:
            phase = "confirm"
        named.append(replace(op, phase=phase))
        flash.apply(op)
    return named


def trailer_size(build: Build) -> int:
    """At most this much of a slot's end is trailer: the sectors MCUboot never puts an image into."""
    sectors = int(build.config["CONFIG_REKINDLE_BOOT_MAX_SECTORS"])
    status = sectors * 2 * build.write_block
    return -(-(status + 256) // 4096) * 4096


def used(build: Build) -> int:
    """How much of the flash has partitions."""
    return max(p.offset + p.size for p in build.partitions.values())
