# SPDX-License-Identifier: Apache-2.0
"""A bus: one controller and its appliances, each at the other end of a UART's socket.

Every byte of the controller reaches every appliance; what an appliance says reaches the controller, a frame at a
time, so that two who answer at once do not mix, as on a line that is shared in turns.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from dataclasses import dataclass, field

from frames import Splitter, payload
from machine import Machine


@dataclass
class Station:
    machine: Machine
    connection: socket.socket | None = None
    frames: Splitter = field(default_factory=Splitter)


class Wire:
    """Carries bytes until it is closed; devices may lose power and come back meanwhile."""

    def __init__(self, controller: Machine, appliances: list[Machine]):
        self._stations = [Station(controller), *map(Station, appliances)]
        self._selector = selectors.DefaultSelector()
        self._closed = threading.Event()
        # What the controller has sent, without the frames around it.
        self.sent: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        for station in self._stations:
            if station.connection:
                station.connection.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            for station in self._stations:
                if station.connection is None and station.machine.running:
                    self._connect(station)
            if not self._selector.get_map():
                time.sleep(0.05)
                continue
            for key, _ in self._selector.select(0.2):
                self._carry(key.data)

    def _connect(self, station: Station) -> None:
        try:
            station.connection = socket.create_connection(("127.0.0.1", station.machine.port), 1)
        except OSError:
            return
        station.connection.settimeout(5)
        station.frames = Splitter()
        self._selector.register(station.connection, selectors.EVENT_READ, station)

    def _disconnect(self, station: Station) -> None:
        assert station.connection is not None
        self._selector.unregister(station.connection)
        station.connection.close()
        station.connection = None

    def _carry(self, station: Station) -> None:
        try:
            data = station.connection.recv(4096)
        except OSError:
            data = b""
        if not data:
            self._disconnect(station)
            return
        for frame in station.frames.feed(data):
            self._deliver(station, frame)

    def _deliver(self, source: Station, frame: bytes) -> None:
        controller, *appliances = self._stations
        if source is controller:
            self.sent.append(payload(frame))
        for station in appliances if source is controller else [controller]:
            # Nobody hears what is said while there is no power.
            if station.connection is not None and station.machine.running:
                try:
                    station.connection.sendall(frame)
                except OSError:
                    self._disconnect(station)
