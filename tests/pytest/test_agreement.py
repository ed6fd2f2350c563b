# SPDX-License-Identifier: Apache-2.0
"""Real MCUboot and the contract model of it, which every simulation relies on, agree.

Both are put through the same scenarios (data/scenarios.txt). What the model said stands in
data/verdicts.txt, and `cargo test -p rekindle-sim` holds that it still says so; here the device is
held to it: the image that runs, the outcome that is reported, and both trailers.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cutting_judge import SECTOR, SET, UNSET, Trailer
from cutting_link import DeviceLink, Info
from images import GOOD, SILENT, Images, bad, make_key
from machine import Build, Machine

DATA = Path(__file__).parent / "data"
PATIENCE_S = 120.0
FLAGS = {SET: "set", UNSET: "unset"}


def blocks(file: str) -> dict[str, list[str]]:
    """Steps by scenario."""
    found: dict[str, list[str]] = {}
    for line in (DATA / file).read_text().splitlines():
        if line.startswith("scenario "):
            found[line.removeprefix("scenario ")] = steps = []
        elif line and not line.startswith("#"):
            steps.append(line)
    return found


SCENARIOS = blocks("scenarios.txt")
VERDICTS = blocks("verdicts.txt")


class Desk:
    """A device with real MCUboot, and the images it is sent."""

    def __init__(self, machine: Machine, images: Images, stranger: Path, cache: dict[str, bytes]):
        self.machine = machine
        self.images = images
        self.stranger = stranger
        self.cache = cache
        machine.power_on()
        self.address = machine.wait_console(r"appliance: address ([0-9a-f]{16})")[1]
        self.link = DeviceLink(machine.port, self.address)
        self.rest(lambda info: info.outcome == "NONE")

    def step(self, step: str) -> Info:
        match step.split():
            case ["push", version, mode, self_test, *options]:
                return self.push(version, mode, self_test, options)
            case ["cycle"]:
                return self.cycle()
            case ["damage"]:
                return self.cycle(damage=True)
        raise ValueError(step)

    def push(self, version: str, mode: str, self_test: str, options: list[str]) -> Info:
        image = self.image(version, self_test, "stranger" in options)
        boot = self.link.info().boot_number
        assert self.link.start(image) == 0
        self.link.send(image, 0)
        self.link.verify()
        self.link.activate(mode == "permanent", reboot="stay" not in options)
        if "stay" in options:
            return self.rest(lambda info: info.outcome == "PENDING")
        if self_test == "hang" and mode == "test":
            return self.rest(lambda info: info.boot_number != boot and info.outcome == "UNDER_TEST")
        return self.rest(lambda info: info.boot_number != boot and settled(info))

    def cycle(self, damage: bool = False) -> Info:
        self.machine.power_off()
        self.link.close()
        if damage:
            self.damage()
        self.machine.power_on()
        self.link = DeviceLink(self.machine.port, self.address)
        return self.rest(settled)

    def damage(self) -> None:
        """Flips a bit in the middle of the image that waits."""
        at = self.machine.build.partitions["slot1"].offset + SECTOR + 30_000
        with self.machine.flash_path.open("r+b") as flash:
            flash.seek(at)
            (byte,) = flash.read(1)
            flash.seek(at)
            flash.write(bytes([byte ^ 0x10]))

    def image(self, version: str, self_test: str, stranger: bool) -> bytes:
        key = f"{version} {self_test} {stranger}"
        if key not in self.cache:
            self.cache[key] = self.images.make(
                version, mark(self_test), self.stranger if stranger else None
            ).read_bytes()
        return self.cache[key]

    def rest(self, there) -> Info:
        """Waits until the device is where it should be and stays there."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            info = self.link.info(PATIENCE_S)
            if there(info):
                time.sleep(0.1)
                if self.link.info(PATIENCE_S) == info:
                    return info
            time.sleep(0.05)
        raise TimeoutError(f"not at rest: {info}")

    def verdict(self, info: Info) -> str:
        line = (
            f"running={'.'.join(map(str, info.version[:3]))} confirmed={boolean(info.confirmed)} "
            f"pending={boolean(info.swap_pending)} outcome={info.outcome} attempt={info.attempt}"
        )
        if info.outcome == "REVERTED":
            line += f" stage={info.stage or 0} code={info.code or 0}"
        for name, slot in (("primary", "slot0"), ("secondary", "slot1")):
            line += f" {name}={self.trailer(slot)}"
        return line

    def trailer(self, slot: str) -> str:
        trailer = Trailer.of(self.machine.read_flash(slot), self.machine.build.write_block)
        if trailer.good:
            magic = "good"
        else:
            magic = "unset" if set(trailer.magic) == {UNSET} else "bad"
        # The lower half is the type, the upper one the number of the image; erased is "none".
        swap_type = 1 if trailer.swap_info == UNSET else trailer.swap_info & 0x0F
        flags = (FLAGS.get(flag, "bad") for flag in (trailer.copy_done, trailer.image_ok))
        return "/".join([magic, str(swap_type), *flags])


def settled(info: Info) -> bool:
    return info.confirmed and not info.swap_pending and info.outcome not in ("PENDING", "UNDER_TEST")


def boolean(value: bool) -> str:
    return "true" if value else "false"


def mark(self_test: str) -> bytes:
    match self_test.split(":"):
        case ["pass"]:
            return GOOD
        case ["hang"]:
            return SILENT
        case ["fail", "1", code]:
            # The appliance's marked self-test is its first stage.
            return bad(int(code))
    raise ValueError(self_test)


@pytest.fixture(scope="module")
def shelf(emulated: None, build: Build, tmp_path_factory: pytest.TempPathFactory):
    """Images that scenarios have in common, and a key that no device trusts."""
    directory = tmp_path_factory.mktemp("images")
    return Images(build, directory), make_key(directory / "stranger.pem"), {}


@pytest.mark.parametrize("name", SCENARIOS)
def test_mcuboot_and_its_model_agree(name: str, build: Build, machine: Machine, shelf):
    expected = VERDICTS[f"{name}, write block {build.write_block}"]
    desk = Desk(machine, *shelf)
    said = [f"{step}: {desk.verdict(desk.step(step))}" for step in SCENARIOS[name]]
    assert said == expected
