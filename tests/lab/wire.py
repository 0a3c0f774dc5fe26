# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a port sends in its handshake, as the program openssl sees it: the collection's own eyes are not asked here."""

from __future__ import annotations

import re
import subprocess
import time
from typing import Any

from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.tests.lab.controller import Controller
from ansible_collections.campus.upki.tests.lab.lab import Host

PATIENCE = 10  # seconds for a service that was started just now


def chain(
    fleet: Controller, host: Host, name: str = "", port: int = 443, starttls: str = "", verify: bool = True
) -> list[Any]:
    """The certificates that are sent, leaf first; with `verify` they must satisfy a client of the fleet's trust."""
    name = name or host.fqdn
    command = ["openssl", "s_client", "-showcerts", "-connect", f"{fleet.lab.address(host.name)}:{port}"]
    command += ["-servername", name, *(["-starttls", starttls] if starttls else [])]
    if verify:
        command += ["-CAfile", str(fleet.trust), "-verify_hostname", name, "-verify_return_error"]
    end = time.monotonic() + PATIENCE
    while True:
        done = subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False)
        sent = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", done.stdout, re.S)
        if sent or time.monotonic() > end:
            break
        time.sleep(0.3)
    assert sent, f"{name}: {done.stdout}{done.stderr}"
    assert not verify or "Verify return code: 0 (ok)" in done.stdout, f"{name}: {done.stdout}{done.stderr}"
    return [_x509.certificates_from_pem(text + "\n")[0] for text in sent]


def serial(fleet: Controller, host: Host, name: str = "", **how: Any) -> int:
    """Serial of the server's own certificate."""
    return int(chain(fleet, host, name, **how)[0].serial_number)


def above(fleet: Controller, host: Host, name: str = "", **how: Any) -> list[str]:
    """The CA certificates that are sent, each as 'subject by issuer'."""
    return [f"{_called(one.subject)} by {_called(one.issuer)}" for one in chain(fleet, host, name, **how)[1:]]


def _called(name: Any) -> str:
    return _x509.name_value(name, "CN") or _x509.name_value(name, "OU")
