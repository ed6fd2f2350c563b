# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests that drive whole devices.

Under twister the build directory comes from its pytest plugin; by hand it is given:

    pytest tests/pytest --build-dir build
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from board import Board, Wiring
from images import Images
from machine import Build, Machine
from rekindle import Rekindle, find_program


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rekindle", help="the command line to drive devices with")
    parser.addoption("--seed", type=int, help="replays the random choices of a failed test")
    try:
        parser.addoption("--build-dir", help="a sysbuild directory of tests/update")
    except ValueError:
        pass  # twister's plugin has the same option


@pytest.fixture(scope="session")
def build(request: pytest.FixtureRequest) -> Build:
    directory = request.config.getoption("--build-dir")
    assert directory, "--build-dir names the sysbuild directory of tests/update"
    return Build(Path(directory))


@pytest.fixture(scope="session")
def emulated(request: pytest.FixtureRequest) -> None:
    """For tests that look into the flash while the device runs, or change it."""
    if on_board(request):
        pytest.skip("a real board's flash is out of reach while it runs")


def on_board(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--device-type", default=None) == "hardware"


@pytest.fixture
def machine(request: pytest.FixtureRequest, build: Build, tmp_path: Path):
    """A factory-new device, switched off: under QEMU, or the board of twister's hardware map."""
    if on_board(request):
        device = Board(build, tmp_path, Wiring.from_options(request.config))
    else:
        device = Machine(build, tmp_path)
    try:
        yield device
    finally:
        device.close()
        # pytest shows this only for a test that failed.
        print(device.console())


@pytest.fixture
def images(build: Build, tmp_path: Path) -> Images:
    return Images(build, tmp_path)


@pytest.fixture
def rekindle(request: pytest.FixtureRequest, machine: Machine):
    """The command line, with a device that is on."""
    machine.power_on()
    # As the device itself says it: a discovery takes a second.
    address = machine.wait_console(r"appliance: address ([0-9a-f]{16})")[1]
    client = Rekindle(find_program(request.config.getoption("--rekindle")), machine.url, address)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random choices that a failed test can be replayed with."""
    seed = request.config.getoption("--seed")
    if seed is None:
        seed = random.SystemRandom().randrange(1 << 32)
    print(f"random choices: --seed {seed}")
    return random.Random(seed)
