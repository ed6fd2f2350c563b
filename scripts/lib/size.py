# SPDX-License-Identifier: Apache-2.0
"""What the device side costs: code, state, stack and instructions, and the table that says so."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MEASURED = "thumbv8m.main-none-eabi"
# The RAM of QEMU's mps2-an505 that a file can stand for; memory/arm.x puts everything there.
RAM_START, RAM_SIZE = 0x8000_0000, 16 << 20
FILL = 0xA5
# Nanoseconds for a tick of the machine's clock. QEMU lets 2^shift nanoseconds pass for each instruction.
TICK_NS = 50
# Beyond both, a figure is another one than docs/size.md says.
TOLERANCE, TOLERANCE_BYTES = 0.03, 128
# What the device side's code may take.
CODE_CEILING = 16 << 10
# The programs whose code is compared: nothing, a driver, what it drives, and the whole endpoint.
SIZED = ("baseline", "driver", "device", "endpoint")

BEGIN, END = "<!-- scripts/cross size --write: begin -->", "<!-- end -->"


@dataclass
class Row:
    key: str
    what: str
    value: int
    unit: str
    budget: int | None = None


class Elf:
    """As much of a 32-bit little-endian ELF file as its size takes."""

    def __init__(self, path: Path):
        self.data = path.read_bytes()
        if self.data[:6] != b"\x7fELF\x01\x01":
            sys.exit(f"cross: {path} is no 32-bit little-endian ELF file")
        start, entry, count, names = struct.unpack_from("<I10xHHH", self.data, 32)
        heads = [struct.unpack_from("<10I", self.data, start + entry * n) for n in range(count)]
        strings = heads[names][4]
        self.sections = {self._text(strings + head[0]): head for head in heads}

    def _text(self, at: int) -> str:
        return self.data[at : self.data.index(0, at)].decode()

    def code(self) -> int:
        """Bytes of instructions and constants, and of what `.data` begins with. Vectors are the runtime's."""
        return sum(head[5] for name, head in self.sections.items() if name in (".text", ".rodata", ".data"))

    def symbols(self) -> list[tuple[str, int, int]]:
        """Names, addresses and sizes."""
        table, strings = self.sections[".symtab"], self.sections[".strtab"][4]
        places = range(table[4], table[4] + table[5], 16)
        entries = [struct.unpack_from("<III", self.data, at) for at in places]
        return [(self._text(strings + name), value, size) for name, value, size in entries]

    def room(self, part: str) -> int:
        """Bytes of the one variable that has this in its name."""
        [size] = {size for name, _, size in self.symbols() if part in name and size}
        return size

    def address(self, symbol: str) -> int:
        return next(value for name, value, _ in self.symbols() if name == symbol)


def run_program(program: Path, shift: int) -> dict[str, int]:
    """Runs a program under QEMU; returns what it told, and the bytes of stack that it used."""
    ram = program.with_suffix(".ram")
    with ram.open("wb") as file:
        file.write(bytes([FILL]) * RAM_SIZE)
    command = ["qemu-system-arm", "-machine", "mps2-an505,memory-backend=ram", "-cpu", "cortex-m33", "-m", "16"]
    command += ["-object", f"memory-backend-file,id=ram,size=16M,mem-path={ram},share=on"]
    command += ["-semihosting-config", "enable=on,target=native", "-icount", f"shift={shift}"]
    command += ["-display", "none", "-monitor", "none", "-serial", "none", "-kernel", str(program)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"cross: failed: {program.name} did not end in 300 s")
    # Semihosting writes to standard output or, in other versions, to standard error.
    told = {name: int(number) for name, number in re.findall(r"^([a-z-]+) (\d+)$", done.stdout + done.stderr, re.M)}
    if done.returncode or "failed-at-line" in told:
        sys.exit(f"cross: failed: {program.name} under QEMU: {told} {done.stderr.strip()[-500:]}")
    memory = ram.read_bytes()
    ram.unlink()
    # Behind the statics everything is stack: the first byte that was ever written is its deepest.
    statics = Elf(program).address("__sheap") - RAM_START
    stack = memory[statics:].lstrip(bytes([FILL]))
    return told | {"stack": len(stack)}


def instructions(ticks: int, shift: int) -> int:
    return ticks * TICK_NS >> shift


def measure_code(build, targets: list[str]) -> tuple[list[Row], dict[str, tuple[int, int, int]]]:
    sizes = {}
    for target in targets:
        if not build.toolchain.linker(target):
            continue
        empty, driver, device, endpoint = (Elf(path).code() for path in build.programs(target, (), *SIZED))
        sizes[target] = (device - driver, device - empty, endpoint - empty)
    update, device, endpoint = sizes[MEASURED]
    return [
        Row("code", "code: frames, update messages, receiver, journal, SHA-256, image checks", update, "B", CODE_CEILING),
        Row("code-device", "… with the driver of the measurement and the memory functions", device, "B"),
        Row("code-endpoint", "… and with discovery, ping, telemetry, timeouts", endpoint, "B"),
    ], sizes


