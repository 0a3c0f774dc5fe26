# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in the inbox, as plain rows; a large one is read once a run and not once a host.

Ansible serves each host from a process of its own, and thousands of certificates take seconds to read. So the first
process leaves its rows in a file in the folder that all of one run share, and the others take them from there. The file
is known by the names, sizes and times of what was read, so a certificate that arrives meanwhile is seen.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
from typing import Any

from ansible_collections.campus.upki.plugins.module_utils import _containers, _preflight, _x509

MANY = 50  # files; fewer are read faster than shared


@dataclasses.dataclass
class Row:
    """One certificate. spki_sha256 is '' for those of CAs."""

    source: str
    pem: str
    sha256: str
    is_ca: bool
    names: list[str]
    serial: str
    spki_sha256: str

    @property
    def certificate(self) -> Any:
        return _x509.certificates_from_pem(self.pem)[0]


@dataclasses.dataclass
class Leaves:
    """The rows in the order of the files, and notes on files that are no certificates, as dicts."""

    rows: list[Row]
    notes: list[dict[str, Any]]


def read(paths: list[str], shared: str | None = None) -> Leaves:
    """What lies in files and folders. shared: a folder that all processes of this run, and nobody else, can write."""
    state = _state(paths) if shared else []
    if shared is None or len(state) <= MANY or not os.path.isdir(shared):
        return _read(paths)
    name = hashlib.sha256(json.dumps(state).encode()).hexdigest()
    path = os.path.join(shared, f"campus.upki-inbox-{name[:32]}.json")
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            found = _read(paths)
            with open(f"{path}.new", "w", encoding="utf-8") as stream:
                json.dump(dataclasses.asdict(found), stream)
            os.rename(f"{path}.new", path)
            return found
    with open(path, encoding="utf-8") as stream:
        stored = json.load(stream)
    return Leaves([Row(**row) for row in stored["rows"]], stored["notes"])


def _state(paths: list[str]) -> list[tuple[str, int, int, int]]:
    """What tells one state of the files from another."""
    found = []
    for path in paths:
        for name in _containers.files(path):
            try:
                facts = os.stat(name)
            except OSError:  # gone meanwhile, or a dangling link: reading it says what is wrong
                continue
            found.append((name, facts.st_size, facts.st_mtime_ns, facts.st_ino))
    return found


def _read(paths: list[str]) -> Leaves:
    contents = _containers.collect(paths)
    rows = [_row(one.certificate, one.source) for one in contents.certificates]
    return Leaves(rows, [_containers.describe(note) for note in contents.notes])


def _row(certificate: Any, source: str) -> Row:
    is_ca = _x509.is_ca(certificate)
    return Row(
        source=source,
        pem=_x509.pem(certificate),
        sha256=_x509.sha256(certificate),
        is_ca=is_ca,
        names=[] if is_ca else _names(certificate),
        serial=str(certificate.serial_number),
        spki_sha256="" if is_ca else _x509.spki_sha256(certificate.public_key()),
    )


def _names(certificate: Any) -> list[str]:
    """All names as they are compared."""
    found = [*_x509.dns_names(certificate), _x509.name_value(certificate.subject, "CN")]
    return sorted({_preflight.plain(name) for name in found if name})
