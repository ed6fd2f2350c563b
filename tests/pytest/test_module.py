# SPDX-License-Identifier: Apache-2.0
"""The module's CMake: for applications in C which Rust target, which toolchain, what is rebuilt; for a controller what
does not go with root mode; for every sysbuild whose configuration has the last word, and which keys it may not trust."""

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


def run_script(
    directory: Path, text: str, *definitions: str, **environment: str
) -> subprocess.CompletedProcess:
    script = directory / "probe.cmake"
    script.write_text(text)
    return subprocess.run(
        ["cmake", *(f"-D{definition}" for definition in definitions), "-P", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
        env=environment or None,
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


@pytest.mark.parametrize(
    ("bootloader", "application", "said"),
    [
        ("set(CONFIG_BOOT_MAX_IMG_SECTORS 256)", 256, None),
        ("set(CONFIG_BOOT_MAX_IMG_SECTORS 128)", 256, "slots of 128 sectors (CONFIG_BOOT_MAX_IMG_SECTORS), app for 256"),
        ("set(CONFIG_BOOT_MAX_IMG_SECTORS_AUTO y)", 256, "Set CONFIG_BOOT_MAX_IMG_SECTORS_AUTO=n"),
    ],
)
def test_bootloader_and_application_count_the_same_sectors(
    tmp_path: Path, bootloader: str, application: int, said: str | None
):
    done = run_script(
        tmp_path,
        f"{bootloader}\nset(CONFIG_REKINDLE_BOOT_MAX_SECTORS {application})\n"
        "function(sysbuild_get result)\n"
        '  cmake_parse_arguments(PARSE_ARGV 1 arg "KCONFIG" "IMAGE;VAR" "")\n'
        '  set(${result} "${${arg_VAR}}" PARENT_SCOPE)\n'
        "endfunction()\n"
        f"include({ROOT}/sysbuild/sectors.cmake)\nrekindle_check_sectors(app)\n",
    )
    assert (done.returncode == 0) == (said is None), done.stderr
    assert said is None or said in " ".join(done.stderr.split())


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


def test_mcumgrs_image_group_wants_the_guard(tmp_path: Path):
    include = f"set(CONFIG_MCUMGR_GRP_IMG y)\ninclude({CMAKE}/smp.cmake)\n"
    refused = run_script(tmp_path, include)
    assert refused.returncode != 0 and "CONFIG_REKINDLE_SMP=y" in refused.stderr
    for guard in ("REKINDLE_SMP", "REKINDLE_SMP_UNGUARDED"):
        assert run_script(tmp_path, include, f"CONFIG_{guard}=y").returncode == 0
    assert run_script(tmp_path, f"include({CMAKE}/smp.cmake)\n").returncode == 0


# What an application has beside its sources, what is said on the command line, and what comes of it.
SYSBUILD = ROOT / "sysbuild"
ED25519 = "SB_CONFIG_BOOT_SIGNATURE_TYPE_ED25519=y\n"
P256 = "# SB_CONFIG_BOOT_SIGNATURE_TYPE_RSA=y\nSB_CONFIG_BOOT_SIGNATURE_TYPE_ECDSA_P256=y\n"
PRODUCT = 'SB_CONFIG_BOOT_SIGNATURE_KEY_FILE="/secure/product.pem"\n'


def configure(directory: Path, files: dict[str, str], *said: str) -> dict[str, str]:
    """Includes rekindle.cmake for an application with these files, in a copy that has its keys already, so that
    none is made."""
    house = directory / "rekindle"
    shutil.copytree(SYSBUILD, house / "sysbuild", dirs_exist_ok=True)
    (house / "keys").mkdir(exist_ok=True)
    for key in ["project.pem", "project-ed25519.pem"]:
        (house / "keys" / key).touch()
    application = directory / "application"
    for name, text in files.items():
        (application / name).parent.mkdir(parents=True, exist_ok=True)
        (application / name).write_text(text)
    results = ["SB_CONF_FILE", "SB_EXTRA_CONF_FILE", "mcuboot_EXTRA_CONF_FILE"]
    done = run_script(
        directory,
        f"set(APP_DIR {application})\n"
        + f"include({house}/sysbuild/rekindle.cmake)\n"
        + "".join(f'message("{name}=${{{name}}}")\n' for name in results),
        *said,
    )
    assert done.returncode == 0, done.stderr
    found = dict(line.partition("=")[::2] for line in done.stderr.splitlines() if "=" in line)
    found = {name: found[name].replace(f"{directory}/", "").strip(";") for name in results}
    found["stdout"] = done.stdout
    key_file = directory / "rekindle/signing_key.conf"
    found["key"] = key_file.read_text().replace(f"{directory}/", "") if key_file.exists() else ""
    return found


def test_without_files_of_its_own_an_application_gets_the_repositorys(tmp_path: Path):
    found = configure(tmp_path, {"prj.conf": ""})
    assert found["SB_CONF_FILE"] == "rekindle/sysbuild/sysbuild.conf"
    assert found["mcuboot_EXTRA_CONF_FILE"] == "rekindle/sysbuild/mcuboot.conf"
    assert found["key"] == 'SB_CONFIG_BOOT_SIGNATURE_KEY_FILE="rekindle/keys/project.pem"\n'
    assert found["SB_EXTRA_CONF_FILE"] == "rekindle/signing_key.conf"


def test_an_applications_own_files_come_last(tmp_path: Path):
    files = {"sysbuild.conf": PRODUCT, "sysbuild/mcuboot.conf": "", "sysbuild/mcuboot/prj.conf": ""}
    found = configure(tmp_path, files, "mcuboot_EXTRA_CONF_FILE=more.conf", "REKINDLE_RECOVERY=ON")
    assert found["SB_CONF_FILE"] == "rekindle/sysbuild/sysbuild.conf;application/sysbuild.conf"
    assert found["mcuboot_EXTRA_CONF_FILE"] == (
        "rekindle/sysbuild/mcuboot.conf;rekindle/sysbuild/recovery.conf;application/sysbuild/mcuboot/prj.conf;"
        "application/sysbuild/mcuboot.conf;more.conf"
    )
    # A key that is named there is the key.
    assert found["key"] == "" and "signing_key.conf" not in found["SB_EXTRA_CONF_FILE"]
    assert 'signed with "/secure/product.pem", as sysbuild' in found["stdout"]


def test_a_suffix_finds_the_file_of_that_name(tmp_path: Path):
    files = {"sysbuild.conf": "", "sysbuild_desk.conf": "", "sysbuild/mcuboot.conf": ""}
    found = configure(tmp_path, files, "FILE_SUFFIX=desk")
    assert found["SB_CONF_FILE"] == "rekindle/sysbuild/sysbuild.conf;application/sysbuild_desk.conf"
    assert found["mcuboot_EXTRA_CONF_FILE"].endswith(";application/sysbuild/mcuboot.conf")


def test_a_file_given_by_name_takes_the_place_of_both(tmp_path: Path):
    files = {"sysbuild.conf": "", "other.conf": P256}
    found = configure(tmp_path, files, "SB_CONF_FILE=other.conf")
    assert found["SB_CONF_FILE"] == "other.conf"
    assert "project.pem" in found["key"]
    found = configure(tmp_path, {"other.conf": PRODUCT}, "SB_CONF_FILE=other.conf")
    assert "signing_key.conf" not in found["SB_EXTRA_CONF_FILE"]


def test_what_was_added_before_is_not_added_again(tmp_path: Path):
    # As the cache has it at the next configure, when the application has got a file and recovery is off again.
    house = tmp_path / "rekindle/sysbuild"
    ours = f"{house}/mcuboot.conf;{house}/recovery.conf"
    found = configure(
        tmp_path,
        {"sysbuild.conf": "", "sysbuild/mcuboot.conf": ""},
        f"SB_CONF_FILE={house}/sysbuild.conf",
        f"REKINDLE_SB_CONF_FILE={house}/sysbuild.conf",
        f"REKINDLE_MCUBOOT_CONF_FILE={ours}",
        f"mcuboot_EXTRA_CONF_FILE={ours};more.conf",
    )
    assert found["SB_CONF_FILE"] == "rekindle/sysbuild/sysbuild.conf;application/sysbuild.conf"
    assert found["mcuboot_EXTRA_CONF_FILE"] == (
        "rekindle/sysbuild/mcuboot.conf;application/sysbuild/mcuboot.conf;more.conf"
    )


@pytest.mark.parametrize(
    ("own", "said", "key"),
    [
        (ED25519, [], "keys/project-ed25519.pem"),
        (ED25519 + P256, [], "keys/project.pem"),
        ("", ["SB_CONFIG_BOOT_SIGNATURE_TYPE_ED25519=y"], "keys/project-ed25519.pem"),
        ("", ["CLI_SB_CONFIG_BOOT_SIGNATURE_TYPE_ED25519=y"], "keys/project-ed25519.pem"),
        # No key of ours would do.
        ("SB_CONFIG_BOOT_SIGNATURE_TYPE_RSA=y\n", [], None),
        (PRODUCT, ["REKINDLE_SIGNING_KEY=/desk.pem"], '"/desk.pem"'),
        ("", ["SB_CONFIG_BOOT_SIGNATURE_KEY_FILE=/desk.pem", "REKINDLE_SIGNING_KEY=/env.pem"], None),
        ("", ["CLI_SB_CONFIG_BOOT_SIGNATURE_KEY_FILE=/desk.pem"], None),
    ],
)
def test_which_key_signs(tmp_path: Path, own: str, said: list[str], key: str | None):
    found = configure(tmp_path, {"sysbuild.conf": own}, *said)
    if key is None:
        assert found["key"] == "" and found["SB_EXTRA_CONF_FILE"] == ""
    else:
        assert key in found["key"] and found["SB_EXTRA_CONF_FILE"].endswith("signing_key.conf")


def test_an_existing_application_keeps_its_configuration(tmp_path: Path):
    # docs/c-application.md, with a sysbuild.conf and a fragment for MCUboot of the application's own.
    application, result = tmp_path / "heater", tmp_path / "build"
    shutil.copytree(Path(os.environ["ZEPHYR_BASE"]) / "samples/hello_world", application)
    key = KEYS / "p256.pem"
    (application / "sysbuild").mkdir()
    (application / "sysbuild/CMakeLists.txt").write_text(
        f"include({SYSBUILD}/rekindle.cmake)\n"
        "find_package(Sysbuild REQUIRED HINTS $ENV{ZEPHYR_BASE})\nproject(sysbuild LANGUAGES)\n"
    )
    (application / "prj.conf").write_text(
        "CONFIG_REKINDLE=y\nCONFIG_SETTINGS=y\nCONFIG_NVS=y\nCONFIG_REKINDLE_BOOT_MAX_SECTORS=128\n"
    )
    (application / "sysbuild.conf").write_text(
        f'SB_CONFIG_MCUBOOT_MODE_OVERWRITE_ONLY=y\nSB_CONFIG_BOOT_SIGNATURE_KEY_FILE="{key}"\n'
    )
    (application / "sysbuild/mcuboot.conf").write_text("CONFIG_BOOT_MAX_IMG_SECTORS=128\n")
    done = subprocess.run(
        ["cmake", "-S", Path(os.environ["ZEPHYR_BASE"]) / "share/sysbuild", "-B", result, "-G", "Ninja"]
        + [f"-DAPP_DIR={application}", "-DBOARD=mps2/an521/cpu0/mcuboot"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mcuboot = Build.read_config(result / "mcuboot/zephyr/.config")
    assert mcuboot["CONFIG_BOOT_UPGRADE_ONLY"] == "y"
    assert mcuboot["CONFIG_BOOT_MAX_IMG_SECTORS"] == "128"
    assert mcuboot["CONFIG_BOOT_SIGNATURE_KEY_FILE"] == str(key)
    heater = Build.read_config(result / "heater/zephyr/.config")
    assert heater["CONFIG_MCUBOOT_SIGNATURE_KEY_FILE"] == str(key)


def check_key(directory: Path, key: str, image: str = "", said: str = "REKINDLE_DEMO_KEY=OFF"):
    """Asks the gate about sysbuild's key and that of an image."""
    (directory / "mcuboot").mkdir(exist_ok=True)
    shutil.copy(KEYS / "p256.pem", directory / "mcuboot/root-ec-p256.pem")
    (directory / "app").mkdir(exist_ok=True)
    return run_script(
        directory,
        f"""
set(ZEPHYR_MCUBOOT_MODULE_DIR {directory}/mcuboot)
set(APP_DIR {directory}/app)
set(WEST_TOPDIR {directory})
function(sysbuild_get variable)
  if(ARGN MATCHES "CONFIG_MCUBOOT_SIGNATURE_KEY_FILE")
    set(${{variable}} [==[{image}]==] PARENT_SCOPE)
  endif()
endfunction()
set(SB_CONFIG_BOOT_SIGNATURE_KEY_FILE [==[{key}]==])
include({SYSBUILD}/demo_key.cmake)
rekindle_check_signing_key(app)
""",
        said,
    )


@pytest.mark.parametrize(
    "key",
    [
        "{}/mcuboot/root-ec-p256.pem",
        '"{}/mcuboot/root-ec-p256.pem"',
        '"${{ZEPHYR_MCUBOOT_MODULE_DIR}}/root-ec-p256.pem"',
        "@ZEPHYR_MCUBOOT_MODULE_DIR@/root-ec-p256.pem",
        # Relative to the bootloader, to the workspace, to the application.
        "root-ec-p256.pem",
        "mcuboot/root-ec-p256.pem",
        "../mcuboot/root-ec-p256.pem",
        "copy.pem",
        "rewrapped.pem",
    ],
)
def test_a_demo_key_stops_the_build_however_it_is_spelled(tmp_path: Path, key: str):
    (tmp_path / "app").mkdir()
    content = (KEYS / "p256.pem").read_text()
    (tmp_path / "app/copy.pem").write_text(content)
    (tmp_path / "app/rewrapped.pem").write_text("a remark\n" + content.replace("\n", "\r\n") + "\n")
    key = key.format(tmp_path)
    for where in [{"key": key}, {"key": "", "image": key}]:
        refused = check_key(tmp_path, **where)
        assert refused.returncode != 0 and "demo key. It is public" in " ".join(refused.stderr.split())
        taken = check_key(tmp_path, **where, said="REKINDLE_DEMO_KEY=ON")
        assert taken.returncode == 0 and "PUBLIC DEMO KEY" in taken.stderr


@pytest.mark.parametrize("key", ["", "own.pem", "{}/app/own.pem", "nowhere.pem"])
def test_any_other_key_passes(tmp_path: Path, key: str):
    (tmp_path / "app").mkdir()
    shutil.copy(KEYS / "ed25519.pem", tmp_path / "app/own.pem")
    passed = check_key(tmp_path, key.format(tmp_path), image=key.format(tmp_path))
    assert passed.returncode == 0 and passed.stderr == ""
