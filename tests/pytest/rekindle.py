# SPDX-License-Identifier: Apache-2.0
"""The project's command line, as a test drives it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Exit codes, see `rekindle --help`.
DONE = 0
REFUSED = 5
NOT_INSTALLED = 7
PARTIAL = 10


def find_program(given: str | None) -> str:
    """The command line: as given, else the newest one built here, else the one installed."""
    if given:
        return given
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "rust" / "target"))
    built = [p for p in (target / "release" / "rekindle", target / "debug" / "rekindle") if p.exists()]
    if built:
        return str(max(built, key=lambda p: p.stat().st_mtime))
    if installed := shutil.which("rekindle"):
        return installed
    raise FileNotFoundError(
        "no `rekindle` to drive the device with: run `cargo build -p rekindle` in rust/, "
        "or give --rekindle PATH"
    )


@dataclass
class Result:
    exit_code: int
    events: list[dict]
    stderr: str
    seconds: float

    @property
    def done(self) -> dict:
        """The closing report of a session."""
        return next(e for e in reversed(self.events) if e["event"] == "done")

    def __str__(self) -> str:
        lines = [f"exit code {self.exit_code} after {self.seconds:.1f} s"]
        lines += [json.dumps(e) for e in self.events if e["event"] != "progress"]
        return "\n".join(lines + [self.stderr])


@dataclass
class Running:
    """A command that runs beside the test."""

    process: subprocess.Popen
    events: list[dict] = field(default_factory=list)
    _lines: queue.Queue = field(default_factory=queue.Queue)
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        def read() -> None:
            for line in self.process.stdout:
                self._lines.put(json.loads(line))
            self._lines.put(None)

        threading.Thread(target=read, daemon=True).start()

    def next_event(self, timeout: float = 120.0) -> dict | None:
        """The next event, or None when the command has ended."""
        event = self._lines.get(timeout=timeout)
        if event is not None:
            self.events.append(event)
        return event

    def wait_event(self, *names: str, timeout: float = 120.0) -> dict:
        end = time.monotonic() + timeout
        while (event := self.next_event(max(end - time.monotonic(), 0.1))) is not None:
            if event["event"] in names:
                return event
        raise AssertionError(f"ended without {' or '.join(names)}:\n{self.finish()}")

    def finish(self, timeout: float = 300.0) -> Result:
        """Waits for the end, collecting what is still said."""
        end = time.monotonic() + timeout
        while self.next_event(max(end - time.monotonic(), 0.1)) is not None:
            pass
        code = self.process.wait(timeout=10)
        seconds = time.monotonic() - self._started
        return Result(code, self.events, self.process.stderr.read(), seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


# Fusain's number for an idle appliance.
IDLE = 1


class Rekindle:
    """Commands to the device behind `url`."""

    def __init__(self, program: str, url: str, address: str | None = None):
        self.program = program
        self.url = url
        self._address = address
        self._running: list[Running] = []

    def begin(self, *arguments: str | Path) -> Running:
        command = [self.program, "--json", *map(str, arguments)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running = Running(process)
        self._running.append(running)
        return running

    def close(self) -> None:
        """Ends whatever a failed test left running."""
        for running in self._running:
            if running.process.poll() is None:
                running.kill()

    def run(self, *arguments: str | Path, timeout: float = 300.0) -> Result:
        result = self.begin(*arguments).finish(timeout)
        print(f"$ rekindle {' '.join(map(str, arguments))}\n{result}")
        return result

    @property
    def address(self) -> str:
        """The device's own address, as it was given or as a discovery finds it; it never changes."""
        if self._address is None:
            for _ in range(10):
                result = self.run("discover", "--to", self.url)
                found = [e["address"] for e in result.events if e["event"] == "device"]
                if found:
                    assert len(found) == 1, found
                    self._address = found[0]
                    break
            else:
                raise AssertionError("no device answers a discovery")
        return self._address

    def to_device(self) -> list[str]:
        return ["--to", self.url, "--address", self.address]

    def push(self, image: Path, *options: str) -> Result:
        return self.run("push", image, *self.to_device(), *options)

    def begin_push(self, image: Path, *options: str) -> Running:
        return self.begin("push", image, *self.to_device(), *options)

    def status(self) -> dict:
        result = self.run("status", *self.to_device())
        assert result.exit_code == DONE, result
        return result.done

    def wait_idle(self, timeout: float = 60.0) -> None:
        """Until the appliance takes commands: it has come up, or has ended what it did."""
        end = time.monotonic() + timeout
        while (state := self.status()["info"]["appliance_state"]) != IDLE:
            assert time.monotonic() < end, f"the appliance stays in state {state}"
            time.sleep(0.1)
