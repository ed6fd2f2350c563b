# SPDX-License-Identifier: Apache-2.0
"""Frames that the command line does not send: the appliance's own commands."""

from __future__ import annotations

import socket

STATE_COMMAND = 0x20
IDLE, FAN = 0, 1


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE (PROTOCOL.md, frames)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc


def frame(address: str, payload: bytes) -> bytes:
    inner = bytes([len(payload)]) + int(address, 16).to_bytes(8, "little") + payload
    inner += crc16(inner).to_bytes(2, "big")
    stuffed = b"".join(
        bytes([0x7D, byte ^ 0x20]) if byte in (0x7D, 0x7E, 0x7F) else bytes([byte]) for byte in inner
    )
    return b"\x7e" + stuffed + b"\x7f"


def state_command(address: str, mode: int) -> bytes:
    """STATE_COMMAND with an argument: [0x20, {0: mode, 1: 0}]."""
    return frame(address, bytes([0x82, 0x18, STATE_COMMAND, 0xA2, 0x00, mode, 0x01, 0x00]))


def send(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(data)
