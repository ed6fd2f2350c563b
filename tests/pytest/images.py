# SPDX-License-Identifier: Apache-2.0
"""Images made from one build: other versions, other keys, other outcomes of the self-test."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from machine import Build

# The appliance's mark (app/appliance/src/self_test.rs): a label, the script, a code.
MARK = b"rekindle-self-test:"
GOOD = b"g\0\0\0\0"
# The self-test never begins, never ends its first stage, or hangs in its second.
SILENT = b"s\0\0\0\0"
ENDLESS = b"t\0\0\0\0"
HANGS = b"h\0\0\0\0"
# Before anything is started: a hang, a panic, a reset.
HANGS_EARLY = b"e\0\0\0\0"
# Before main(); the application in C only.
HANGS_IN_INIT = b"i\0\0\0\0"
PANICS = b"p\0\0\0\0"
RESETS = b"r\0\0\0\0"


def bad(code: int) -> bytes:
    """The verdict of a self-test that fails with `code`."""
    return b"b" + struct.pack("<i", code)


@dataclass(frozen=True)
class Policy:
    """`struct rekindle_policy` in rekindle/port.h, where it differs from that of the build."""

    confirm_deadline_ms: int | None = None
    refuse_downgrade: bool | None = None
    vendor: bytes | None = None
    class_id: bytes | None = None


# confirm_deadline_ms; confirm_answered, erase_at_start, refuse_downgrade, has_vendor, has_class;
# vendor_id, class_id; to a multiple of four.
POLICY = struct.Struct("<I5?16s16s3x")


def make_key(path: Path, kind: str = "ecdsa-p256") -> Path:
    subprocess.run(["imgtool", "keygen", "-t", kind, "-k", path], check=True)
    return path


# Instead of a key: an image without a signature.
UNSIGNED = Path("unsigned")


def sign(
    build: Build, path: Path, body: bytes, version: str, *options: str, key: Path | None = None
) -> Path:
    """Signs `body` for the devices of a build, by the trusted key or `key`."""
    signed_by = [] if key is UNSIGNED else ["--key", key or build.signing_key]
    unsigned = path.with_name(f"{path.name}.bin")
    signed = path.with_name(f"{path.name}.signed.bin")
    unsigned.write_bytes(body)
    subprocess.run(
        [
            "imgtool", "sign",
            *signed_by,
            "--version", version,
            "--align", str(build.write_block),
            "--header-size", hex(build.header_size),
            "--slot-size", hex(build.partitions["slot0"].size),
            *options,
            unsigned,
            signed,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return signed


def with_policy(build: Build, body: bytes, policy: Policy) -> bytes:
    """The same image with another policy."""
    with (build.application / "zephyr.elf").open("rb") as elf:
        (symbol,) = ELFFile(elf).get_section_by_name(".symtab").get_symbol_by_name("rekindle_policy")
    assert symbol["st_size"] == POLICY.size, "Policy must follow struct rekindle_policy"
    at = symbol["st_value"] - build.load_address
    deadline, answered, erase, downgrade, *_ = POLICY.unpack_from(body, at)
    assert deadline == int(build.config["CONFIG_REKINDLE_CONFIRM_DEADLINE_MS"])
    changed = POLICY.pack(
        deadline if policy.confirm_deadline_ms is None else policy.confirm_deadline_ms,
        answered,
        erase,
        downgrade if policy.refuse_downgrade is None else policy.refuse_downgrade,
        policy.vendor is not None,
        policy.class_id is not None,
        policy.vendor or bytes(16),
        policy.class_id or bytes(16),
    )
    return body[:at] + changed + body[at + POLICY.size :]


class Images:
    """Makes signed updates in a directory, each with these options of imgtool's beside its own."""

    def __init__(self, build: Build, directory: Path, *options: str):
        self.build = build
        self.directory = directory
        self.options = options
        self._body = build.unsigned_image.read_bytes()
        assert self._body.count(MARK) == 1, "the image must carry the self-test's mark once"

    def make(
        self,
        version: str,
        verdict: bytes = GOOD,
        key: Path | None = None,
        policy: Policy | None = None,
        options: tuple[str, ...] | None = None,
    ) -> Path:
        """An update whose self-test ends as `verdict` says, signed by the trusted key or `key`.

        `options` take the place of those that all updates have."""
        at = self._body.index(MARK) + len(MARK)
        body = self._body[:at] + verdict + self._body[at + len(verdict) :]
        assert len(body) == len(self._body)
        if policy:
            body = with_policy(self.build, body, policy)
        options = self.options if options is None else options
        return self._sign(version.replace("+", "_"), body, version, *options, key=key)

    def small(self, version: str, *options: str, key: Path | None = None) -> bytes:
        """A small image that is sound in every respect but that it cannot run."""
        body = bytes(range(256)) * 8
        body = bytes(self.build.header_size) + body
        return self._sign("small", body, version, *options, key=key).read_bytes()

    def _sign(
        self, name: str, body: bytes, version: str, *options: str, key: Path | None = None
    ) -> Path:
        return sign(self.build, self.directory / name, body, version, *options, key=key)
