# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests that drive whole devices.

Under twister the build directory comes from its pytest plugin; by hand it is given:

    pytest tests/update/pytest --build-dir build
"""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import Build, Machine


def pytest_addoption(parser: pytest.Parser) -> None:
    try:
        parser.addoption("--build-dir", help="a sysbuild directory of the appliance")
    except ValueError:
        pass  # twister's plugin has the same option


@pytest.fixture(scope="session")
def build(request: pytest.FixtureRequest) -> Build:
    directory = request.config.getoption("--build-dir")
    if not directory:
        pytest.skip("no --build-dir: nothing to run")
    return Build(Path(directory))


@pytest.fixture
def machine(build: Build, tmp_path: Path):
    """A factory-new device, switched off."""
    device = Machine(build, tmp_path)
    try:
        yield device
    finally:
        device.close()
        # pytest shows this only for a test that failed.
        print(device.console())