def measure_controller(build) -> list[Row]:
    """The controller; its state counts with the flag of the cell that it is in."""
    [program] = build.programs(MEASURED, ("relay",), "controller")
    [empty] = build.programs(MEASURED, ("relay",), "baseline")
    linked = Elf(program)
    code = linked.code() - Elf(empty).code()
    return [
        Row("relay", "controller: code, with ECDSA P-256, Ed25519 and the memory functions", code, "B"),
        Row("relay-state", "controller: state for 16 appliances, 2 links, 4 clients", linked.room("RELAY"), "B", 12 << 10),
    ]


def measure_update(build) -> list[Row]:
    shift = 6
    told = run_program(build.program(MEASURED, "update", "run"), shift)
    chunk = instructions(told["chunk-ticks"], shift) // told["chunks"]
    return [
        Row("state", "state: `Appliance`, with receiver, journal, buffers", told["size-appliance"], "B", 4 << 10),
        Row("state-receiver", "… of it `Receiver`", told["size-receiver"], "B"),
        Row("stack", "stack: deepest in four updates, with the driver's loop", told["stack"], "B", 2 << 10),
        Row("chunk", "instructions for a chunk of 100 bytes, without the flash's own", chunk, "insn"),
    ]


def measure_signature(build) -> list[Row]:
    without = Elf(build.program(MEASURED, "signature", "run", "signatures")).code()
    rows = []
    for feature, name, shift in [("p256", "ECDSA P-256", 0), ("ed25519", "Ed25519", 0)]:
        program = build.program(MEASURED, "signature", "run", "signatures", feature)
        told = run_program(program, shift)
        rows += [
            Row(f"{feature}-code", f"{name}: code", Elf(program).code() - without, "B"),
            Row(f"{feature}-stack", f"{name}: stack", told["stack"], "B"),
            Row(f"{feature}-insn", f"{name}: instructions", instructions(told["verify-ticks"], shift), "insn"),
        ]
    return rows


def table(toolchain: str, rows: list[Row], sizes: dict[str, tuple[int, int, int]]) -> str:
    lines = [BEGIN, f"Made with {toolchain}, for {MEASURED}.", "", "| what | size | at most |", "|---|---:|---:|"]
    for row in rows:
        budget = f"{row.budget:,}" if row.budget else ""
        unit = " instructions" if row.unit == "insn" else " B"
        lines.append(f"| {row.what} | {row.value:,}{unit if unit == ' B' else ''} | {budget} |")
    lines += ["", "| target | code | with driver and memory functions | and the endpoint |", "|---|---:|---:|---:|"]
    lines += [f"| {target} | " + " | ".join(f"{size:,} B" for size in row) + " |" for target, row in sizes.items()]
    return "\n".join([*lines, END])


def figures(text: str) -> dict[str, int]:
    """The rows of a table by their words."""
    found = re.findall(r"^\| (.+?) \| ([\d,]+)(?: B)? \|", text, re.M)
    return {what: int(number.replace(",", "")) for what, number in found}


def compare(new: str, committed: str, toolchain: str) -> list[str]:
    """What the committed table says otherwise. Another toolchain makes other sizes: then it only has to be there."""
    block = re.search(re.escape(BEGIN) + ".*?" + re.escape(END), committed, re.S)
    if not block:
        return ["docs/size.md has no table"]
    if f"Made with {toolchain}," not in block.group():
        print("cross: docs/size.md was made with another toolchain, so its figures are not compared")
        return []
    old, faults = figures(block.group()), []
    for what, value in figures(new).items():
        if what not in old:
            faults.append(f"docs/size.md does not say: {what}")
        elif abs(value - old[what]) > max(TOLERANCE * old[what], TOLERANCE_BYTES):
            faults.append(f"docs/size.md says {old[what]:,}, it is {value:,}: {what}")
    return faults


def run(build, targets: list[str], document: Path, *, write: bool, check: bool) -> int:
    if not build.toolchain.linker(MEASURED):
        print(f"cross: skipped: sizes, for want of a linker for {MEASURED}")
        return 77
    rows, sizes = measure_code(build, targets)
    if shutil.which("qemu-system-arm"):
        rows += measure_update(build) + measure_signature(build)
    else:
        print("cross: skipped: state, stack and signatures, for want of qemu-system-arm")
        write = False
    rows += measure_controller(build)
    new = table(build.toolchain.name, rows, sizes)
    print("\n".join(new.splitlines()[1:-1]))
    committed = document.read_text()
    if write:
        replaced = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: new, committed, flags=re.S)
        document.write_text(replaced)
    if not check:
        return 0
    faults = [f"{row.value:,} of {row.budget:,}: {row.what}" for row in rows if row.budget and row.value > row.budget]
    faults += compare(new, committed, build.toolchain.name)
    for fault in faults:
        print(f"cross: failed: {fault}")
    return 1 if faults else 0
