# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of the demo's servers: independent of the collection, so that they can contradict it."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple


class Served(NamedTuple):
    serial: str  # decimal
    chain_length: int


def served(port: int, name: str, ca_file: Path) -> Served:
    """What `openssl s_client` sees; raises when it does not verify the chain and the name."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, "-verify_hostname", name]
    command += ["-CAfile", str(ca_file), "-verify_return_error", "-showcerts"]
    result = subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False)
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", result.stdout, re.S)
    if result.returncode != 0 or "Verify return code: 0 (ok)" not in result.stdout or not blocks:
        raise RuntimeError(f"openssl s_client does not accept what 127.0.0.1:{port} serves: {result.stderr[-400:]}")
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-serial"], input=blocks[0], capture_output=True, text=True, check=True
    )
    return Served(str(int(shown.stdout.strip().partition("=")[2], 16)), len(blocks))


class Client:
    """Connects to every port again and again in the background, as visitors would, and counts what happens."""

    def __init__(self, ports: dict[str, int], ca_file: Path) -> None:
        self.ports = ports
        self.context = ssl.create_default_context(cafile=str(ca_file))
        self.connections = 0
        self.failures: list[str] = []
        self.serials: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(30)

    def _work(self) -> None:
        while not self._stop.is_set():
            for name, port in self.ports.items():
                try:
                    self.serials.add(self._connect(name, port))
                except OSError as error:  # ssl.SSLError is one
                    self.failures.append(f"{name}: {error}")
                self.connections += 1
            time.sleep(0.02)

    def _connect(self, name: str, port: int) -> str:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            self.context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            facts = connection.getpeercert() or {}
        return str(int(str(facts["serialNumber"]), 16))
