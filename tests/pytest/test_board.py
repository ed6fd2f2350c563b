# SPDX-License-Identifier: Apache-2.0
"""What a hardware map makes of `west flash`; needs no board."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from board import Wiring

SERIAL = "E6633861A3551234"


def arguments(runner: str | None, product: str | None = None, params: tuple[str, ...] = ()) -> list[str]:
    wiring = Wiring(
        console="/dev/ttyACM0",
        baud=115200,
        runner=runner,
        device_id=SERIAL,
        product=product,
        runner_params=params,
        link="serial:///dev/ttyUSB0",
    )
    return wiring.runner_arguments()


def test_openocd_is_told_of_the_probe_by_a_command():
    said = arguments("openocd", "Debug Probe (CMSIS-DAP)", ("--use-elf",))
    assert said == ["--runner", "openocd", "--use-elf", "--cmd-pre-init", f"adapter serial {SERIAL}"]
    assert arguments("openocd", "STM32 STLink")[-1] == f"hla_serial {SERIAL}"


@pytest.mark.parametrize("runner", ["jlink", "nrfjprog", "nrfutil", "probe-rs", "pyocd"])
def test_where_a_runner_has_an_option_for_the_probe_it_is_used(runner: str):
    assert arguments(runner) == ["--runner", runner, "--dev-id", SERIAL]


def test_a_runner_without_probes_is_told_of_none():
    assert arguments("uf2") == ["--runner", "uf2"]
    assert arguments(None) == []


@pytest.mark.parametrize("runner", ["jlink", "nrfjprog", "nrfutil", "openocd", "probe-rs", "pyocd", "uf2"])
def test_zephyrs_runners_take_it(runner: str):
    # `west flash` stops at --dev-id for a runner that does not say it has it.
    sys.path.insert(0, str(Path(os.environ["ZEPHYR_BASE"]) / "scripts/west_commands"))
    from runners import get_runner_cls

    capable = get_runner_cls(runner).capabilities().dev_id
    assert capable or "--dev-id" not in arguments(runner)
