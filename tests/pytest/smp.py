# SPDX-License-Identifier: Apache-2.0
"""An SMP client of somebody else's make, on the device's second UART."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from machine import Machine

try:
    import mcumgr_toolkit
except ImportError:
    # scripts/test installs it beside the project, where west's Python does not look.
    venv = Path(__file__).resolve().parents[2] / ".venv" / "lib"
    sys.path.extend(map(str, venv.glob("python3*/site-packages")))
    import mcumgr_toolkit

# Slots as MCUmgr counts them; images as MCUboot's serial recovery does.
PRIMARY, SECONDARY = 0, 1
IMAGE_PRIMARY, IMAGE_SECONDARY = 1, 2


class Refused(Exception):
    """The device answered with an error."""


class Smp:
    """The client, for as long as the device keeps its power."""

    def __init__(self, machine: Machine):
        # A request that is lost is repeated before the device takes the slot back (tests/update/smp.conf).
        self._client = mcumgr_toolkit.MCUmgrClient.serial(machine.smp_port, timeout_ms=8_000)
        self._client.set_retries(2)
        # What tests/update and MCUboot have room for.
        self._client.set_frame_size(1024)

    def __getattr__(self, name: str):
        method = getattr(self._client, name)

        def call(*arguments, **options):
            try:
                return method(*arguments, **options)
            except RuntimeError as error:
                raise Refused(str(error)) from error

        return call

    def slots(self) -> dict[int, mcumgr_toolkit.ImageState]:
        """What lies in which slot."""
        return {state.slot: state for state in self.image_get_state()}

    def upload(self, image: Path, to: int | None = None, progress=None) -> bytes:
        """Uploads a file and returns the hash by which SMP knows the image."""
        content = image.read_bytes()
        self.image_upload(content, image=to, progress=progress)
        return mcumgr_toolkit.mcuboot_get_image_info(content).hash

    def reset(self, machine: Machine, pattern: str = r"appliance: address", **options) -> None:
        since = machine.console_size()
        self.os_system_reset(**options)
        machine.wait_console(pattern, since)

    def eventually(self, what, timeout: float = 60.0):
        """`what()`, as soon as it is no longer refused."""
        end = time.monotonic() + timeout
        while True:
            try:
                return what()
            except Refused:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)
