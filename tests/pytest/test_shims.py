# SPDX-License-Identifier: Apache-2.0
"""The C functions under the session, as tests/shims calls them on a device."""

from __future__ import annotations

import contextlib
import re
import socket
import threading

from machine import Machine

# In tests/shims/src.
SUITES = 10


class Echo:
    """Sends back what the device sends, over all its boots."""

    def __init__(self, port: int):
        self._socket = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(4096):
                self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


def identity(text: str) -> tuple[str, int]:
    match = re.search(r"identity: address ([0-9a-f]{16}) boot ([0-9a-f]{8})", text)
    assert match, text
    return match[1], int(match[2], 16)


def run_suites(machine: Machine, since: int) -> tuple[str, int]:
    """Waits for the suites to pass; the device's identity of this boot."""
    machine.wait_console(r"PROJECT EXECUTION (SUCCESSFUL|FAILED)", since, timeout=120)
    text = machine.console(since)
    assert "PROJECT EXECUTION SUCCESSFUL" in text, text
    assert text.count("Running TESTSUITE") == SUITES and " FAIL" not in text, text
    return identity(text)


def test_shims(machine: Machine):
    echo = Echo(machine.port)
    machine.power_on()
    address, boot = run_suites(machine, 0)

    # Nobody feeds the watchdog any more: it resets the device, which comes back as itself.
    reset = machine.console_size()
    machine.wait_console(r"Booting MCUboot", reset, timeout=30)
    assert run_suites(machine, reset) == (address, (boot + 1) & 0xFFFFFFFF)
    echo.close()

    # So it does after a power cut.
    machine.power_off()
    off = machine.console_size()
    machine.power_on()
    machine.wait_console(r"identity: address [0-9a-f]{16} boot [0-9a-f]{8}", off)
    assert identity(machine.console(off))[0] == address
