# SPDX-License-Identifier: Apache-2.0
"""A controller and two appliances on its bus, all under QEMU, each with MCUboot: the command line brings an image to
the controller, which brings it to the appliance."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk import PRODUCT
from images import Images
from machine import Build, Machine
from network import Controller
from rekindle import Rekindle, find_program
from wire import Wire


@pytest.fixture(scope="session")
def appliance_build(request: pytest.FixtureRequest) -> Build:
    return Build(Path(request.config.getoption("--build-dir")), "appliance")


@pytest.fixture(scope="session")
def controller_build(request: pytest.FixtureRequest) -> Build:
    return Build(Path(request.config.getoption("--build-dir")), "controller")


@pytest.fixture
def appliances(appliance_build: Build, tmp_path: Path):
    """Two factory-new appliances, switched on."""
    machines = []
    try:
        for number in range(2):
            directory = tmp_path / f"appliance-{number}"
            directory.mkdir()
            machines.append(Machine(appliance_build, directory))
            machines[-1].power_on()
        yield machines
    finally:
        for machine in machines:
            machine.close()
            print(machine.console())


@pytest.fixture
def controller(controller_build: Build, tmp_path: Path):
    """A factory-new controller, switched off."""
    directory = tmp_path / "controller"
    directory.mkdir()
    machine = Controller(controller_build, directory)
    try:
        yield machine
    finally:
        machine.close()
        print(machine.console())


@pytest.fixture
def wire(controller: Controller, appliances: list[Machine]):
    """The bus, with everybody on it and the controller on."""
    bus = Wire(controller, appliances)
    controller.power_on()
    controller.wait_ready()
    try:
        yield bus
    finally:
        bus.close()


@pytest.fixture
def alone(controller: Controller) -> Controller:
    """The controller, on, with nobody on its bus."""
    controller.power_on()
    controller.wait_ready()
    return controller


@pytest.fixture
def rekindle(request: pytest.FixtureRequest, controller: Controller):
    client = Rekindle(find_program(request.config.getoption("--rekindle")), controller.url)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def images(appliance_build: Build, tmp_path: Path) -> Images:
    return Images(appliance_build, tmp_path, *PRODUCT)
