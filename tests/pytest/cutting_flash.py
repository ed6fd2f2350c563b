# SPDX-License-Identifier: Apache-2.0
"""Flash content as a list of operations makes it, and what an interrupted one leaves behind.

The rules are those of the flash simulator under the devices, the tears those of the simulation
(rust/rekindle-sim/src/flash/tear.rs): an interrupted write has cleared some of the bits it should
have, an interrupted erase has set some of those it should have.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

ERASED = 0xFF


class Tear(Enum):
    """How far the operation came that the power went away in."""

    BEFORE = "before"
    PREFIX = "prefix"
    SUBSET = "subset"
    BITS = "bits"


TORN = (Tear.PREFIX, Tear.SUBSET, Tear.BITS)


@dataclass(frozen=True)
class Operation:
    """One write or erase, as it reached the flash driver."""

    number: int
    # "mcuboot" or "application": whose driver it was.
    actor: str
    kind: str
    offset: int
    length: int
    # What a write was to program.
    data: bytes
    phase: str = ""

    @property
    def end(self) -> int:
        return self.offset + self.length

    def __str__(self) -> str:
        return f"{self.phase} {self.number}: {self.actor} {self.kind} {self.offset:#x}+{self.length:#x}"


class Flash:
    """The bytes of a chip and the rules for changing them."""

    def __init__(self, content: bytes, write_block: int):
        self.content = bytearray(content)
        self.write_block = write_block

    def copy(self) -> Flash:
        return Flash(self.content, self.write_block)

    def result(self, operation: Operation) -> bytes:
        """What stands there once the operation is through."""
        before = self.content[operation.offset : operation.end]
        if operation.kind == "erase":
            return bytes([ERASED]) * operation.length
        if before.count(ERASED) != operation.length:
            # The driver refuses to program anything twice.
            return bytes(before)
        return operation.data

    def apply(self, operation: Operation) -> None:
        self.content[operation.offset : operation.end] = self.result(operation)

    def tear(self, operation: Operation, tear: Tear, rng: random.Random) -> None:
        """Leaves the operation as a power cut in the middle of it does."""
        before = bytes(self.content[operation.offset : operation.end])
        after = self.result(operation)
        match tear:
            case Tear.BEFORE:
                left = before
            case Tear.PREFIX:
                done = rng.randrange(1, max(len(after), 2))
                left = after[:done] + before[done:]
            case Tear.SUBSET:
                left = bytes(new if rng.random() < 0.5 else old for old, new in zip(before, after))
            case Tear.BITS:
                left = bytes(
                    old ^ ((old ^ new) & rng.randrange(256)) for old, new in zip(before, after)
                )
        self.content[operation.offset : operation.end] = left
