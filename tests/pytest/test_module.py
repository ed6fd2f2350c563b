# SPDX-License-Identifier: Apache-2.0
"""The module's CMake: for applications in C which Rust target, which toolchain, what is rebuilt; for a controller what
does not go with root mode."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from machine import Build
from rekindle import ROOT

CMAKE = ROOT / "modules/rekindle/cmake"

TARGETS = {
    "CPU_CORTEX_M0PLUS": "thumbv6m-none-eabi",
    "CPU_CORTEX_M3": "thumbv7m-none-eabi",
    "CPU_CORTEX_M4": "thumbv7em-none-eabi",
    "CPU_CORTEX_M4 FPU FP_SOFTABI": "thumbv7em-none-eabi",
    "CPU_CORTEX_M4 FPU FP_HARDABI": "thumbv7em-none-eabihf",
    "CPU_CORTEX_M7 FPU FP_HARDABI": "thumbv7em-none-eabihf",
    "CPU_CORTEX_M23": "thumbv8m.base-none-eabi",
    "CPU_CORTEX_M33": "thumbv8m.main-none-eabi",
    "CPU_CORTEX_M33 FPU FP_HARDABI": "thumbv8m.main-none-eabihf",
    "RISCV RISCV_ISA_RV32I": "riscv32i-unknown-none-elf",
    "RISCV RISCV_ISA_RV32I RISCV_ISA_EXT_M RISCV_ISA_EXT_C": "riscv32imc-unknown-none-elf",
    "RISCV RISCV_ISA_RV32I RISCV_ISA_EXT_M RISCV_ISA_EXT_A RISCV_ISA_EXT_C": "riscv32imac-unknown-none-elf",
    "RISCV RISCV_ISA_RV32I RISCV_ISA_EXT_M RISCV_ISA_EXT_A RISCV_ISA_EXT_C FPU FLOAT_HARD": "riscv32imafc-unknown-none-elf",
    "RISCV RISCV_ISA_RV32I RISCV_ISA_EXT_M RISCV_ISA_EXT_C FPU FLOAT_HARD": "",
    "RISCV RISCV_ISA_RV32E": "",
    "RISCV 64BIT": "",
    "ARCH_POSIX": "",
    "XTENSA": "",
}


def run_script(directory: Path, text: str, **environment: str) -> subprocess.CompletedProcess:
    script = directory / "probe.cmake"
    script.write_text(text)
    return subprocess.run(
        ["cmake", "-P", script], capture_output=True, text=True, check=False, env=environment or None
    )


@pytest.mark.parametrize(("options", "target"), TARGETS.items())
def test_each_cpu_has_its_rust_target(tmp_path: Path, options: str, target: str):
    settings = "".join(f"set(CONFIG_{option} y)\n" for option in options.split())
    done = run_script(
        tmp_path,
        f'{settings}include({CMAKE}/rust_target.cmake)\nrekindle_rust_target(found)\nmessage("<${{found}}>")\n',
    )
    assert done.stderr.strip() == f"<{target}>"


def ask_for_rust(directory: Path, target: str, path: Path) -> str:
    done = run_script(
        directory,
        f"include({CMAKE}/rust_toolchain.cmake)\nset(ENV{{PATH}} {path})\n"
        f"rekindle_find_rust(rust {target} {directory})\n",
    )
    assert done.returncode != 0
    return " ".join(done.stderr.split())


def test_a_missing_cargo_is_named(tmp_path: Path):
    said = ask_for_rust(tmp_path, "thumbv8m.main-none-eabi", tmp_path)
    assert "there is no cargo in PATH" in said and "https://rustup.rs" in said


def test_a_missing_target_is_named(tmp_path: Path):
    for tool in ["cargo", "rustc"]:
        (tmp_path / tool).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / tool).chmod(0o755)
    said = ask_for_rust(tmp_path, "thumbv6m-none-eabi", tmp_path)
    assert "rustup target add thumbv6m-none-eabi" in said


def lean_target(directory: Path, target: str) -> str:
    done = run_script(
        directory,
        f"include({CMAKE}/rust_toolchain.cmake)\n"
        f"rekindle_lean_target(found {target} {shutil.which('rustc')} {directory})\n"
        'message("${found}")\n',
        **os.environ,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.strip()


def test_the_lean_target_is_the_compilers_own_without_frame_pointers(tmp_path: Path):
    target = "thumbv8m.main-none-eabi"
    found = Path(lean_target(tmp_path, target))
    # Cargo files what it builds under the name.
    assert found.stem == target
    shown = subprocess.run(
        ["rustc", "-Z", "unstable-options", "--print", "target-spec-json", "--target", target],
        env={**os.environ, "RUSTC_BOOTSTRAP": "1"},
        capture_output=True,
        check=True,
    )
    own, lean = json.loads(shown.stdout), json.loads(found.read_text())
    assert (own.pop("frame-pointer"), lean.pop("frame-pointer")) == ("always", "may-omit")
    assert lean == own
    # Where the compiler keeps none, there is nothing to change.
    assert lean_target(tmp_path, "riscv32imac-unknown-none-elf") == "riscv32imac-unknown-none-elf"


KEYS = ROOT / "rust/mcuboot-image/tests/keys"


def read_key(directory: Path, name: str, algorithm: str) -> subprocess.CompletedProcess:
    return run_script(
        directory,
        f"include({CMAKE}/public_key.cmake)\n"
        f'set(APPLICATION_CONFIG_DIR {KEYS})\nrekindle_key_file("{name}" file)\n'
        f'rekindle_read_key(${{file}} "{algorithm}" name point)\nmessage("${{name}}|${{point}}")\n',
    )


@pytest.mark.parametrize(
    ("kind", "algorithm", "size"), [("p256", "ECDSA P-256", 65), ("ed25519", "Ed25519", 32)]
)
def test_of_a_key_the_public_half_is_compiled_in(tmp_path: Path, kind: str, algorithm: str, size: int):
    spki = (KEYS / f"{kind}-spki.bin").read_bytes()
    wanted = [hashlib.sha256(spki).digest(), spki[-size:]]
    for name in [f"{kind}.pem", f"{kind}-pub.pem", str(KEYS / f"{kind}.pem")]:
        done = read_key(tmp_path, name, algorithm)
        found = [bytes.fromhex(part.replace("0x", "").replace(",", "")) for part in done.stderr.split("|")]
        assert found == wanted


@pytest.mark.parametrize(
    ("name", "algorithm", "reason"),
    [
        ("p256.pem", "Ed25519", "is no Ed25519 key"),
        ("ed25519-pub.pem", "ECDSA P-256", "is no ECDSA P-256 key"),
        ("p384.pem", "ECDSA P-256", "is no ECDSA P-256 key"),
        ("p256-hash.bin", "ECDSA P-256", "imgtool cannot read"),
        ("nowhere.pem", "ECDSA P-256", "there is no nowhere.pem"),
    ],
)
def test_another_key_stops_the_build(tmp_path: Path, name: str, algorithm: str, reason: str):
    done = read_key(tmp_path, name, algorithm)
    assert done.returncode != 0
    assert reason in " ".join(done.stderr.split())


def test_a_changed_rust_file_is_built_again(build: Build):
    directory = build.application.parent

    def would_build() -> str:
        return subprocess.run(
            ["ninja", "-C", directory, "-n"], capture_output=True, text=True, check=True
        ).stdout

    # Deep down in a crate that the library's own manifest does not even name.
    source = ROOT / "rust/fusain/src/frame.rs"
    before = source.stat()
    assert "building the session" not in would_build()
    try:
        source.touch()
        assert "building the session" in would_build()
    finally:
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("way", "what"),
    [
        ("SHELL_BACKEND_TELNET", "the shell"),
        ("SHELL_BACKEND_WEBSOCKET", "the shell"),
        ("SHELL_BACKEND_MQTT", "the shell"),
        ("SHELL_BT_NUS", "the shell"),
        ("MCUMGR_GRP_SHELL", "the shell"),
        ("MCUMGR_GRP_FS", "the store's files"),
    ],
)
def test_root_mode_is_out_of_a_networks_reach(tmp_path: Path, way: str, what: str):
    include = f"include({CMAKE}/root_mode.cmake)\n"
    console = "set(CONFIG_SHELL_BACKEND_SERIAL y)\n"
    reached = console + f"set(CONFIG_{way} y)\n"
    for act in ("BUTTON", "CUSTOM"):
        root = f"set(CONFIG_REKINDLE_CONTROLLER_ROOT_{act} y)\n"
        refused = run_script(tmp_path, root + reached + include)
        said = " ".join(refused.stderr.split())
        assert refused.returncode != 0 and f"CONFIG_{way} brings {what}" in said
        assert run_script(tmp_path, root + console + include).returncode == 0
    without = "set(CONFIG_REKINDLE_CONTROLLER_ROOT_NONE y)\n"
    assert run_script(tmp_path, without + reached + include).returncode == 0
